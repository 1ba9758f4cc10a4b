"""
The front of the jobs room: register handlers, submit, ask, serve, work.

One :class:`Jobs` per application, made at import time; it touches no file and no network until it is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import weakref
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from golive.errors import UsageError, did_you_mean
from golive.jobs.assemble import announced, fitted, offloading
from golive.jobs.context import JobContext
from golive.jobs.declarations import Declarations
from golive.jobs.errors import InvalidPayloadError, KeyReusedError, UnknownHandlerError
from golive.jobs.execution import Outcome, execute
from golive.jobs.handlers import Handler, canonical, encode_result, parse
from golive.jobs.measures import Measures, Meter
from golive.jobs.model import Job, JobId, NewJob, Submission, is_job_id, new_job_id
from golive.jobs.ports import JobStore
from golive.jobs.schedules import Recurring
from golive.jobs.settings import JobsSettings, valid_name
from golive.jobs.split import Split, new_split
from golive.jobs.staffing import kept_limits, worker_of
from golive.jobs.stats import Stats, queue_stats
from golive.jobs.stores import store_for
from golive.jobs.stores.within import at_once
from golive.jobs.submissions import check_identity
from golive.jobs.transports import IN_STORE
from golive.jobs.worker import Worker

if TYPE_CHECKING:
    from fastapi import APIRouter

    from golive.jobs.http import AsgiApp, Tenant

#: How often a waiting caller's job is looked at, at most.
WAIT_POLL_SECONDS = 0.25


class Jobs(Declarations):
    """
    The jobs of one application.

    Args:
        settings: a store URL, or the whole :class:`JobsSettings`; None means the defaults.
        store: a store of your own (tests: ``MemoryStore()``); None makes the one the URL names.
    """

    def __init__(self, settings: str | JobsSettings | None = None, *, store: JobStore | None = None) -> None:
        super().__init__(JobsSettings(url=settings) if isinstance(settings, str) else settings or JobsSettings())
        kept = store or store_for(self.settings.url, self.settings.table)
        self.settings = fitted(kept, self.settings)
        self.offloading = offloading(kept, self.settings)
        around = self.offloading.whole() if self.offloading else kept
        self.store = announced(around, self.settings, self.handlers.values, self._place)
        self._reconciling: asyncio.Task[None] | None = None
        self._opened = False
        self._users = 0
        self._embedded = False
        self._measures: Measures | None = None
        self._measuring = False
        self._workers: weakref.WeakSet[Worker] = weakref.WeakSet()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Jobs:
        """As :meth:`JobsSettings.from_env` says."""
        return cls(JobsSettings.from_env(environ))

    async def submit(
        self, name: str, payload: Any = None, *, tenant: str = "", idempotency_key: str | None = None,
        run_at: datetime | None = None, priority: int = 0, within: Any = None, webhook: str | None = None,
    ) -> Job:  # fmt: skip
        """
        Make a job durable; when this returns, a power cut cannot lose it.

        Args:
            payload: what the handler takes, or JSON bytes of it. Validated now.
            idempotency_key: the same key (per tenant and handler) yields the job it first made.
            run_at: not before, an aware datetime; None means at once.
            priority: lower goes first.
            within: your own connection to the store's database (asyncpg, psycopg, SQLAlchemy; sqlite3), in a
                transaction: the job exists if and when that commits. None makes it durable before this returns.
            webhook: a URL that is told how the job ended, as :meth:`webhooks` allows.

        Raises: UnknownHandlerError, InvalidPayloadError, KeyReusedError; RefusedDestinationError for the webhook;
            UsageError for an argument that no job can have; StateError when it could not be stored.
        """
        new = self.prepare(
            name, payload, tenant=tenant, idempotency_key=idempotency_key, run_at=run_at, priority=priority,
            webhook=webhook,
        )  # fmt: skip
        await self._ensure_open()
        submitted = self.store.submit([new]) if within is None else self.store.submit_within(within, [new])
        return _stands(new, *await submitted)

    def submit_blocking(
        self, name: str, payload: Any = None, *, within: Any, tenant: str = "", idempotency_key: str | None = None,
        run_at: datetime | None = None, priority: int = 0, webhook: str | None = None,
    ) -> Job:  # fmt: skip
        """
        As :meth:`submit`, for code without an event loop: *within* a blocking connection (psycopg, SQLAlchemy,
        sqlite3) to the store's database, whose tables a server or worker of this application has made.

        Raises: as :meth:`submit`; UsageError for a connection that has to be awaited.
        """
        new = self.prepare(
            name, payload, tenant=tenant, idempotency_key=idempotency_key, run_at=run_at, priority=priority,
            webhook=webhook,
        )  # fmt: skip
        return _stands(new, *at_once(within, self.store.submit_within(within, [new])))

    def prepare(
        self, name: str, payload: Any = None, *, tenant: str = "", idempotency_key: str | None = None,
        run_at: datetime | None = None, priority: int = 0, webhook: str | None = None,
    ) -> NewJob:  # fmt: skip
        """
        A checked job with its id, not submitted yet: for :meth:`JobStore.submit` with several at once, or an outbox.

        Raises: as :meth:`submit`.
        """
        handler = self._handler(name)
        body = payload if isinstance(payload, bytes) else encode_result(payload)
        self._validate(handler, body)
        check_identity(tenant, idempotency_key, priority, run_at)
        if webhook is not None:
            if self.hooks is None:
                raise UsageError("webhook: expected jobs.webhooks(secret=...) to be declared first, got none.")
            self.hooks.destination(webhook)
        key = idempotency_key
        return NewJob(
            new_job_id(), name, body, handler.queue, tenant, handler.attempts_max, priority,
            None if run_at is None else run_at.timestamp(), key, None if key is None else _fingerprint(body), webhook,
        )  # fmt: skip

    async def get(self, job: str, *, tenant: str | None = None) -> Job | None:
        """The job, or None if there is none, or none of *tenant* (None asks for any tenant's)."""
        if not is_job_id(job):
            return None
        await self._ensure_open()
        found = await self.store.get(JobId(job))
        return found if found and tenant in (None, found.tenant) else None

    async def result(self, job: Job) -> bytes | None:
        """The JSON a succeeded *job* ended with, from wherever it is kept; None if it has none, or none any more."""
        reference = self.offloading.reference(job) if self.offloading else None
        if self.offloading is None or reference is None:
            return job.result
        await self._ensure_open()
        pieces = await self.offloading.read(job, reference)
        return None if pieces is None else b"".join([piece async for piece in pieces])

    async def wait(self, job: Job, seconds: float) -> Job:
        """*job* as soon as it is finished, or as it is after *seconds*."""
        pause, deadline = 0.01, time.monotonic() + seconds
        while not job.state.terminal and (left := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, WAIT_POLL_SECONDS)
            job = await self.store.get(job.id) or job
        return job

    async def cancel(self, job: str, *, tenant: str | None = None) -> Job | None:
        """
        Cancel a job: at once if it is pending, within a second or so if an ``async def`` handler runs it. A plain
        function cannot be stopped; its job is cancelled, its result is dropped. A finished job stays as it is.

        Returns: the job afterwards; None if there is none, or none of *tenant*.
        """
        found = await self.get(job, tenant=tenant)
        return await self.store.cancel(found.id) if found else None

    async def redrive(self, job: str, payload: Any = None) -> Job | None:
        """
        Put a failed or cancelled job back with a fresh set of attempts; any other stays. None if there is none.

        Args:
            payload: takes the place of what was submitted, if it is given: JSON bytes, or what the handler takes.

        Raises: InvalidPayloadError when the job's handler is known here and does not take it.
        """
        found = await self.get(job)
        if found is None:
            return None
        body = payload if payload is None or isinstance(payload, bytes) else encode_result(payload)
        if body is not None:
            parse(body)
            if found.kind in self.handlers:
                self._validate(self.handlers[found.kind], body)
        return await self.store.redrive(found.id, body)

    async def hasten(self, job: str) -> Job | None:
        """Make a pending job due now: a retry that waits, or a start in the future. None if there is no such job."""
        await self._ensure_open()
        return await self.store.hasten(JobId(job)) if is_job_id(job) else None

    async def pause(self, queue: str, reason: str = "") -> None:
        """From the next claim on, no worker claims anything of *queue*. What runs runs on; submissions are taken."""
        if not valid_name(queue):
            raise UsageError(f"pause: expected a queue's name, got {queue!r}.")
        await self._ensure_open()
        await self.store.set_paused(queue, reason[:500])

    async def resume(self, queue: str) -> None:
        """End :meth:`pause`. Nothing changes where there is none."""
        await self._ensure_open()
        await self.store.set_paused(queue, None)

    async def run(self, name: str, payload: bytes, *, tenant: str = "") -> Outcome:
        """
        Run a handler here and now, without a row in the store: the synchronous contract.

        Raises: UnknownHandlerError, InvalidPayloadError. Everything the handler raises is in the outcome.
        """
        handler = self._handler(name)
        self._validate(handler, payload)
        context = JobContext(new_job_id(), name, tenant=tenant, synchronous=True, version=self.settings.version)
        return await execute(handler, payload, context, self.settings.result_bytes_max)

    def router(
        self, name: str, *, prefix: str, body_style: Literal["snake", "camel"] = "snake",
        headers: Mapping[str, str] | None = None, tenant: Tenant | None = None,
        webhook_header: str | None = None, results: Literal["inline", "redirect"] = "inline",
    ) -> APIRouter:  # fmt: skip
        """
        The routes of one handler for ``app.include_router(...)``; their lifespan opens the store and, with
        ``embedded``, runs a worker.

        ``POST prefix`` waits and answers 200, ``POST prefix/async`` (or ``Prefer: respond-async``) answers 202,
        ``GET prefix/jobs/{id}`` tells where the job is.

        Args:
            body_style: the spelling of the 202 body: ``job_id`` or ``jobId``.
            headers: request headers that are part of the payload: ``{"x-snapshot-id": "snapshot_id"}``.
            tenant: whose request it is, from the ASGI scope; by default ``request.state.tenant``.
            webhook_header: the request header in which a submission may name its webhook; None takes none.
            results: ``"redirect"`` answers a GET of a job that succeeded with 303 to ``.../jobs/{id}/result``, which is
                there either way, instead of showing the result in the job document.

        Raises: ConfigError when FastAPI is not installed, or the handler is not registered (yet).
        """
        from golive.jobs.fastapi import api_router
        from golive.jobs.http import Endpoints

        handler = self._handler(name)
        return api_router(Endpoints(self, handler, prefix, body_style, headers, tenant, webhook_header, results))

    def asgi(
        self, name: str, *, prefix: str, body_style: Literal["snake", "camel"] = "snake",
        headers: Mapping[str, str] | None = None, tenant: Tenant | None = None,
        webhook_header: str | None = None, results: Literal["inline", "redirect"] = "inline",
    ) -> AsgiApp:  # fmt: skip
        """The routes of :meth:`router` as a plain ASGI app, for any framework; paths outside *prefix* are 404."""
        from golive.jobs.http import Endpoints, application

        handler = self._handler(name)
        return application(Endpoints(self, handler, prefix, body_style, headers, tenant, webhook_header, results))

    def worker(self, *, queues: Collection[str] | None = None, concurrency: int | None = None) -> Worker:
        """A worker for this application's handlers; the store must be open (``async with jobs``)."""
        worker = worker_of(self, queues, concurrency)
        self._workers.add(worker)
        return worker

    def occurrence(self, recurring: Recurring, moment: datetime, key: str) -> NewJob:
        """The job of a schedule for *moment*."""
        payload = recurring.payload(moment) if callable(recurring.payload) else recurring.payload
        return self.prepare(recurring.kind, payload, tenant=recurring.tenant, idempotency_key=key)

    async def stats(self) -> Stats:
        """Plain numbers for metrics and autoscalers. Counting costs the store a scan of what waits."""
        await self._ensure_open()
        queues = await queue_stats(self.store, {handler.queue for handler in self.handlers.values()})
        workers = [worker.stats() for worker in self._workers]
        runs, split, paused = await self.store.runs(), await self.store.split(), await self.store.paused()
        return Stats(queues, workers, runs, split, paused, await self.store.workers())

    def measure(self, meter: Meter) -> None:
        """
        Keep the numbers of :meth:`stats` in *meter*, ``chassis.metrics`` for instance, while :meth:`lifespan` lasts.

        Raises: ConfigError when one of the names is taken by another metric.
        """
        self._measures = Measures(meter, self.stats)

    async def split_claims(self, candidate: str, share_basis_points: int, *, salt: str | None = None) -> Split:
        """
        From now on workers of the version *candidate* claim this share of the jobs, and only those; all other workers
        the rest. Safe to repeat; takes the place of an earlier rule.

        Args:
            share_basis_points: 0 (nothing; at once) to 10,000 (everything).
            salt: which jobs; None means by the candidate's name. A share that grows keeps the jobs it had.

        Raises: UsageError naming what is out of range.
        """
        split = new_split(candidate, share_basis_points, salt)
        await self._ensure_open()
        await self.store.set_split(split)
        return split

    async def end_split(self) -> None:
        """Every worker claims every job again. Nothing changes where there is no split."""
        await self._ensure_open()
        await self.store.set_split(None)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """``FastAPI(lifespan=jobs.lifespan)``: the store is open inside, and the embedded worker runs if asked for."""
        async with self, self._measured():
            if not self.settings.embedded or self._embedded:  # several routers share one worker
                yield
                return
            worker, self._embedded = self.worker(), True
            task = asyncio.create_task(worker.run())
            try:
                yield
            finally:
                self._embedded = False
                worker.stop()
                await task

    @asynccontextmanager
    async def _measured(self) -> AsyncIterator[None]:
        if self._measures is None or self._measuring:  # several routers share one count
            yield
            return
        self._measuring = True
        task = asyncio.create_task(self._measures.run())
        try:
            yield
        finally:
            self._measuring = False
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def __aenter__(self) -> Jobs:
        await self._enter()
        self._reconcile()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Jobs]:
        """As ``async with jobs``, but only the store: for code that an engine calls for a moment."""
        await self._enter()
        try:
            yield self
        finally:
            await self._exit()

    async def _enter(self) -> None:
        await self._ensure_open()
        self._users += 1

    async def _exit(self) -> None:
        self._users -= 1
        if self._users == 0:
            if self._reconciling:
                self._reconciling.cancel()
                await asyncio.gather(self._reconciling, return_exceptions=True)
                self._reconciling = None
            self._opened = False
            await self.store.close()

    def _reconcile(self) -> None:
        """A transport may lose what it was told; somebody of those who stay open must notice."""
        if self._reconciling or self.settings.transport == IN_STORE:
            return
        from golive.jobs.reconciler import Reconciler
        from golive.jobs.rung import Rung

        rung: object = self.store
        assert isinstance(rung, Rung), "assemble() puts it outermost"
        patience = self.settings.patience.total_seconds()
        self._reconciling = asyncio.create_task(Reconciler(rung, self.handlers.values, patience).run())

    def _place(self) -> str:
        from golive.jobs.find import place_of

        return self.settings.app or place_of(self)

    async def _ensure_open(self) -> None:
        if not self._opened:
            if self.settings.transport != IN_STORE:  # its workers may be another engine's, which would not say so
                kept_limits(self)
            await self.store.open()
            self._opened = True

    def _handler(self, name: str) -> Handler:
        try:
            return self.handlers[name]
        except KeyError:
            raise UnknownHandlerError(name, did_you_mean(name, list(self.handlers))) from None

    def _validate(self, handler: Handler, payload: bytes) -> None:
        if len(payload) > self.settings.payload_bytes_max:
            raise InvalidPayloadError(
                f"expected at most {self.settings.payload_bytes_max} bytes of payload, got {len(payload)}"
            )
        try:
            payload.decode()  # a typed decoder skips fields the type does not have, unread
        except UnicodeDecodeError as error:
            raise InvalidPayloadError(f"expected JSON in UTF-8, got something else: {error}") from error
        handler.decode(payload)


def _stands(new: NewJob, submission: Submission) -> Job:
    """The job that stands for *new*, if it was submitted with the same payload."""
    if new.idempotency_key is not None and submission.job.fingerprint != new.fingerprint:
        raise KeyReusedError(new.idempotency_key)
    return submission.job


def _fingerprint(payload: bytes) -> bytes:
    return hashlib.blake2b(canonical(payload), digest_size=16).digest()
