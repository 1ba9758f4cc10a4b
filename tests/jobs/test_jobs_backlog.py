"""
A deep backlog: claims and lists cost what they cost on an empty table, and the worker's memory stays where it is.

``make backlog`` asks for a million pending jobs and prints the delays; the short form looks at what would make them
grow: rows read for one claim and for one page.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import asyncpg
import pytest

from golive.db import sqlite
from golive.db.sqlite import Connection
from golive.jobs import Jobs, State
from golive.jobs.model import Demand, NewJob, new_job_id
from golive.jobs.ports import JobStore
from golive.jobs.stores import store_for
from golive.jobs.stores.postgres import PostgresStore
from golive.jobs.stores.postgres_statements import Statements as PostgresStatements
from golive.jobs.stores.sqlite_statements import Statements as SqliteStatements
from golive.testing.jobs_running import until, working

PENDING = int(os.environ.get("GOLIVE_BACKLOG", "0"))
FEW = 3000
ROUNDS = 220
#: Of a worker, from the first quarter of its jobs to the last.
GROWN_BYTES_MAX = 16 * 2**20


async def fill(store: JobStore, count: int) -> None:
    for start in range(0, count, 500):
        size = min(500, count - start)
        await store.submit([NewJob(new_job_id(), "it", b'{"n":1}', tenant=f"t{start % 7}") for _ in range(size)])


async def delays(stores: dict[str, JobStore]) -> dict[str, dict[str, float]]:
    """p95 in seconds of claims and of pages of each store, taken in turns, after a warm-up."""
    taken: dict[str, dict[str, list[float]]] = {name: {"claim": [], "list": []} for name in stores}
    for _ in range(ROUNDS):
        for name, store in stores.items():
            begin = time.perf_counter()
            assert len(await store.claim([Demand("default", "it", 10)], 10, "w", 3600.0, None)) == 10
            middle = time.perf_counter()
            assert len(await store.page(50, state=State.PENDING, kind=None, before=None)) == 50
            taken[name]["claim"].append(middle - begin)
            taken[name]["list"].append(time.perf_counter() - middle)
    return {
        name: {what: statistics.quantiles(each[20:], n=20)[18] for what, each in of.items()}
        for name, of in taken.items()
    }


def memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if PENDING:

    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    async def test_a_million_pending_jobs_cost_a_claim_what_an_empty_table_costs(
        kind: str, tmp_path: Path, postgres_url: str
    ) -> None:
        """p95 within 2 x, right after the million came; then a worker takes a tenth of it, and stays as small."""
        stores: dict[str, JobStore] = {}
        for name, count in (("few", FEW), ("many", PENDING)):
            url = f"sqlite:///{tmp_path}/{name}.db" if kind == "sqlite" else postgres_url
            stores[name] = store_for(url, f"{name}_jobs")
            await stores[name].open()
            await fill(stores[name], count)
        p95 = await delays(stores)
        for what, few in p95["few"].items():
            many = p95["many"][what]
            print(
                f"{kind} {what} p95: {few * 1000:.2f} ms at {FEW:,} pending, {many * 1000:.2f} ms at {PENDING:,}: "
                f"{many / few:.2f} x"
            )
        await stores["few"].close()
        grown = await memory_grown(stores["many"], PENDING // 10)
        await stores["many"].close()
        print(f"{kind}: a worker's memory grows by {grown / 2**20:.1f} MiB from the first to the last quarter")
        assert all(p95["many"][what] <= 2 * few for what, few in p95["few"].items())
        assert grown < GROWN_BYTES_MAX


async def test_a_claim_and_a_page_look_at_no_more_than_they_return(tmp_path: Path) -> None:
    """Twenty thousand pending jobs: SQLite's own count of its steps is that of two hundred."""
    steps = []
    for count in (200, 20_000):
        store = store_for(f"sqlite:///{tmp_path}/{count}.db", "block_jobs")
        await store.open()
        await fill(store, count)
        await store.close()
        path = tmp_path / f"{count}.db"
        steps.append({"claim": _claim_steps(path), "page": _page_steps(path, State.PENDING, 50)})
    few, many = steps
    for name in few:
        assert many[name] <= 1.5 * few[name], name


