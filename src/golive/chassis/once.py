"""
Running a request once: what happens around a handler whose route is idempotent.

The answer is stored *before* it is sent, so that a caller that has seen it can never cause a second run; a caller that
hangs up does not stop the handler. A duplicate that comes while the first one runs is told to come back, or waits for
it, as the route says.

How it fails. A store that does not answer: the route's declared policy, and what it may have done without telling us is
undone in the background. An answer that cannot be stored: it is given, and storing it is tried again until the lease
ends. A process that dies after its work and before storing the answer: the retry runs again, unless the work and
:meth:`Once.within` share a transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from golive.chassis import requestid
from golive.chassis.idempotency import (
    HEADER,
    IdempotencyRules,
    IdempotencyStore,
    Record,
    Saved,
    canonical,
    fingerprint,
    near_key,
    parse_key,
    store_key,
)
from golive.chassis.idempotencycache import ResultCache
from golive.chassis.limits import CallerLeftError, LimitReachedError, Refusal
from golive.chassis.recorder import Recorder, Renewals
from golive.chassis.requestid import new_request_id
from golive.chassis.stores.memory import MemoryIdempotencyStore
from golive.chassis.types import ASGIApp, Message, Receive
from golive.errors import ConfigError, TryLaterError

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.exchange import Exchange

#: The others are idempotent by definition (RFC 9110, section 9.2.2).
METHODS = ("POST", "PATCH")
#: Names of tenants that get their own series in ``ingest_dedup_total``.
TENANTS_MAX = 500
#: How often a waiting duplicate looks; the store is shared, so nobody can wake it.
POLL_SECONDS = 0.02
#: What one call to a store may take; Redis has its own, shorter budget.
STORE_SECONDS = 5.0
#: Calls to the store that are tried again in the background, at most.
UNSETTLED_MAX = 1000
#: RFC-style documentation of a missing key, as the draft asks.
_MISSING_LINK = b'<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>; rel="describedby"'


class AlreadyDoneError(Exception):
    """Another run of this request has committed. Let it pass: the transaction rolls back, the caller is told."""


class _First(msgspec.Struct, gc=False):
    """
    The first run of a key, or what wants to be it; :meth:`Once.within` finds it too.

    Attributes:
        name: what the store calls the key.
        owner: of the lease.
        mark: the fingerprint of the request.
        beaten: another run has committed.
    """

    name: str
    owner: str
    mark: bytes
    rules: IdempotencyRules
    tenant: str
    template: str
    beaten: bool = False


#: The run of a request that is not in the context by itself: idempotency without the rest of the chassis.
_running: ContextVar[_First | None] = ContextVar("golive_once", default=None)


class Once:
    """
    Enforces idempotency for the routes of one chassis, over one store.

    Attributes:
        store: where the keys live.
        cache: results in front of the store; None for a store that is as near.
    """

    def __init__(self, chassis: Chassis, store: IdempotencyStore, cache: ResultCache | None) -> None:
        self.store = store
        self.cache = cache
        self._chassis = chassis
        self._bounded = getattr(store, "bounded", False)
        self._tenants: set[str] = set()
        self._unsettled: set[asyncio.Task[None]] = set()
        self._renewals: dict[float, Renewals] = {}
        metrics = chassis.metrics
        self._duplicates = metrics.counter("ingest_dedup_total", "Duplicates not run again.", ("tenant", "source"))
        self._errors = metrics.counter("idempotency_store_errors_total", "Calls that the store failed.")
        self._fenced = metrics.counter("idempotency_fenced_total", "Results refused because the lease had passed on.")
        self._lookups = metrics.counter("idempotency_lookups_total", "Keys looked up.")
        self._hits = metrics.counter("idempotency_cache_hits_total", "Keys known to be done without the store.")

    async def run(
        self, app: ASGIApp, exchange: Exchange, receive: Receive, rules: IdempotencyRules, template: str
    ) -> None:
        """Serve *exchange* by *app*, or by what *app* answered before."""
        scope, lines = exchange.scope, exchange.lines(HEADER)
        if scope["method"] not in METHODS or not (lines or rules.required or rules.derive):
            await app(scope, receive, exchange.send)
            return
        try:
            key = parse_key(lines) if lines else ""
        except ValueError as error:
            await self._refuse(exchange, 400, str(error))
            return
        if not key and not rules.derive:
            link = {b"link": _MISSING_LINK}
            await exchange.refuse(Refusal(400, "This route needs an Idempotency-Key.", headers=link), close=False)
            return
        message = await receive()
        whole = message["type"] == "http.request" and not message.get("more_body")
        body = message.get("body", b"") if whole else await _rest_of_body(message, receive)
        tenant = (rules.scope(scope) if rules.scope is not None else None) or ""
        compared = body if key else canonical(body)
        mark = fingerprint(exchange.path, scope.get("query_string", b""), exchange.content_type, compared)
        name_of = near_key if type(self.store) is MemoryIdempotencyStore else store_key
        name = name_of(template, scope["method"], tenant, key or f"derived {mark.hex()}")
        first = _First(name, new_request_id(), mark, rules, tenant, template)
        try:
            record = self._begin_here(first)
            if record is None:
                record = await self._begin(first)
        except Exception:
            self._errors.inc()
            if rules.on_store_error == "open":
                await app(scope, _replayed_body(body), exchange.send)
            else:
                await self._refuse(exchange, 503, "The service cannot tell whether this was done already.", 1)
            return
        if record.mine:
            running = self._run_first(app, exchange, first, body)
            await (asyncio.shield(running) if self._may_be_cancelled else running)
        elif record.fingerprint != mark:
            await self._refuse(exchange, 422, "This Idempotency-Key was used for a different request.")
        elif not record.done:
            await self._refuse(exchange, 409, "A request with this Idempotency-Key is running.", 1)
        else:
            await self._duplicate(exchange, first, record.saved)

    async def within(self, connection: Any) -> None:
        """
        Record in the transaction of *connection* that this request is done: the record and the work commit together.

        Call it inside the handler, before the transaction commits. For a request without a key it does nothing.

        Args:
            connection: of asyncpg, psycopg or SQLAlchemy (async), to the database of the store, in a transaction.
        Raises: AlreadyDoneError when another run has committed, to be let through; ConfigError when the store is not
            PostgreSQL; UsageError for another kind of connection.
        """
        run = getattr(requestid.current.get()[3], "run", None) or _running.get()
        if run is None:
            return
        write = getattr(self.store, "within", None)
        if write is None:
            raise ConfigError("within: expected idempotency_store = postgres, got another. Only it can share one.")
        if not await write(connection, run.name, run.owner, run.rules.ttl_seconds):
            run.beaten = True
            raise AlreadyDoneError

    def prepare(self) -> None:
        """Let a store that has something to open do it before the first key needs it."""
        prepare = getattr(self.store, "prepare", None)
        if prepare is not None:
            prepare()

    async def close(self) -> None:
        """Give up what is tried again in the background, and let go of the store."""
        for task in list(self._unsettled):
            task.cancel()
        await self.store.close()

    @property
    def _may_be_cancelled(self) -> bool:
        """
        Whether a task is cancelled although its work should go on: by a time limit, or by a server that does so when
        the caller hangs up. Ours cancels only what outlived the shutdown, and a task of its own costs.
        """
        return not self._chassis.booted_by_server or self._chassis.limits.timeout_seconds is not None

    async def _begin(self, first: _First) -> Record:
        """Begin, or with ``wait`` look again until the one that runs has ended."""
        deadline = time.monotonic() + (first.rules.wait_seconds if first.rules.in_flight == "wait" else 0.0)
        pause = POLL_SECONDS
        while True:
            record = await self._begin_once(first)
            waits = not record.mine and not record.done and record.fingerprint == first.mark
            if not waits or time.monotonic() >= deadline:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)
        if self.cache is not None:
            self.cache.put(first.name, record)
        return record

    def _begin_here(self, first: _First) -> Record | None:
        """What needs no waiting: a result in the cache, or a store that is a dictionary. None: ask and wait."""
        self._lookups.inc()
        if self.cache is not None:
            known = self.cache.get(first.name)
            if known is not None:
                self._hits.inc()
            return known
        store = self.store
        if type(store) is not MemoryIdempotencyStore:  # a subclass may have something to await
            return None
        record = store.begin_now(first.name, first.mark, first.owner, first.rules.lease_seconds)
        return record if record.mine or record.done or first.rules.in_flight != "wait" else None

    async def _begin_once(self, first: _First) -> Record:
        name, owner, lease_seconds = first.name, first.owner, first.rules.lease_seconds
        try:
            if self._bounded:
                return await self.store.begin(name, first.mark, owner, lease_seconds)
            async with asyncio.timeout(STORE_SECONDS):
                return await self.store.begin(name, first.mark, owner, lease_seconds)
        except BaseException:  # it may have taken the key all the same, for a run that will not be
            self._again(lambda: self.store.release(name, owner), lease_seconds)
            raise

    async def _run_first(self, app: ASGIApp, exchange: Exchange, first: _First, body: bytes) -> None:
        rules = first.rules
        recorder = Recorder(exchange, rules.response_max_bytes)
        renewals = self._renewals_of(rules.lease_seconds)
        renewals.begin(first.owner, first.name)
        if requestid.current.get()[3] is exchange:
            exchange.run = first  # found through the request, which is in the context already: setting costs
        else:
            _running.set(first)
        kept = False
        try:
            await app(exchange.scope, _replayed_body(body), recorder.send)
            if recorder.status and rules.keeps(recorder.status) and not first.beaten:
                kept = True  # the work is done: neither another owner nor a cancel while it is stored takes that back
                if not self._kept_here(first, recorder):
                    await self._keep(first, recorder.saved())
        except Exception as error:
            if not first.beaten:
                if rules.save_5xx and not isinstance(error, TryLaterError | LimitReachedError):
                    recorder.failed()
                    kept = True
                    await self._keep(first, recorder.saved())
                raise
        finally:
            renewals.end(first.owner)
            if not kept:
                await self._forget(first.name, first.owner)
        if first.beaten:
            await self._duplicate(exchange, first, None)
        else:
            for held in recorder.taken():
                await exchange.send(held)

    def _kept_here(self, first: _First, recorder: Recorder) -> bool:
        """Store the result without waiting; False when the store is none of that kind, or has a cache before it."""
        store = self.store
        if type(store) is not MemoryIdempotencyStore or self.cache is not None:
            return False
        if not store.finish_now(first.name, first.owner, recorder.saved(), first.rules.ttl_seconds):
            self._fenced.inc()
        return True

    async def _keep(self, first: _First, saved: bytes | None) -> None:
        """
        Store the result, or go on trying: the work is done and cannot be undone, and the lease protects until it ends.
        """
        try:
            if self._bounded:
                await self._finish(first, saved)
            else:
                async with asyncio.timeout(STORE_SECONDS):
                    await self._finish(first, saved)
        except BaseException as error:  # a cancel may have come before the store was told
            self._again(lambda: self._finish(first, saved), first.rules.lease_seconds)
            if not isinstance(error, Exception):
                raise
            self._errors.inc()

    async def _finish(self, first: _First, saved: bytes | None) -> None:
        ttl_seconds = first.rules.ttl_seconds
        if not await self.store.finish(first.name, first.owner, saved, ttl_seconds):
            self._fenced.inc()
        elif self.cache is not None:
            self.cache.put(first.name, Record(first.mark, first.owner, False, True, saved, ttl_seconds))

    async def _forget(self, name: str, owner: str) -> None:
        try:
            await self.store.release(name, owner)
        except Exception:  # the lease will end by itself
            self._errors.inc()

    def _renewals_of(self, lease_seconds: float) -> Renewals:
        try:
            return self._renewals[lease_seconds]
        except KeyError:
            return self._renewals.setdefault(lease_seconds, Renewals(lease_seconds, self._renewer(lease_seconds)))

    def _renewer(self, lease_seconds: float) -> Callable[[str, str], Awaitable[None]]:
        async def renew(name: str, owner: str) -> None:
            """Extend the lease of a handler that is still running."""
            try:
                await self.store.renew(name, owner, lease_seconds)
            except Exception:
                self._errors.inc()

        return renew

    def _again(self, work: Callable[[], Awaitable[object]], seconds: float) -> None:
        """Try *work* in the background until it succeeds, for at most *seconds*."""
        if len(self._unsettled) < UNSETTLED_MAX:
            task = asyncio.get_running_loop().create_task(_until_done(work, seconds))
            self._unsettled.add(task)
            task.add_done_callback(self._unsettled.discard)

    async def _duplicate(self, exchange: Exchange, first: _First, given: bytes | None) -> None:
        rules = first.rules
        self._count(first.tenant, rules.source or first.template)
        if rules.on_duplicate == "204":
            await exchange.send({"type": "http.response.start", "status": 204, "headers": []})
            await exchange.send({"type": "http.response.body", "body": b""})
        elif given is None:
            await self._refuse(exchange, 409, "This was done; its answer was not kept.")
        else:
            saved = msgspec.msgpack.decode(given, type=Saved)
            length = [] if saved.status == 204 else [(b"content-length", b"%d" % len(saved.body))]
            headers = [*saved.headers, *length, (b"idempotency-replayed", b"true")]
            exchange.replays = True
            await exchange.send({"type": "http.response.start", "status": saved.status, "headers": headers})
            await exchange.send({"type": "http.response.body", "body": saved.body})

    def _count(self, tenant: str, source: str) -> None:
        if tenant not in self._tenants:
            if len(self._tenants) >= TENANTS_MAX:
                tenant = "__other__"
            else:
                self._tenants.add(tenant)
        self._duplicates.inc(tenant, source)

    async def _refuse(self, exchange: Exchange, status: int, detail: str, retry_after: int = 0) -> None:
        await exchange.refuse(Refusal(status, detail, retry_after), close=False)


async def _until_done(work: Callable[[], Awaitable[object]], seconds: float) -> None:
    deadline, pause = time.monotonic() + seconds, 0.25
    while time.monotonic() < deadline:
        await asyncio.sleep(pause)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await work()
            return
        except Exception:
            pause = min(pause * 2, 2.0)


async def _rest_of_body(message: Message, receive: Receive) -> bytes:
    """The whole body, which begins with *message*. Raises: CallerLeftError."""
    parts = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise CallerLeftError


def _replayed_body(body: bytes) -> Receive:
    """A ``receive`` that gives *body* once and then never says that the caller left: the work is worth finishing."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
