"""
RQ as the doorbell: golive jobs in RQ's own queues, run by an unmodified ``rq worker``, beside jobs RQ itself enqueued.

    transport = "rq"                          at REDIS_URL
    transport = "rq+redis://host:6379/0"      also rq+rediss://, rq+unix://

    rq worker enrichment ai_analysis --url $REDIS_URL

A golive queue is the RQ queue of the same name. What is enqueued is a call of
:func:`golive.jobs.transports.rq_task.run` with the application's import path and the job's id; the call claims the job
in the store. State, result, retries and leases are the store's; RQ shows the call as finished, or as failed when the
job is dead. golive reads and writes only entries of its own.

How it fails: ``FLUSHALL``, an emptied queue, a killed worker and a lost entry are all the same to the reconciler: the
job is still pending in the store and is enqueued again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from golive.errors import ConfigError, UnavailableError
from golive.jobs.handlers import Handler
from golive.jobs.model import Waiting, new_job_id
from golive.jobs.transports.ports import TransportCapability

#: The call RQ's worker makes.
TASK = "golive.jobs.transports.rq_task.run"
#: A job that was rung is not suspected to be lost for this long, unless its queue has run dry.
REMEMBER_SECONDS = 900
SOCKET_SECONDS = 5.0
#: RQ keeps what it knows of a finished call for a while, and of a failed one for longer.
RESULT_SECONDS = 3600
FAILURE_SECONDS = 7 * 86_400


class RqTransport:
    """See :class:`golive.jobs.transports.ports.Transport`."""

    capabilities = frozenset({TransportCapability.FOREIGN_WORKERS})

    def __init__(self, address: str, app: Callable[[], str]) -> None:
        self._url = _redis_url(address)
        self._app = app
        self._redis: Any = None

    async def open(self, handlers: Collection[Handler]) -> None:
        """See the port. RQ makes its queues itself; what can be wrong is the application's place."""
        if handlers:
            self._app()
        self._connection()

    async def close(self) -> None:
        """See the port."""
        connection, self._redis = self._redis, None
        if connection is not None:
            await asyncio.to_thread(connection.close)

    async def ring(self, jobs: Sequence[Waiting]) -> None:
        """See the port. RQ's workers have no clock of their own: what is not due yet is left to the reconciler."""
        due = [job for job in jobs if job.run_at <= time.time() + 1.0]
        if due:
            await self._call(self._enqueue, due)

    async def lost(self, jobs: Sequence[Waiting]) -> list[Waiting]:
        """See the port."""
        missing: list[Waiting] = await self._call(self._missing, jobs)
        return missing

    def _enqueue(self, jobs: Sequence[Waiting]) -> None:
        from rq import Queue

        app, connection = self._app(), self._connection()
        pipeline = connection.pipeline(transaction=False)
        for queue in {job.queue for job in jobs}:
            calls = [
                Queue.prepare_data(
                    TASK, (app, job.id), timeout=-1, result_ttl=RESULT_SECONDS, failure_ttl=FAILURE_SECONDS,
                    description=f"golive {job.kind} {job.id}", job_id=f"{job.id}-{new_job_id()[-4:]}",
                )
                for job in jobs if job.queue == queue
            ]  # fmt: skip
            Queue(queue, connection=connection).enqueue_many(calls, pipeline=pipeline)
        for job in jobs:
            pipeline.set(_mark(job), 1, ex=REMEMBER_SECONDS)
        pipeline.execute()

    def _missing(self, jobs: Sequence[Waiting]) -> list[Waiting]:
        from rq import Queue

        queues = sorted({job.queue for job in jobs})
        pipeline = self._connection().pipeline(transaction=False)
        for queue in queues:
            pipeline.llen(Queue.redis_queue_namespace_prefix + queue)
        for job in jobs:
            pipeline.exists(_mark(job))
        answers = pipeline.execute()
        dry = {queue for queue, length in zip(queues, answers, strict=False) if not length}
        marked = answers[len(queues) :]
        return [job for job, known in zip(jobs, marked, strict=True) if not known or job.queue in dry]

    async def _call(self, function: Callable[[Sequence[Waiting]], Any], jobs: Sequence[Waiting]) -> Any:
        self._connection()
        from redis.exceptions import RedisError

        try:
            return await asyncio.to_thread(function, jobs)
        except (RedisError, OSError) as error:
            raise UnavailableError(f"jobs.transport: Redis does not answer: {type(error).__name__}.") from error

    def _connection(self) -> Any:
        if self._redis is None:
            try:
                import redis
                import rq  # noqa: F401 - said here, not in a thread later
            except ImportError as error:
                raise ConfigError(
                    f'jobs.transport: RQ needs the package {error.name!r}, got none. pip install "golive[rq]"'
                ) from error
            try:
                self._redis = redis.Redis.from_url(
                    self._url, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
                )
            except ValueError as error:
                raise ConfigError("jobs.transport: expected rq+redis://host:port/number, got a URL redis-py "
                                  "does not understand.") from error  # fmt: skip
        return self._redis


def _mark(job: Waiting) -> str:
    return f"golive:rung:{job.id}"


def _redis_url(address: str) -> str:
    if address != "rq":
        return address.removeprefix("rq+")
    if url := os.environ.get("REDIS_URL", "").strip():
        return url
    raise ConfigError('jobs.transport: "rq" takes its Redis from REDIS_URL, got none. Set it, or write rq+redis://...')
