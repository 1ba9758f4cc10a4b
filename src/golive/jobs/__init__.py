"""
Jobs: ``POST`` -> durable row -> 202 -> poll, from one handler that also answers synchronously.

    jobs = golive.Jobs("sqlite:///.golive/jobs.db")

    @jobs.handler("report", attempts_max=3, timeout="90s")
    async def report(order: Order, ctx: golive.JobContext) -> Report: ...

    app.include_router(jobs.router("report", prefix="/api/reports"))

The store is the record, acknowledged means fsynced, a claim is a lease with a fence, and a job ends exactly once; it
may run more than once (at-least-once), so a handler with effects outside uses ``ctx.id`` as its idempotency key.
"""

from golive.jobs.app import Jobs
from golive.jobs.context import JobContext
from golive.jobs.errors import InvalidPayloadError, JobError, KeyReusedError, NotNow, UnknownHandlerError
from golive.jobs.machine import State
from golive.jobs.model import Job, JobId
from golive.jobs.settings import JobsSettings
from golive.jobs.worker import Worker

__all__ = [
    "InvalidPayloadError",
    "Job",
    "JobContext",
    "JobError",
    "JobId",
    "Jobs",
    "JobsSettings",
    "KeyReusedError",
    "NotNow",
    "State",
    "UnknownHandlerError",
    "Worker",
]
