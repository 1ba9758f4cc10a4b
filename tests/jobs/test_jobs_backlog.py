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
from contextlib import closing
from pathlib import Path

import pytest

from golive.jobs import Jobs, State
from golive.jobs.model import Demand, NewJob, new_job_id
from golive.jobs.ports import JobStore
from golive.jobs.stores import store_for
from golive.testing.jobs_running import until, working

PENDING = int(os.environ.get("GOLIVE_BACKLOG", "0"))
FEW = 2000
ROUNDS = 60


async def fill(store: JobStore, count: int) -> None:
    for start in range(0, count, 500):
        size = min(500, count - start)
        await store.submit([NewJob(new_job_id(), "it", b'{"n":1}', tenant=f"t{start % 7}") for _ in range(size)])


async def delays(store: JobStore) -> dict[str, float]:
    """p95 in seconds of claims and of pages, after a warm-up."""
    taken: dict[str, list[float]] = {"claim": [], "list": []}
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        assert len(await store.claim([Demand("default", "it", 10)], 10, "w", 600.0, None)) == 10
        middle = time.perf_counter()
        assert len(await store.page(50, state=State.PENDING, kind=None, before=None)) == 50
        taken["claim"].append(middle - begin)
        taken["list"].append(time.perf_counter() - middle)
    return {name: statistics.quantiles(each[10:], n=20)[18] for name, each in taken.items()}


def memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if PENDING:

    @pytest.mark.timeout(1800)
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    async def test_a_million_pending_jobs_cost_a_claim_what_an_empty_table_costs(
        kind: str, tmp_path: Path, postgres_url: str
    ) -> None:
        """p95 within 2 x."""
        url = f"sqlite:///{tmp_path}/jobs.db" if kind == "sqlite" else postgres_url
        store = store_for(url, "block_jobs")
        await store.open()
        await fill(store, FEW)
        empty = await delays(store)
        await fill(store, PENDING)
        deep = await delays(store)
        await store.close()
        for name in empty:
            few, many = empty[name] * 1000, deep[name] * 1000
            print(
                f"{kind} {name} p95: {few:.2f} ms at {FEW:,} pending, {many:.2f} ms at {PENDING:,}: {many / few:.2f} x"
            )
        assert all(deep[name] <= 2 * empty[name] for name in empty)


async def test_a_claim_and_a_page_look_at_no_more_than_they_return(tmp_path: Path) -> None:
    """Twenty thousand pending jobs: SQLite's own count of its steps is that of two hundred."""
    steps = []
    for count in (200, 20_000):
        store = store_for(f"sqlite:///{tmp_path}/{count}.db", "block_jobs")
        await store.open()
        await fill(store, count)
        await store.close()
        steps.append(_steps(tmp_path / f"{count}.db"))
    few, many = steps
    for name in few:
        assert many[name] <= 1.5 * few[name], name


def _steps(path: Path) -> dict[str, int]:
    """Virtual machine steps, in hundreds, of the store's own statements."""
    from golive.jobs.stores.sqlite_statements import Statements

    sql, taken = Statements("block_jobs"), {}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name in ("claim", "page"):
            count = 0

            def step() -> int:
                nonlocal count
                count += 1
                return 0

            connection.set_progress_handler(step, 100)
            now = time.time() + 1
            if name == "claim":
                demands = [Demand("default", "it", 10)]
                found = sql.claim(
                    connection, demands=demands, limit=10, worker="w", version=None, now=now, lease_until=now + 60
                )
                assert len(found) == 10
            else:
                assert len(sql.page(connection, limit=50, state=State.PENDING, kind=None, before=None)) == 50
            taken[name] = max(count, 1)
    return taken


async def test_a_workers_memory_does_not_grow_with_what_waits(tmp_path: Path) -> None:
    """It works through 20,000 jobs; after the first quarter its memory grows by less than 16 MiB."""
    jobs = Jobs(f"sqlite:///{tmp_path}/jobs.db")
    count, early = 0, 0

    @jobs.handler("it")
    async def it(_: dict[str, int]) -> None:
        nonlocal count, early
        count += 1
        if count == 5_000:
            early = memory_bytes()

    async with jobs:
        await fill(jobs.store, 20_000)
        async with working(jobs, concurrency=50):

            async def ran() -> bool:
                return count == 20_000

            await until(ran, 90)
            grown = memory_bytes() - early
    assert grown < 16 * 2**20, f"{grown / 2**20:.1f} MiB"
