"""
PgQueuer, as its documentation shows it: asyncpg, a batch size that suits short jobs, on uvloop.

`pgq run` of this release does not start with the typer it asks for, so the worker is started by its Python call.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import asyncpg
import sink
from measure import measure, run
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

URL = os.environ["BENCH_URL"]


async def worker() -> None:
    """Until SIGTERM."""
    application = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))

    @application.entrypoint("tick")
    async def tick(job: Job) -> None:
        sink.ran(float(job.payload or b"0"))

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, application.shutdown.set)
    await application.run(batch_size=200)


class Peer:
    """A pool for the callers."""

    backlog, blocking = 8_000, False
    command = [sys.executable, __file__, "worker"]  # noqa: RUF012

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool, self.queries = pool, Queries(AsyncpgPoolDriver(pool))

    async def enqueue(self, sent_at: float) -> None:
        await self.queries.enqueue("tick", str(sent_at).encode())

    async def enqueue_many(self, count: int) -> None:
        for start in range(0, count, 500):
            size = min(500, count - start)
            await self.queries.enqueue(["tick"] * size, [b"0"] * size, [0] * size)

    async def clear(self) -> None:
        await self.pool.execute("truncate pgqueuer")


async def main() -> None:
    connection = await asyncpg.connect(URL)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()
    async with asyncpg.create_pool(URL, min_size=8, max_size=8) as pool:
        await measure(Peer(pool))


if __name__ == "__main__":
    run(worker() if sys.argv[1:] == ["worker"] else main())
