"""Every store of idempotency keys passes one suite: in memory, SQLite, a real Valkey, a real PostgreSQL."""

from __future__ import annotations

import asyncpg
import pytest

from golive.chassis.stores.memory import MemoryIdempotencyStore
from golive.chassis.stores.postgresidempotency import PostgresIdempotencyStore
from golive.chassis.stores.redisidempotency import KEY_PREFIX, RedisIdempotencyStore
from golive.chassis.stores.sqlite import SqliteIdempotencyStore
from golive.errors import UnavailableError
from golive.testing.idempotency import IdempotencyStoreContract


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


class WithClock(IdempotencyStoreContract):
    @pytest.fixture
    def clock(self):
        self.time = Clock()
        return self.time

    async def advance(self, store, seconds):
        self.time.seconds += seconds


class TestMemory(WithClock):
    @pytest.fixture
    async def store(self, clock):
        return MemoryIdempotencyStore(now=clock)

    async def test_a_store_that_is_full_of_live_keys_refuses_rather_than_forgets(self, clock):
        """Forgetting a live key would run a request twice."""
        store = MemoryIdempotencyStore(keys_max=2, now=clock)
        await store.begin("a", b"", "o", 10.0)
        clock.seconds += 5
        await store.begin("b", b"", "o", 10.0)
        with pytest.raises(MemoryError):
            await store.begin("c", b"", "o", 10.0)
        clock.seconds += 6
        assert (await store.begin("c", b"", "o", 10.0)).mine


class TestSqlite(WithClock):
    @pytest.fixture
    async def store(self, clock, tmp_path):
        return SqliteIdempotencyStore(tmp_path / "keys.db", now=clock)


@pytest.mark.process
class TestRedis(IdempotencyStoreContract):
    @pytest.fixture
    async def store(self, link):
        self.link = link
        return RedisIdempotencyStore(link)

    async def advance(self, store, seconds):
        """The server's clock cannot be moved, so the expiries are."""
        for key in await self.link.call("KEYS", KEY_PREFIX + "*"):
            left = await self.link.call("PTTL", key)
            await self.link.call("PEXPIRE", key, max(0, left - round(seconds * 1000)))

    async def test_a_flushed_server_is_given_the_scripts_again(self, store):
        """A restart forgets scripts; no request notices."""
        await store.begin("k", b"f", "a", 30.0)
        await self.link.call("SCRIPT", "FLUSH")
        assert await store.finish("k", "a", b"x", 30.0)

    async def test_a_server_that_may_forget_keys_is_recognised(self, store):
        """Eviction would run done work again."""
        assert not await store.evicts()
        await self.link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert await store.evicts()
        await self.link.call("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.process
class TestPostgres(IdempotencyStoreContract):
    @pytest.fixture
    async def store(self, postgres_url):
        self.url = postgres_url
        opened = PostgresIdempotencyStore(postgres_url)
        yield opened
        await opened.close()

    async def advance(self, store, seconds):
        """The database's clock cannot be moved, so the rows are."""
        connection = await asyncpg.connect(self.url)
        await connection.execute(
            "update golive_idempotency set until = until - make_interval(secs => $1)", float(seconds)
        )
        await connection.close()

    async def test_expired_rows_are_removed_and_a_database_that_is_away_is_said(self, store, monkeypatch):
        """The table does not grow for ever; nothing is invented while nobody answers."""
        monkeypatch.setattr("golive.chassis.stores.postgresidempotency.SWEEP_SECONDS", 0.0)
        await store.begin("old", b"f", "a", 30.0)
        await self.advance(store, 60)
        await store.begin("new", b"f", "a", 30.0)
        connection = await asyncpg.connect(self.url)
        assert [row["key"] for row in await connection.fetch("select key from golive_idempotency")] == ["new"]
        await connection.close()
        nowhere = PostgresIdempotencyStore("postgresql://nobody:secret@127.0.0.1:1/none")
        with pytest.raises(UnavailableError) as caught:
            await nowhere.begin("k", b"f", "a", 30.0)
        assert "secret" not in str(caught.value)
