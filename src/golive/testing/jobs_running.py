"""
Test an application's jobs for real: a worker in this event loop, and waiting for what it does.

    async with working(jobs):
        job = await finished(jobs, await jobs.submit("report", {"id": 1}))
    assert job.state == "succeeded"
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import TypeVar

from golive.jobs import Job, Jobs, Worker

T = TypeVar("T")


async def until(condition: Callable[[], Awaitable[T]], seconds: float = 20.0) -> T:
    """
    The first true answer of *condition*.

    Raises: AssertionError after *seconds*.
    """
    deadline = time.monotonic() + seconds
    while not (answer := await condition()):
        assert time.monotonic() < deadline, f"the condition did not come true within {seconds} s"
        await asyncio.sleep(0.005)
    return answer


async def finished(jobs: Jobs, job: Job, seconds: float = 20.0) -> Job:
    """
    *job*, once it is in a terminal state.

    Raises: AssertionError after *seconds*.
    """

    async def look() -> Job | None:
        found = await jobs.get(job.id)
        return found if found and found.state.terminal else None

    done = await until(look, seconds)
    assert done is not None, "until() returns true answers only"
    return done


@asynccontextmanager
async def working(
    jobs: Jobs, *, queues: Collection[str] | None = None, concurrency: int | None = None
) -> AsyncIterator[Worker]:
    """The store is open and a worker runs inside; it is drained on the way out."""
    async with jobs:
        worker = jobs.worker(queues=queues, concurrency=concurrency)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await task
