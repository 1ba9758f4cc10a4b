"""Procrastinate, as its documentation shows it: psycopg's pool, a concurrent worker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import procrastinate
from measure import measure


class Peer:
    """Two hundred slots, as golive's worker has."""

    backlog = 600
    on_run: Callable[[float], None]

    def __init__(self, app: procrastinate.App) -> None:
        self.app = app

        @app.task(name="tick")
        async def tick(sent_at: float) -> None:
            self.on_run(sent_at)

        self.tick = tick

    async def enqueue(self, sent_at: float) -> None:
        await self.tick.defer_async(sent_at=sent_at)

    async def enqueue_many(self, count: int) -> None:
        await self.tick.batch_defer_async(*({"sent_at": 0.0} for _ in range(count)))

    async def clear(self) -> None:
        await self.app.connector.execute_query_async("truncate procrastinate_jobs cascade")

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.app.run_worker_async(concurrency=200, install_signal_handlers=False))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def main(url: str) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=8, max_size=8))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await measure(Peer(app))


asyncio.run(main(sys.argv[1]))
