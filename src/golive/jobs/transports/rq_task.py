"""The call an unmodified ``rq worker`` makes for a golive job. RQ imports this module; nothing else does."""

from __future__ import annotations

import asyncio

from golive.jobs.find import find_jobs
from golive.jobs.machine import Event, State
from golive.jobs.model import JobId
from golive.jobs.named import End, run_named


class DeadJobError(Exception):
    """The golive job has failed for good: RQ shows the call as failed, with the job's own reason."""


def run(app: str, job: str) -> str:
    """
    Run *job* of the application *app* ("module:name"), if the store lets this worker have it.

    Returns: one line for ``rq``'s own views. Raises: DeadJobError.
    """
    end = asyncio.run(_run(app, JobId(job)))
    if end.job is not None and end.job.state is State.FAILED and end.event is Event.FAIL and end.job.failure:
        failure = end.job.failure
        raise DeadJobError(f"{end.job.kind} {job}: {failure.code}: {failure.message}. golive jobs redrive {job}")
    if end.event is None:
        return f"not run here: {end.job.state if end.job else 'there is no such job'}"
    return end.event.value


async def _run(app: str, job: JobId) -> End:
    jobs = find_jobs(app)
    async with jobs.opened():
        ends = await run_named(jobs.store, jobs.handlers, jobs.settings, [[job]])
    return ends.get(job) or End(None, None)
