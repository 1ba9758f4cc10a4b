"""SAQ, on Redis or PostgreSQL by its URL: two hundred slots, no status checks."""

from __future__ import annotations

import os
from typing import Any

import sink
from measure import beside, measure, run
from saq import Queue

URL = os.environ["BENCH_URL"]
queue = Queue.from_url(URL)


async def tick(_: Any, *, sent_at: float) -> None:
    sink.ran(sent_at)


settings = {"queue": queue, "functions": [("tick", tick)], "concurrency": 200}


class Peer:
    """It has no batch call; a batch is 100 submissions at once."""

    backlog, blocking = 2000 if URL.startswith("redis") else 600, False
    command = [beside("saq"), "on_saq.settings", "--quiet"]  # noqa: RUF012

    async def enqueue(self, sent_at: float) -> None:
        await queue.enqueue("tick", sent_at=sent_at, ttl=60)

    async def enqueue_many(self, count: int) -> None:
        import asyncio

        for start in range(0, count, 100):
            await asyncio.gather(*(self.enqueue(0.0) for _ in range(min(100, count - start))))

    async def clear(self) -> None:
        if URL.startswith("redis"):
            await queue.redis.flushall()
        else:
            async with queue.pool.connection() as connection:
                await connection.execute("truncate saq_jobs")


async def main() -> None:
    await queue.connect()
    await measure(Peer())
    await queue.disconnect()


if __name__ == "__main__":
    run(main())
