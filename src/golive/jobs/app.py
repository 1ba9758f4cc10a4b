"""
The front of the jobs room: register handlers, submit, ask, serve, work.

One :class:`Jobs` per application, made at import time; it touches no file and no network until it is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from golive.errors import ConfigError, did_you_mean
from golive.jobs.assemble import assemble
from golive.jobs.context import JobContext
from golive.jobs.errors import InvalidPayloadError, KeyReusedError, UnknownHandlerError
from golive.jobs.execution import Outcome, execute
from golive.jobs.handlers import Handler, canonical, describe, encode_result
from golive.jobs.model import Job, JobId, NewJob, is_job_id, new_job_id
from golive.jobs.ports import JobStore
from golive.jobs.settings import JobsSettings, valid_name
from golive.jobs.split import Split, new_split
from golive.jobs.stats import Stats, queue_stats
from golive.jobs.stores import store_for
from golive.jobs.transports import IN_STORE
from golive.jobs.worker import Worker
from golive.timing import parse_duration

if TYPE_CHECKING:
    from fastapi import APIRouter

    from golive.jobs.http import AsgiApp, Tenant

#: How often a waiting caller's job is looked at, at most.
WAIT_POLL_SECONDS = 0.25

Function = TypeVar("Function", bound=Callable[..., Any])


class Jobs:
    """
    The jobs of one application.

    Args:
        settings: a store URL, or the whole :class:`JobsSettings`; None means the defaults.
        store: a store of your own (tests: ``MemoryStore()``); None makes the one the URL names.
    """

    def __init__(self, settings: str | JobsSettings | None = None, *, store: JobStore | None = None) -> None:
        self.settings = JobsSettings(url=settings) if isinstance(settings, str) else settings or JobsSettings()
        self.handlers: dict[str, Handler] = {}
        kept = store or store_for(self.settings.url, self.settings.table)
        self.store = assemble(kept, self.settings, self.handlers.values, self._place)
        self._reconciling: asyncio.Task[None] | None = None
        self._opened = False
        self._users = 0
        self._embedded = False
        self._workers: weakref.WeakSet[Worker] = weakref.WeakSet()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Jobs:
        """As :meth:`JobsSettings.from_env` says."""
        return cls(JobsSettings.from_env(environ))

    def handler(
        self, name: str, *, attempts_max: int | None = None, timeout: str | timedelta | None = None,
        queue: str = "default", concurrency: int | None = None, retry_on_timeout: bool = False,
        isolation: Literal["none", "process"] = "none", memory_bytes_max: int | None = None,
    ) -> Callable[[Function], Function]:  # fmt: skip
        """
        Register the decorated function, ``async def`` or ``def`` (which runs in a thread), as the handler of *name*.

        Args:
            attempts_max: runs held against a job before it is dead; a handler with effects must bear being run again.
            timeout: ``"30s"``; the run is cancelled then and the job fails with ``timeout``. ``"0s"`` means none.
            queue: workers may be told to serve some queues only.
            concurrency: runs of this handler at the same time in one worker; None leaves it to the worker.
            retry_on_timeout: True lets a timed-out job be tried again; what took too long often does so again.
            isolation: ``"process"`` gives each run a process of its own, killed at the time-out: for what computes,
                crashes or cannot be cancelled. The function must be at the top of a module that can be imported.
            memory_bytes_max: address space of that process; beyond it the run meets a ``MemoryError``.

        Raises: ConfigError for a name taken, a limit out of range, or a signature that cannot be a handler's.
        """
        _check_names(name, queue)
        if name in self.handlers:
            raise ConfigError(f"@jobs.handler({name!r}): expected a new name, got one that is registered already.")

        def register(function: Function) -> Function:
            self.handlers[name] = describe(
                function, name, queue=queue, concurrency=_at_least_one("concurrency", concurrency),
                attempts_max=_at_least_one("attempts_max", attempts_max) or self.settings.attempts_max,
                timeout=_duration(name, timeout, self.settings.timeout), retry_on_timeout=retry_on_timeout,
                isolation=_isolation(name, function, isolation, memory_bytes_max),
                memory_bytes_max=_at_least_one("memory_bytes_max", memory_bytes_max),
            )  # fmt: skip
            return function

        return register

    async def submit(
        self, name: str, payload: Any = None, *, tenant: str = "", idempotency_key: str | None = None,
        run_at: datetime | None = None, priority: int = 0, within: Any = None,
    ) -> Job:  # fmt: skip
        """
        Make a job durable; when this returns, a power cut cannot lose it.

        Args:
            payload: what the handler takes, or JSON bytes of it. Validated now.
            idempotency_key: the same key (per tenant and handler) yields the job it first made.
            run_at: not before; None means at once.
            priority: lower goes first.
            within: your own connection to the store's database (sqlite3, asyncpg), in a transaction: the job exists if
                and when that commits. None makes it durable before this returns.

        Raises: UnknownHandlerError, InvalidPayloadError, KeyReusedError; StateError when it could not be stored.
        """
        handler = self._handler(name)
        body = payload if isinstance(payload, bytes) else encode_result(payload)
        self._validate(handler, body)
        key = idempotency_key
        new = NewJob(
            new_job_id(), name, body, handler.queue, tenant, handler.attempts_max, priority,
            None if run_at is None else run_at.timestamp(), key, None if key is None else _fingerprint(body),
        )  # fmt: skip
        await self._ensure_open()
        submitted = self.store.submit([new]) if within is None else self.store.submit_within(within, [new])
        (submission,) = await submitted
        if key is not None and submission.job.fingerprint != new.fingerprint:
            raise KeyReusedError(key)
        return submission.job

    async def get(self, job: str, *, tenant: str | None = None) -> Job | None:
        """The job, or None if there is none, or none of *tenant* (None asks for any tenant's)."""
        if not is_job_id(job):
            return None
        await self._ensure_open()
        found = await self.store.get(JobId(job))
        return found if found and tenant in (None, found.tenant) else None

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

    async def redrive(self, job: str) -> Job | None:
        """Put a failed or cancelled job back with a fresh set of attempts; any other stays. None if there is none."""
        await self._ensure_open()
        return await self.store.redrive(JobId(job)) if is_job_id(job) else None

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

        Raises: ConfigError when FastAPI is not installed, or the handler is not registered (yet).
        """
        from golive.jobs.fastapi import api_router
        from golive.jobs.http import Endpoints

        return api_router(Endpoints(self, self._handler(name), prefix, body_style, headers, tenant))

    def asgi(
        self, name: str, *, prefix: str, body_style: Literal["snake", "camel"] = "snake",
        headers: Mapping[str, str] | None = None, tenant: Tenant | None = None,
    ) -> AsgiApp:  # fmt: skip
        """The routes of :meth:`router` as a plain ASGI app, for any framework; paths outside *prefix* are 404."""
        from golive.jobs.http import Endpoints, application

        return application(Endpoints(self, self._handler(name), prefix, body_style, headers, tenant))

    def worker(self, *, queues: Collection[str] | None = None, concurrency: int | None = None) -> Worker:
        """A worker for this application's handlers; the store must be open (``async with jobs``)."""
        known = {handler.queue for handler in self.handlers.values()}
        for unknown in sorted(set(queues or ()) - known):
            raise ConfigError(
                f"unknown queue {unknown!r}{did_you_mean(unknown, sorted(known))} Known: {sorted(known)}."
            )
        if not self.handlers:
            raise ConfigError("jobs: expected at least one @jobs.handler to work for, got none.")
        worker = Worker(self.store, self.handlers, self.settings, queues=queues, concurrency=concurrency)
        self._workers.add(worker)
        return worker

    async def stats(self) -> Stats:
        """Plain numbers for metrics and autoscalers. Counting costs the store a scan of what waits."""
        await self._ensure_open()
        queues = await queue_stats(self.store, {handler.queue for handler in self.handlers.values()})
        workers = [worker.stats() for worker in self._workers]
        return Stats(queues, workers, await self.store.runs(), await self.store.split())

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
        async with self:
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


def _check_names(handler: str, queue: str) -> None:
    for what, name in (("handler", handler), ("queue", queue)):
        if not valid_name(name):
            raise ConfigError(f"{what} {name!r}: expected a name of letters, digits, '.', '_', '-' (at most 64).")


def _at_least_one(what: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"@jobs.handler: {what}: expected a whole number >= 1, got {value!r}.")
    return value


def _isolation(name: str, function: Callable[..., Any], isolation: str, memory_bytes_max: int | None) -> str:
    place = f"@jobs.handler({name!r})"
    if isolation not in ("none", "process"):
        raise ConfigError(f'{place}: isolation: expected "none" or "process", got {isolation!r}.')
    if isolation == "none" and memory_bytes_max is not None:
        raise ConfigError(f'{place}: memory_bytes_max: expected isolation="process" beside it, got none.')
    where = f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', function)}"
    if isolation == "process" and (where.startswith("__main__:") or "<" in where):
        raise ConfigError(
            f'{place}: isolation="process": expected a function another process can import, got {where}. '
            "Move it to the top of a module."
        )
    return isolation


def _duration(name: str, given: str | timedelta | None, default: timedelta) -> timedelta:
    if given is None or isinstance(given, timedelta):
        return default if given is None else given
    try:
        return parse_duration(given)
    except ValueError as error:
        raise ConfigError(f"@jobs.handler({name!r}): timeout: {error}") from error


def _fingerprint(payload: bytes) -> bytes:
    return hashlib.blake2b(canonical(payload), digest_size=16).digest()
