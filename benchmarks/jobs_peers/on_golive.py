"""golive, on the store its URL names."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from measure import measure

from golive.jobs import Jobs, JobsSettings
from golive.jobs.model import NewJob, new_job_id
from golive.testing.jobs_running import working


class Golive:
    """Submissions fsynced; leases, fencing, the tally of runs."""

    backlog = 6000
    on_run: Callable[[float], None]

    def __init__(self, url: str) -> None:
        self.settings = JobsSettings(url=url, concurrency=200, table="bench_enqueue")
        self.jobs = self.application()

    def application(self) -> Jobs:
        jobs = Jobs(self.settings)

        @jobs.handler("tick")
        async def tick(sent_at: float) -> None:
            self.on_run(sent_at)

        return jobs

    async def enqueue(self, sent_at: float) -> None:
        await self.jobs.submit("tick", sent_at)

    async def enqueue_many(self, count: int) -> None:
        for _ in range(count // 500):
            await self.jobs.store.submit([NewJob(new_job_id(), "tick", b"0.0") for _ in range(500)])

    async def clear(self) -> None:
        """A table of its own for the rest."""
        await self.jobs.__aexit__()
        self.settings = replace(self.settings, table="bench_process")
        self.jobs = await self.application().__aenter__()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        async with working(self.jobs):
            yield


async def main(url: str) -> None:
    system = Golive(url)
    await system.jobs.__aenter__()
    await measure(system)
    await system.jobs.__aexit__()


asyncio.run(main(sys.argv[1]))
