"""PostgreSQL, the real one: the suite every store passes, and what a server that goes away must not break."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from golive.db import postgres
from golive.db.postgres import Line, place
from golive.errors import StateError, UnavailableError, UsageError
from golive.jobs import Jobs, JobsSettings, State
from golive.jobs.limits import Bucket, Limits
from golive.jobs.model import Demand
from golive.jobs.ports import JobStore
from golive.jobs.stores import postgres_upkeep
from golive.jobs.stores.postgres import PostgresStore
from golive.testing.jobs import JobStoreContract, claim, new_job
from golive.testing.jobs_limits import LimitsContract
from golive.testing.jobs_named import NamedJobsContract
from golive.testing.jobs_running import finished, until, working
from golive.testing.jobs_split import SplitContract
from golive.testing.jobs_upkeep import UpkeepContract

pytestmark = pytest.mark.process


@pytest.fixture
def url(postgres_url: str) -> str:
    """An empty database."""
    return postgres_url


class TestPostgresStore(JobStoreContract, SplitContract, NamedJobsContract, LimitsContract, UpkeepContract):
    """In PostgreSQL."""

    @pytest.fixture
    async def store(self, url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
        self.url, self.monkeypatch = url, monkeypatch
        store = PostgresStore(url)
        await store.open()
        yield store
        await store.close()

    async def advance(self, store: JobStore, seconds: float) -> None:
        """The database's clock cannot be moved, so the rows are."""
        connection = await asyncpg.connect(self.url)
        await connection.execute(
            "update block_jobs set lease_until = lease_until - make_interval(secs => $1), "
            "run_at = run_at - make_interval(secs => $1)", seconds,
        )  # fmt: skip
        await connection.execute(
            "update block_jobs_control set value = to_jsonb(value::float8 - $1) where starts_with(name, 'bucket:')",
            seconds,
        )
        await connection.close()

    async def age(self, store: JobStore, seconds: float) -> None:
        """Ids are compared with this host's clock, and the moments of the ends with the database's."""
        self.monkeypatch.setattr(postgres_upkeep, "clock", lambda earlier=postgres_upkeep.clock: earlier() + seconds)
        connection = await asyncpg.connect(self.url)
        sql = (
            "update block_jobs set finished_at = finished_at - make_interval(secs => $1) where finished_at is not null"
        )
        await connection.execute(sql, seconds)
        await connection.close()

    async def another(self, store: JobStore) -> JobStore:
        other = PostgresStore(self.url)
        await other.open()
        return other

    async def test_the_table_refuses_moves_the_machine_does_not_know(self, store: PostgresStore) -> None:
        """No other program can revive a finished job."""
        await store.submit([new_job()])
        connection = await asyncpg.connect(self.url)
        with pytest.raises(asyncpg.RaiseError, match="illegal job transition from pending to succeeded"):
            await connection.execute("update block_jobs set state = 'succeeded', finished_at = now()")
        await connection.close()

    async def test_a_job_is_submitted_within_the_callers_transaction(self, store: PostgresStore) -> None:
        """It exists if and when the caller commits; without a transaction it is refused."""
        mine = await asyncpg.connect(self.url)
        kept, undone = new_job(idempotency_key="k"), new_job()
        with pytest.raises(UsageError, match="in a transaction"):
            await store.submit_within(mine, [kept])
        async with mine.transaction():
            await store.submit_within(mine, [kept])
            assert await store.get(kept.id) is None
            assert not (await store.submit_within(mine, [new_job(idempotency_key="k")]))[0].created
        with pytest.raises(ZeroDivisionError):
            async with mine.transaction():
                await store.submit_within(mine, [undone])
                _ = 1 / 0
        await mine.close()
        assert await store.get(kept.id)
        assert await store.get(undone.id) is None

    async def test_one_bad_job_fails_alone(self, store: PostgresStore) -> None:
        """What shares a round trip with a submission that cannot be stored is stored all the same."""
        good, bad = [new_job() for _ in range(5)], new_job(attempts_max=0)
        pieces = [store.submit([each]) for each in [*good[:3], bad, *good[3:]]]
        outcomes = await asyncio.gather(*pieces, return_exceptions=True)
        assert isinstance(outcomes[3], asyncpg.CheckViolationError)
        assert all([await store.get(new.id) for new in good])
        assert await store.get(bad.id) is None

    async def test_broken_connections_are_made_again(self, store: PostgresStore) -> None:
        """Every backend is terminated: at most one answer each is lost, the notifications come back too."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        store.subscribe(lambda: loop.call_soon_threadsafe(woken.set) and None)
        await self._until_heard(store, woken)
        admin = await asyncpg.connect(self.url)
        await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'golive'")
        await admin.close()
        claimed: list[object] = []

        async def all_claimed() -> bool:
            try:
                await store.submit([new_job()])
                claimed.extend(await claim(store))
            except UnavailableError:  # once per broken connection
                return False
            return len(claimed) >= 3

        await until(all_claimed)
        woken.clear()
        await self._until_heard(store, woken)

    async def _until_heard(self, store: PostgresStore, woken: asyncio.Event) -> None:
        """Submit until a notification arrives: one sent before the listener listens is lost, which is its nature."""

        async def heard() -> bool:
            await store.submit([new_job()])
            await asyncio.sleep(0.05)
            return woken.is_set()

        await until(heard)

    async def test_processes_that_start_at_once_make_one_schema(self, store: PostgresStore) -> None:
        """Server and workers open together; so they may, and a newer schema is refused."""
        stores = [PostgresStore(self.url, "other_jobs") for _ in range(4)]
        await asyncio.gather(*(each.open() for each in stores))
        await asyncio.gather(*(each.close() for each in stores))
        connection = await asyncpg.connect(self.url)
        await connection.execute("update golive_schema set version = 99")
        await connection.close()
        with pytest.raises(StateError, match="expected version 6 or older, got 99"):
            await stores[0].open()
        await stores[0].close()


async def test_a_worker_on_postgresql(url: str) -> None:
    """Submit, run, retry, finish; leases from the heart's own thread and loop."""
    jobs = Jobs(JobsSettings(url=url))

    @jobs.handler("double")
    async def double(payload: int) -> int:
        return payload * 2

    async with working(jobs):
        submitted = await asyncio.gather(*(jobs.submit("double", number) for number in range(100)))
        done = [await finished(jobs, job) for job in submitted]
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert [int(job.result or b"") for job in done] == [number * 2 for number in range(100)]


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """Unavailable, with the place and what to look at."""
    with pytest.raises(UnavailableError, match=r"postgresql://127\.0\.0\.1:1/db: expected an answer") as caught:
        await Line("postgresql://someone:secret@127.0.0.1:1/db").run(lambda connection: connection.fetch("select 1"))
    assert "secret" not in str(caught.value)
    assert place("postgresql://u:p@h/db?password=x") == "postgresql://h/db"


