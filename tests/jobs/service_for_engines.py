"""The application of test_jobs_engines.py, wherever its settings keep, ring and put things."""

from __future__ import annotations

from golive.jobs import Jobs

jobs = Jobs.from_env()


@jobs.handler("repeat", queue="enrichment")
async def repeat(times: int) -> str:
    """A result of any size."""
    return "x" * times
