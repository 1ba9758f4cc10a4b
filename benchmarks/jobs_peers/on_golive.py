"""golive, on the store its URL names."""

from __future__ import annotations

import os
from dataclasses import replace

import sink
from measure import beside, measure, run

from golive.jobs import Jobs, JobsSettings
from golive.jobs.model import NewJob, new_job_id

SETTINGS = JobsSettings(url=os.environ["BENCH_URL"], concurrency=200, table=os.environ.get("BENCH_TABLE", "bench_0"))


def application(settings: JobsSettings) -> Jobs:
    made = Jobs(settings)

    @made.handler("tick")
    async def tick(sent_at: float) -> None:
        sink.ran(sent_at)

    return made


jobs = application(SETTINGS)


class Golive:
    """Submissions fsynced; leases, fencing, the tally of runs. Two hundred slots."""

    backlog, blocking = 10_000, False
    command = [beside("golive"), "worker", "on_golive:jobs", "--log-level", "warning"]  # noqa: RUF012

    def __init__(self) -> None:
        self.jobs, self.tables = jobs, 0

    async def enqueue(self, sent_at: float) -> None:
        await self.jobs.submit("tick", sent_at)

    async def enqueue_many(self, count: int) -> None:
        for start in range(0, count, 500):
            news = [NewJob(new_job_id(), "tick", b"0.0") for _ in range(min(500, count - start))]
            await self.jobs.store.submit(news)

    async def clear(self) -> None:
        """A table of its own for what comes."""
        await self.jobs.__aexit__()
        self.tables += 1
        os.environ["BENCH_TABLE"] = f"bench_{self.tables}"
        self.jobs = await application(replace(SETTINGS, table=f"bench_{self.tables}")).__aenter__()


async def main() -> None:
    system = Golive()
    await system.jobs.__aenter__()
    await measure(system)
    await system.jobs.__aexit__()


if __name__ == "__main__":
    run(main())
