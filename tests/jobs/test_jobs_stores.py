"""Every store passes the one suite; and what is particular to SQLite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from golive.errors import ConfigError, StateError, UsageError
from golive.jobs.ports import JobStore
from golive.jobs.stores import store_for
from golive.jobs.stores.memory import MemoryStore
from golive.jobs.stores.sqlite import SqliteStore
from golive.testing.jobs import JobStoreContract, claim, new_job
from golive.testing.jobs_limits import LimitsContract
from golive.testing.jobs_named import NamedJobsContract
from golive.testing.jobs_split import SplitContract
from golive.testing.jobs_upkeep import UpkeepContract


class _Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class TestMemoryStore(JobStoreContract, SplitContract, NamedJobsContract, LimitsContract, UpkeepContract):
    """In memory."""

    @pytest.fixture
    async def store(self) -> MemoryStore:
        self.clock = _Clock()
        return MemoryStore(self.clock)

    async def advance(self, store: JobStore, seconds: float) -> None:
        self.clock.ahead += seconds


class TestSqliteStore(JobStoreContract, SplitContract, NamedJobsContract, LimitsContract, UpkeepContract):
    """In a file."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        self.clock = _Clock()
        store = SqliteStore(tmp_path / "jobs.db", clock=self.clock)
        await store.open()
        yield store
        await store.close()

    async def advance(self, store: JobStore, seconds: float) -> None:
        self.clock.ahead += seconds

    async def another(self, store: JobStore) -> JobStore:
        assert isinstance(store, SqliteStore)
        other = SqliteStore(store.path, clock=self.clock)
        await other.open()
        return other

    async def test_the_table_refuses_moves_the_machine_does_not_know(self, store: SqliteStore) -> None:
        """No other program can revive a finished job or invent a state."""
        await store.submit([new_job()])
        outside = sqlite3.connect(store.path)
        for illegal in ("'succeeded', finished_at = 1", "'sleeping'", "'failed', finished_at = 1"):
            with pytest.raises(sqlite3.IntegrityError, match="illegal job transition"):
                outside.execute(f"update block_jobs set state = {illegal}")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            outside.execute("update block_jobs set state = 'running'")
        outside.close()

    async def test_a_second_process_sees_and_is_woken(self, store: SqliteStore) -> None:
        """Another store on the same file stands for another process: the file and its counter are all they share."""
        import asyncio

        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        store.subscribe(lambda: loop.call_soon_threadsafe(woken.set) and None)
        other = SqliteStore(store.path)
        await other.open()
        new = new_job()
        await asyncio.sleep(0.05)
        woken.clear()
        await other.submit([new])
        await asyncio.wait_for(woken.wait(), 10)
        assert [each.id for each in await claim(store)] == [new.id]
        await other.close()

    async def test_a_job_is_submitted_within_the_callers_transaction(self, store: SqliteStore) -> None:
        """It exists if and when the caller commits, together with the caller's own rows; keys count there too."""
        mine = sqlite3.connect(store.path)
        mine.row_factory = lambda cursor, row: {"odd": row}
        mine.execute("create table orders (id integer)")
        mine.commit()
        kept, undone, keyed = new_job(), new_job(), new_job(idempotency_key="k")
        mine.execute("insert into orders values (1)")
        await store.submit_within(mine, [kept, keyed])
        twin = (await store.submit_within(mine, [new_job(idempotency_key="k")]))[0]
        assert (twin.created, twin.job.id) == (False, keyed.id)
        assert await store.get(kept.id) is None
        mine.commit()
        assert await store.get(kept.id)
        await store.submit_within(mine, [undone])
        mine.rollback()
        assert await store.get(undone.id) is None
        mine.close()

    async def test_only_a_connection_to_the_same_database_will_do(self, store: SqliteStore, tmp_path: Path) -> None:
        """Another file would keep the job where no worker looks."""
        for wrong in (sqlite3.connect(tmp_path / "other.db"), sqlite3.connect(":memory:"), "connection"):
            with pytest.raises(UsageError, match="submit within: expected a"):
                await store.submit_within(wrong, [new_job()])

    async def test_one_bad_piece_of_work_fails_alone(self, store: SqliteStore) -> None:
        """What shares a commit with a submission that cannot be stored is stored all the same."""
        import asyncio

        good, bad = [new_job() for _ in range(5)], new_job(attempts_max=0)
        submissions = [store.submit([each]) for each in [*good[:3], bad, *good[3:]]]
        outcomes = await asyncio.gather(*submissions, return_exceptions=True)
        assert isinstance(outcomes[3], AssertionError | sqlite3.IntegrityError)
        for new in good:
            assert await store.get(new.id)
        assert await store.get(bad.id) is None


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """The store refuses to open; the message says which file and what to do."""
    path = tmp_path / "jobs.db"
    path.write_bytes(b"not a database, but long enough to be read as one " * 50)
    with pytest.raises(StateError, match=r"jobs\.db: expected a SQLite database"):
        await SqliteStore(path).open()


async def test_jobs_outlive_the_store_object(tmp_path: Path) -> None:
    """Close, open again: the same jobs."""
    new = new_job()
    for _ in range(2):
        store = SqliteStore(tmp_path / "jobs.db")
        await store.open()
        await store.submit([new])
        await store.close()
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    assert await store.get(new.id)
    await store.close()


@pytest.mark.parametrize(
    "url", ["", "jobs.db", "sqlite://", "sqlite://jobs.db", "mysql://user:secret@host/db", "memory://x"]
)
def test_a_url_no_store_understands_is_refused_without_its_password(url: str) -> None:
    """The message shows the scheme at most."""
    with pytest.raises(ConfigError, match=r"jobs\.url: expected") as caught:
        store_for(url, "block_jobs")
    assert "secret" not in str(caught.value)
