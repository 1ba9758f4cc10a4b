"""Jobs in the caller's own transaction, whatever made the connection; and the outbox for other databases."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sqlalchemy_async

from golive.errors import ConfigError, UsageError
from golive.jobs import Job, Jobs, JobsSettings, State
from golive.jobs.errors import InvalidPayloadError, KeyReusedError
from golive.jobs.model import is_job_id
from golive.testing.jobs_running import finished, until, working


def with_handler(url: str) -> Jobs:
    jobs = Jobs(JobsSettings(url=url))

    @jobs.handler("invoice")
    async def invoice(payload: dict[str, Any]) -> Any:
        return payload["order"]

    return jobs


@asynccontextmanager
async def by_asyncpg(url: str) -> AsyncIterator[tuple[Any, Any, Any]]:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection, transaction.commit, transaction.rollback
    await connection.close()


@asynccontextmanager
async def by_psycopg(url: str) -> AsyncIterator[tuple[Any, Any, Any]]:
    connection = await psycopg.AsyncConnection.connect(url, row_factory=dict_row)
    yield connection, connection.commit, connection.rollback
    await connection.close()


@asynccontextmanager
async def by_sqlalchemy(driver: str, session: bool, url: str) -> AsyncIterator[tuple[Any, Any, Any]]:
    engine = sqlalchemy_async.create_async_engine(url.replace("postgresql://", f"postgresql+{driver}://"))
    made = sqlalchemy_async.AsyncSession(engine) if session else engine.connect()
    async with made as connection:
        yield connection, connection.commit, connection.rollback
    await engine.dispose()


@contextmanager
def blocking_psycopg(url: str) -> Any:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        yield connection


@contextmanager
def blocking_sqlalchemy(session: bool, url: str) -> Any:
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with orm.Session(engine) if session else engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.process
async def test_a_job_commits_with_the_callers_rows_by_every_async_driver(postgres_url: str) -> None:
    """It exists if and when the caller commits; keys count there too; the job is whole and runs."""
    jobs = with_handler(postgres_url)
    ways: dict[str, Callable[[str], Any]] = {
        "asyncpg": by_asyncpg,
        "psycopg": by_psycopg,
        "sqlalchemy+asyncpg": lambda url: by_sqlalchemy("asyncpg", False, url),
        "sqlalchemy+psycopg": lambda url: by_sqlalchemy("psycopg", False, url),
        "sqlalchemy session": lambda url: by_sqlalchemy("psycopg", True, url),
    }
    async with jobs:
        kept: list[Job] = []
        for way, connected in ways.items():
            payload = {"order": way, "ü": ["\\", "%s", ":p1", None]}
            async with connected(postgres_url) as (connection, commit, _):
                job = await jobs.submit(
                    "invoice", payload, within=connection, tenant="acme", idempotency_key=way, priority=-3
                )
                assert await jobs.get(job.id) is None
                twin = await jobs.submit("invoice", payload, within=connection, tenant="acme", idempotency_key=way)
                assert twin.id == job.id
                with pytest.raises(KeyReusedError):
                    await jobs.submit("invoice", {}, within=connection, tenant="acme", idempotency_key=way)
                await commit()
            found = await jobs.get(job.id)
            assert found == job
            kept.append(job)
            async with connected(postgres_url) as (connection, _, rollback):
                undone = await jobs.submit("invoice", {"order": 0}, within=connection)
                await rollback()
            assert await jobs.get(undone.id) is None
        async with working(jobs):
            done = [await finished(jobs, job) for job in kept]
    assert {job.state for job in done} == {State.SUCCEEDED}


@pytest.mark.process
async def test_code_without_an_event_loop_submits_by_a_blocking_connection(postgres_url: str) -> None:
    """psycopg and SQLAlchemy, connection and session; what has to be awaited is refused by name."""
    jobs = with_handler(postgres_url)
    ways: dict[str, Callable[[str], Any]] = {
        "psycopg": blocking_psycopg,
        "sqlalchemy": lambda url: blocking_sqlalchemy(False, url),
        "session": lambda url: blocking_sqlalchemy(True, url),
    }

    def submit(connected: Callable[[str], Any], way: str) -> tuple[Job, Job]:
        with connected(postgres_url) as connection:
            job = jobs.submit_blocking("invoice", {"order": way}, within=connection, idempotency_key=way)
            assert jobs.submit_blocking("invoice", {"order": way}, within=connection, idempotency_key=way).id == job.id
            connection.commit()
        with connected(postgres_url) as connection:
            undone = jobs.submit_blocking("invoice", {"order": way}, within=connection)
            connection.rollback()
        return job, undone

    async with jobs:
        for way, connected in ways.items():
            job, undone = await asyncio.to_thread(submit, connected, way)
            assert await jobs.get(job.id) == job
            assert await jobs.get(undone.id) is None
        async with by_psycopg(postgres_url) as (connection, _, rollback):
            with pytest.raises(UsageError, match="expected a blocking connection"):
                jobs.submit_blocking("invoice", {"order": 1}, within=connection)
            await rollback()
        with psycopg.connect(postgres_url, autocommit=True) as autocommit:
            with pytest.raises(UsageError, match="commits by itself"):
                jobs.submit_blocking("invoice", {"order": 1}, within=autocommit)
            with autocommit.transaction():
                jobs.submit_blocking("invoice", {"order": 1}, within=autocommit)
        for wrong in (object(), "connection", sqlite3.connect(":memory:")):
            with pytest.raises(UsageError, match="expected a connection of asyncpg, psycopg or SQLAlchemy"):
                jobs.submit_blocking("invoice", {"order": 1}, within=wrong)


async def test_sqlite_by_sqlalchemy_and_blocking(tmp_path: Path) -> None:
    """The store's own file; another database is refused."""
    jobs = with_handler(f"sqlite:///{tmp_path}/jobs.db")
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/jobs.db")
    other = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/other.db")
    async with jobs:
        for make in (engine.connect, lambda: orm.Session(engine)):
            with make() as connection:
                job = await jobs.submit("invoice", {"order": 1}, within=connection, idempotency_key=str(make))
                twin = jobs.submit_blocking("invoice", {"order": 1}, within=connection, idempotency_key=str(make))
                assert twin.id == job.id
                assert await jobs.get(job.id) is None
                connection.commit()
                assert await jobs.get(job.id) == job
                undone = await jobs.submit("invoice", {"order": 2}, within=connection)
                connection.rollback()
                assert await jobs.get(undone.id) is None
        mine = sqlite3.connect(tmp_path / "jobs.db")
        plain = jobs.submit_blocking("invoice", {"order": 3}, within=mine)
        mine.commit()
        assert await jobs.get(plain.id)
        with other.connect() as connection, pytest.raises(UsageError, match="got one to another database"):
            await jobs.submit("invoice", {"order": 1}, within=connection)
        mine.close()
    engine.dispose()
    other.dispose()


