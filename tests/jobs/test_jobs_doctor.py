"""What `golive doctor` says about a PostgreSQL: one look at a real one, nothing changed in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from golive.config.load import check_text
from golive.doctor.finding import Level
from golive.doctor.network import postgres
from golive.doctor.postgres import look
from golive.jobs.stores.postgres import PostgresStore


async def test_a_database_says_whether_it_is_migrated_and_has_room(postgres_url: str, tmp_path: Path) -> None:
    """No tables yet and none made; migrated; of a newer golive; of an older one; pools that do not fit."""

    async def told(toml: str = "") -> dict[str, Level]:
        settings = check_text(f'service = "web"\napp = "a:b"\n{toml}', tmp_path / "golive.toml")
        return {one.found.partition(": ")[2]: one.level for one in await look(postgres_url, ["app", "jobs"], settings)}

    connection = await asyncpg.connect(postgres_url)
    try:
        first = await told()
        assert any("has no tables yet" in sentence for sentence in first)
        assert await connection.fetchval("select to_regclass('golive_schema') is null")
        store = PostgresStore(postgres_url)
        await store.open()
        await store.close()
        migrated = await told()
        assert set(migrated.values()) == {Level.OK}
        assert any("jobs:block_jobs is migrated" in sentence for sentence in migrated)
        await connection.execute("update golive_schema set version = 99")
        assert Level.FAIL in (await told()).values()
        await connection.execute("update golive_schema set version = 1")
        assert [level for sentence, level in (await told()).items() if "schema 1 of" in sentence] == [Level.WARN]
        crowded = await told("[db]\npool_max = 5000\n")
        assert [level for sentence, level in crowded.items() if "may take 10000" in sentence] == [Level.WARN]
    finally:
        await connection.close()


async def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    """Nobody listens there."""
    text = 'service = "web"\napp = "a:b"\n[chassis]\ndatabase_url = "postgresql://ada:secret@127.0.0.1:1/shop"\n'
    settings = check_text(text, tmp_path / "golive.toml")
    (found,) = await asyncio.to_thread(lambda: list(postgres(settings)))
    assert found.level is Level.FAIL
    assert "127.0.0.1:1/shop" in found.found
    assert "secret" not in str(found)