async def test_lists_of_what_waits_and_runs_do_not_walk_past_what_has_finished(tmp_path: Path) -> None:
    """SQLite: eight times as many finished jobs, the same number of steps."""
    steps = []
    for count in (1_000, 8_000):
        path = tmp_path / f"{count}.db"
        store = store_for(f"sqlite:///{path}", "block_jobs")
        await store.open()
        await fill(store, 20)
        await fill(store, count)
        await store.close()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            newest = f"select id from block_jobs order by id desc limit {count}"
            connection.execute(f"update block_jobs set state = 'running', lease_until = 1e12 where id in ({newest})")
            connection.execute(
                "update block_jobs set state = 'succeeded', finished_at = 1, lease_until = null where state = 'running'"
            )
        few = {"pending": 20, "running": 0}
        steps.append({name: _page_steps(path, State(name), found) for name, found in few.items()})
    assert all(steps[1][name] <= 1.5 * steps[0][name] for name in steps[0]), steps


async def test_postgresql_lists_what_waits_from_an_index_whatever_the_statistics_say(postgres_url: str) -> None:
    """They may be of a time when nothing waited; then the planner would sort all that waits now, for one page."""
    store = PostgresStore(postgres_url)
    await store.open()
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("alter table block_jobs set (autovacuum_enabled = false)")
    page = PostgresStatements("block_jobs").page[State.PENDING]
    explain = f"explain {page}"
    await store._fetch("list", f"prepare page (text, uuid, int, text, text) as {page}")  # planned as for the store
    plans, deep = [], []
    for _ in range(2):
        await fill(store, 3_000)
        await store.page(50, state=State.PENDING, kind=None, before=None)
        rows = await store._fetch("list", explain, None, None, 50, None, None)
        plans.append("\n".join(row[0] for row in rows))
        oldest = "select id::text from block_jobs where state = 'pending' order by id offset 60 limit 1"
        before = await connection.fetchval(oldest)
        rows = await store._fetch("list", f"explain analyze execute page (null, '{before}', 50, null, null)")
        deep.append("\n".join(row[0] for row in rows))
        await connection.execute(
            "update block_jobs set state = 'cancelled', finished_at = now() where state = 'pending'"
        )
        await connection.execute("vacuum analyze block_jobs")
    await connection.close()
    await store.close()
    for plan in plans:
        assert "block_jobs_waiting" in plan, plan
        assert "Sort" not in plan, plan
    for plan in deep:  # the last page costs what the first costs
        assert "block_jobs_waiting" in plan, plan
        assert "Rows Removed" not in plan, plan


def _page_steps(path: Path, state: State, found: int) -> int:
    """One page of *state*, that has *found* jobs."""
    with counting(path) as (connection, steps):
        page = SqliteStatements("block_jobs").page(connection, limit=50, state=state, kind=None, before=None)
    assert len(page) == found
    return max(len(steps), 1)


def _claim_steps(path: Path) -> int:
    """One claim of ten jobs."""
    now, demands = time.time() + 1, [Demand("default", "it", 10)]
    with counting(path) as (connection, steps):
        claims = SqliteStatements("block_jobs").claim(
            connection, demands=demands, limit=10, worker="w", version=None, now=now, lease_until=now + 60
        )
    assert len(claims) == 10
    return max(len(steps), 1)


@contextmanager
def counting(path: Path) -> Iterator[tuple[Connection, list[None]]]:
    """A connection, and a list that grows with every hundred steps SQLite's virtual machine makes on it."""
    steps: list[None] = []
    with closing(sqlite.connect(path)) as connection:
        connection.set_progress_handler(lambda: steps.append(None), 100)
        yield connection, steps


async def test_a_workers_memory_does_not_grow_with_what_waits(tmp_path: Path) -> None:
    """It works through 20,000 jobs; after the first quarter its memory grows by less than 16 MiB."""
    store = store_for(f"sqlite:///{tmp_path}/jobs.db", "block_jobs")
    await store.open()
    await fill(store, 20_000)
    grown = await memory_grown(store, 20_000)
    await store.close()
    assert grown < GROWN_BYTES_MAX, f"{grown / 2**20:.1f} MiB"


async def memory_grown(store: JobStore, count: int) -> int:
    """Bytes by which this process grows while a worker runs the last three quarters of *count* jobs of *store*."""
    jobs, ran, early = Jobs(store=store), 0, 0

    @jobs.handler("it")
    async def it(_: dict[str, int]) -> None:
        nonlocal ran, early
        ran += 1
        if ran == count // 4:
            early = memory_bytes()

    async def done() -> bool:
        return ran >= count

    async with working(jobs, concurrency=50):
        await until(done, 90 + count / 100)
        return memory_bytes() - early
