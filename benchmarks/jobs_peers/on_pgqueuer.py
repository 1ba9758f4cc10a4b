"""PgQueuer, as its documentation shows it: asyncpg, a batch size that suits short jobs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
from measure import measure
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries


class Peer:
    """One connection for the worker, a pool for the callers, because golive's callers share more than one, too."""

    backlog = 6000
    on_run: Callable[[float], None]

    def __init__(self, pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
        self.pool, self.queries = pool, Queries(AsyncpgPoolDriver(pool))
        self.application = PgQueuer(AsyncpgDriver(connection))

        @self.application.entrypoint("tick")
        async def tick(job: Job) -> None:
            self.on_run(float(job.payload or b"0"))

    async def enqueue(self, sent_at: float) -> None:
        await self.queries.enqueue("tick", str(sent_at).encode())

    async def enqueue_many(self, count: int) -> None:
        for _ in range(count // 500):
            await self.queries.enqueue(["tick"] * 500, [b"0"] * 500, [0] * 500)

    async def clear(self) -> None:
        await self.pool.execute("truncate pgqueuer")

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.application.run(batch_size=200))
        yield
        self.application.shutdown.set()
        await task


async def main(url: str) -> None:
    connection = await asyncpg.connect(url)
    await Queries(AsyncpgDriver(connection)).install()
    async with asyncpg.create_pool(url, min_size=8, max_size=8) as pool:
        await measure(Peer(pool, connection))
    await connection.close()


asyncio.run(main(sys.argv[1]))