async def test_a_step_of_the_schema_may_take_longer_than_a_statement(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index over a table of many millions of rows does; without that a newer golive would never come up on it."""
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT", timedelta(seconds=0.3))
    line = Line(url)
    with pytest.raises(UnavailableError):
        await line.run(lambda connection: connection.execute("select pg_sleep(1)"))
    await postgres.migrate(line, ["select pg_sleep(1)", "create table it (n int)"], "test")
    await line.run(lambda connection: connection.execute("insert into it values (1)"))
    await line.close()


async def test_a_claim_under_limits_asks_four_times(url: str) -> None:
    """The lock, the state, the due jobs and the claim, inside one transaction; a rate writes its bucket besides."""
    asked: list[str] = []

    class Counting:
        def __init__(self, connection: asyncpg.Connection) -> None:
            self.transaction, self._connection = connection.transaction, connection

        def __getattr__(self, name: str) -> object:
            asked.append(name)
            return getattr(self._connection, name)

    store, connection = PostgresStore(url), await asyncpg.connect(url)
    await store.open()
    await store.submit([new_job(tenant="t") for _ in range(3)])
    for limits, times in ((Limits(running_max=2), 4), (Limits(running_max=3, bucket=Bucket("b", 1.0, 1)), 5)):
        asked.clear()
        demands = [Demand("default", "report", 5, limits)]
        rows = await store._sql.limited.claim(Counting(connection), demands, 5, "w", 60.0, None)
        assert (bool(rows), len(asked)) == (True, times)
    await connection.close()
    await store.close()


async def test_a_backend_killed_9_loses_no_acknowledged_job(url: str) -> None:
    """PostgreSQL goes through crash recovery under submissions: every acknowledged job is there afterwards."""
    store, acknowledged, stop = PostgresStore(url), [], asyncio.Event()
    await store.open()

    async def caller() -> None:
        while not stop.is_set():
            try:
                acknowledged.append((await store.submit([new_job()]))[0].job.id)
            except UnavailableError:
                await asyncio.sleep(0.05)

    async def reached(count: int) -> None:
        async def look() -> bool:
            return len(acknowledged) >= count

        await until(look, 60)

    callers = [asyncio.create_task(caller()) for _ in range(16)]
    for _ in range(2):
        await reached(len(acknowledged) + 300)
        pid = await asyncio.wait_for(store._line("submit").run(lambda c: c.fetchval("select pg_backend_pid()")), 20)
        os.kill(pid, signal.SIGKILL)
    await reached(len(acknowledged) + 300)
    stop.set()
    await asyncio.gather(*callers)
    stored = await store._fetch("read", "select id::text from block_jobs")
    await store.close()
    assert set(acknowledged) <= {row[0] for row in stored}
    assert len(acknowledged) == len(set(acknowledged))