async def test_an_outbox_moves_jobs_when_the_other_database_has_committed(jobs: Jobs, tmp_path: Path) -> None:
    """Nothing before the commit, nothing after a rollback, everything the job was given, in order, by the worker."""
    with_handler_on(jobs)
    box = jobs.outbox(lambda: sqlite3.connect(tmp_path / "shop.db"))
    shop = sqlite3.connect(tmp_path / "shop.db")
    shop.execute(box.schema)
    kept = box.submit(shop, "invoice", {"order": "ü"}, tenant="acme", idempotency_key="k", priority=2)
    async with jobs:
        assert await box.relay() == 0
        shop.commit()
        gone = box.submit(shop, "invoice", {"order": 2})
        shop.rollback()
        assert await box.relay() == 1
        job = await jobs.get(kept)
        assert job is not None
        assert (job.tenant, job.idempotency_key, job.priority, job.payload) == (
            "acme",
            "k",
            2,
            '{"order":"ü"}'.encode(),
        )
        assert await jobs.get(gone) is None
        later = box.submit(shop, "invoice", {"order": 3})
        shop.commit()
        async with working(jobs):

            async def there() -> Job | None:
                return await jobs.get(later)

            assert (await finished(jobs, await until(there) or job)).result == b"3"
    shop.close()


def with_handler_on(jobs: Jobs) -> None:
    @jobs.handler("invoice")
    async def invoice(payload: dict[str, Any]) -> Any:
        return payload["order"]


async def test_a_relay_that_dies_half_way_makes_nothing_twice(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are still there, and the store knows their ids; a key with another payload is dropped and said."""
    with_handler_on(jobs)
    box = jobs.outbox(lambda: sqlite3.connect(tmp_path / "shop.db"), table="box")
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute(box.schema)
        ids = [box.submit(shop, "invoice", {"order": n}, idempotency_key=f"k{n % 3}") for n in range(4)]
    async with jobs:
        with monkeypatch.context() as patch:
            patch.setattr(box, "_delete", lambda _: 1 / 0)
            for _ in range(2):
                with pytest.raises(ZeroDivisionError):
                    await box.relay()
        assert await box.relay() == 4
        assert await box.relay() == 0
        there = [bool(await jobs.get(id_)) for id_ in ids]
        assert there in ([True, True, True, False], [False, True, True, True])  # two of one key; ids of one millisecond
        assert sum((await jobs.store.depth()).values()) == 3


@pytest.mark.process
async def test_an_outbox_in_another_postgresql(postgres_url: str, jobs: Jobs) -> None:
    """With psycopg's placeholders, and by a SQLAlchemy session's connection."""
    with_handler_on(jobs)
    box = jobs.outbox(lambda: psycopg.connect(postgres_url))
    engine = sqlalchemy.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with psycopg.connect(postgres_url) as shop:
        shop.execute(box.schema)
        first = box.submit(shop, "invoice", {"order": 1})
    with orm.Session(engine) as session:
        second = box.submit(session, "invoice", {"order": 2})
        session.commit()
    async with jobs:
        assert await box.relay() == 2
        assert await jobs.get(first)
        assert await jobs.get(second)
    engine.dispose()


def test_an_outbox_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    """A table that is none, a connection that is none, a payload the handler does not take: nothing is written."""
    jobs = Jobs("memory://")
    with_handler_on(jobs)
    with pytest.raises(ConfigError, match="table: expected letters"):
        jobs.outbox(lambda: None, table="box; drop table users")
    box = jobs.outbox(lambda: sqlite3.connect(tmp_path / "shop.db"))
    shop = sqlite3.connect(tmp_path / "shop.db")
    shop.execute(box.schema)
    with pytest.raises(UsageError, match="expected a DB-API connection"):
        box.submit(object(), "invoice", {"order": 1})
    with pytest.raises(InvalidPayloadError):
        box.submit(shop, "invoice", [1])
    assert shop.execute("select count(*) from golive_outbox").fetchone() == (0,)
    assert is_job_id(box.submit(shop, "invoice", {}))
    shop.close()
