"""A service that is only workers: reports are rendered from jobs, and nobody calls it over HTTP."""

from __future__ import annotations

import asyncio

from golive.jobs import JobError, Jobs, JobsSettings

jobs = Jobs(JobsSettings.from_env())

BROKEN = False
"""Set it to True and ship: three reports in ten fail, and the release is taken back."""


@jobs.handler("report", queue="reports", attempts_max=5)
async def report(number: int) -> dict[str, int]:
    """Render report *number*."""
    await asyncio.sleep(0.005)
    if BROKEN and number % 10 < 3:
        raise JobError("cannot_render", status=500, retryable=True)
    return {"report": number, "pages": 1 + number % 7}
