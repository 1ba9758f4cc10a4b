"""Every store of idempotency keys passes one suite: in memory, SQLite, a real Valkey, a real PostgreSQL."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
import time

import asyncpg
import pytest

from golive.chassis.stores.memory import MemoryIdempotencyStore
from golive.chassis.stores.postgresidempotency import PostgresIdempotencyStore
from golive.chassis.stores.redisidempotency import KEY_PREFIX, RedisIdempotencyStore
from golive.chassis.stores.sqlite import SqliteIdempotencyStore
from golive.chassis.stores.turns import Turns
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
        self.path = tmp_path / "keys.db"
        return SqliteIdempotencyStore(self.path, now=clock)

    async def test_a_duplicate_waits_for_no_write_of_others(self, store):
        """A disk that is slow to write, here a writer that does not end, delays what is new and nothing else."""
        await store.begin("done", b"f", "a", 30.0)
        await store.finish("done", "a", b"x", 30.0)
        await store.begin("running", b"f", "a", 30.0)
        writer = sqlite3.connect(self.path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        new = asyncio.create_task(store.begin("new", b"f", "b", 30.0))
        records = [await store.begin(key, b"f", "b", 30.0) for key in ("done", "running")]
        assert [(record.mine, record.done) for record in records] == [(False, True), (False, False)]
        assert not new.done()
        writer.execute("COMMIT")
        assert (await new).mine
        writer.close()

    async def test_many_that_open_a_new_file_at_once_are_one_after_the_other(self, clock, tmp_path):
        """SQLite refuses the second of two that make a file at once, whatever its time-out."""
        for number in range(10):
            stores = [SqliteIdempotencyStore(tmp_path / f"{number}.db", now=clock) for _ in range(6)]
            records = await asyncio.gather(*(store.begin("k", b"f", "a", 30.0) for store in stores))
            assert [record.mine for record in records].count(True) == 1


def test_whoever_waits_for_its_turn_is_next(tmp_path):
    """The one who had it and wants it again comes after: nobody is starved by a neighbour with much to do."""
    path, order = str(tmp_path / "file"), []
    mine, others = Turns(path), Turns(path)
    waiting = threading.Thread(target=lambda: others.__enter__() or order.append("other") or others.__exit__())
    with mine, open(f"{path}-next") as probe:
        waiting.start()
        deadline = time.monotonic() + 30
        while not _is_locked(probe):
            assert time.monotonic() < deadline
    with mine:
        order.append("mine")
    waiting.join(30)
    assert order == ["other", "mine"]


def test_without_locks_there_are_no_turns_and_no_error(tmp_path):
    """A folder that takes no files: SQLite's own lock decides, as it does in any case."""
    turns = Turns(str(tmp_path / "missing" / "file"))
    with turns, Turns(str(tmp_path / "missing" / "file")):
        pass
    turns.close()


def _is_locked(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


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
