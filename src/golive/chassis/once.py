"""
Running a request once: what happens around a handler whose route is idempotent.

The answer is stored *before* it is sent, so that a caller that has seen it can never cause a second run; a caller that
hangs up does not stop the handler. A duplicate that comes while the first one runs is told to come back, or waits for
it, as the route says.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from golive.chassis.idempotency import (
    HEADER,
    IdempotencyRules,
    IdempotencyStore,
    Record,
    Saved,
    fingerprint,
    parse_key,
    store_key,
)
from golive.chassis.limits import Refusal
from golive.chassis.types import ASGIApp, Message, Receive, Scope

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.exchange import Exchange

#: The others are idempotent by definition (RFC 9110, section 9.2.2).
METHODS = ("POST", "PATCH")
#: Names of tenants that get their own series in ``ingest_dedup_total``.
TENANTS_MAX = 500
#: How often a waiting duplicate looks; the store is shared, so nobody can wake it.
POLL_SECONDS = 0.02

_NOT_REPLAYED = frozenset(
    {
        b"set-cookie", b"connection", b"keep-alive", b"proxy-authenticate", b"te", b"trailer", b"transfer-encoding",
        b"upgrade", b"date", b"x-request-id", b"content-length", b"vary",
    }
)  # fmt: skip


class Once:
    """Enforces idempotency for the routes of one chassis, over one store."""

    def __init__(self, chassis: Chassis, store: IdempotencyStore) -> None:
        self.store = store
        self._tenants: set[str] = set()
        metrics = chassis.metrics
        self._duplicates = metrics.counter("ingest_dedup_total", "Duplicates not run again.", ("tenant", "source"))
        self._errors = metrics.counter("idempotency_store_errors_total", "Calls that the store failed.")
        self._fenced = metrics.counter("idempotency_fenced_total", "Results refused because the lease had passed on.")

    async def run(
        self, app: ASGIApp, exchange: Exchange, receive: Receive, rules: IdempotencyRules, template: str
    ) -> None:
        """Serve *exchange* by *app*, or by what *app* answered before."""
        scope = exchange.scope
        lines = [value for name, value in scope["headers"] if name == HEADER]
        if scope["method"] not in METHODS or (not lines and not rules.required):
            await app(scope, receive, exchange.send)
            return
        try:
            key = parse_key(lines) if lines else ""
        except ValueError as error:
            await self._refuse(exchange, 400, str(error))
            return
        if not key:
            await self._refuse(exchange, 400, "This route needs an Idempotency-Key.")
            return
        await self._run_keyed(app, exchange, receive, rules, template, key)

    async def _run_keyed(
        self, app: ASGIApp, exchange: Exchange, receive: Receive, rules: IdempotencyRules, template: str, key: str
    ) -> None:
        scope = exchange.scope
        body = await _read_body(receive)
        if body is None:
            return  # the caller hung up before it had said what it wants
        tenant = (rules.scope(scope) if rules.scope is not None else None) or ""
        name = store_key(template, scope["method"], tenant, key)
        mark = fingerprint(exchange.path, scope.get("query_string", b""), _content_type(scope), body)
        owner = os.urandom(12).hex()
        try:
            record = await self._begin(rules, name, mark, owner)
        except Exception:
            self._errors.inc()
            if rules.on_store_error == "open":
                await app(scope, _replayed_body(body), exchange.send)
            else:
                await self._refuse(exchange, 503, "The service cannot tell whether this was done already.", 1)
            return
        if record.mine:
            await asyncio.shield(self._run_first(app, exchange, rules, name, owner, body))
        elif record.fingerprint != mark:
            await self._refuse(exchange, 422, "This Idempotency-Key was used for a different request.")
        elif not record.done:
            await self._refuse(exchange, 409, "A request with this Idempotency-Key is running.", 1)
        else:
            await self._duplicate(exchange, rules, record, tenant, template)

    async def _begin(self, rules: IdempotencyRules, name: str, mark: bytes, owner: str) -> Record:
        """Begin, or with ``wait`` look again until the one that runs has ended."""
        deadline = time.monotonic() + (rules.wait_seconds if rules.in_flight == "wait" else 0.0)
        pause = POLL_SECONDS
        while True:
            record = await self.store.begin(name, mark, owner, time.time(), rules.lease_seconds)
            waits = not record.mine and not record.done and record.fingerprint == mark
            if not waits or time.monotonic() >= deadline:
                return record
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    async def _run_first(
        self, app: ASGIApp, exchange: Exchange, rules: IdempotencyRules, name: str, owner: str, body: bytes
    ) -> None:
        recorder = Recorder(exchange, rules.response_max_bytes)
        renewal = Renewal(self, rules, name, owner)
        kept = False
        try:
            await app(exchange.scope, _replayed_body(body), recorder.send)
            if recorder.status and rules.keeps(recorder.status):
                kept = await self._keep(rules, name, owner, recorder)
        finally:
            renewal.cancel()
            if not kept:
                await self._forget(name, owner)
        await recorder.deliver()

    async def _keep(self, rules: IdempotencyRules, name: str, owner: str, recorder: Recorder) -> bool:
        """Store the result; True when nothing remains to be cleaned up, also when another owner has taken over."""
        try:
            if not await self.store.finish(name, owner, recorder.saved(), time.time() + rules.ttl_seconds):
                self._fenced.inc()
        except Exception:  # the work is done and cannot be undone; the lease protects until it ends
            self._errors.inc()
        return True

    async def _forget(self, name: str, owner: str) -> None:
        try:
            await self.store.release(name, owner)
        except Exception:  # the lease will end by itself
            self._errors.inc()

    async def renew(self, rules: IdempotencyRules, name: str, owner: str) -> None:
        """Extend the lease of a handler that is still running."""
        try:
            await self.store.renew(name, owner, time.time() + rules.lease_seconds)
        except Exception:
            self._errors.inc()

    async def _duplicate(
        self, exchange: Exchange, rules: IdempotencyRules, record: Record, tenant: str, template: str
    ) -> None:
        self._count(tenant, rules.source or template)
        if rules.on_duplicate == "204":
            await exchange.send({"type": "http.response.start", "status": 204, "headers": []})
            await exchange.send({"type": "http.response.body", "body": b""})
        elif record.saved is None:
            await self._refuse(exchange, 409, "This was done; its answer was too long to keep.")
        else:
            saved = msgspec.msgpack.decode(record.saved, type=Saved)
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


class Renewal:
    """
    Extends a lease three times per its length, until cancelled. A timer, because most handlers end before the first.
    """

    def __init__(self, once: Once, rules: IdempotencyRules, name: str, owner: str) -> None:
        self._once = once
        self._lease = (rules, name, owner)
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(rules.lease_seconds / 3, self._renew)

    def cancel(self) -> None:
        """The handler has ended."""
        self._timer.cancel()

    def _renew(self) -> None:
        self._task = self._loop.create_task(self._once.renew(*self._lease))
        self._timer = self._loop.call_later(self._lease[0].lease_seconds / 3, self._renew)


class Recorder:
    """The first answer: held until it is stored, or passed on at once when it is too long or endless to keep."""

    def __init__(self, exchange: Exchange, bytes_max: int) -> None:
        self._exchange = exchange
        self._bytes_max = bytes_max
        self._messages: list[Message] = []
        self._body = bytearray()
        self._passing = False
        self.status = 0
        self._headers: list[tuple[bytes, bytes]] = []

    async def send(self, message: Message) -> None:
        """What the app is given instead of the real ``send``."""
        if message["type"] == "http.response.start":
            self.status, self._headers = message["status"], list(message.get("headers", ()))
            self._passing = any(
                name.lower() == b"content-type" and b"event-stream" in value for name, value in self._headers
            )
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
        self._messages.append(message)
        if self._passing or len(self._body) > self._bytes_max:
            self._passing = True
            self._body.clear()
            await self.deliver()

    def saved(self) -> bytes | None:
        """The answer, encoded to be given again; None when it was passed on."""
        if self._passing:
            return None
        headers = [(name, value) for name, value in self._headers if name.lower() not in _NOT_REPLAYED]
        return msgspec.msgpack.encode(Saved(self.status, headers, bytes(self._body)))

    async def deliver(self) -> None:
        """Send what is held."""
        messages, self._messages = self._messages, []
        for message in messages:
            await self._exchange.send(message)


async def _read_body(receive: Receive) -> bytes | None:
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


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


def _content_type(scope: Scope) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == b"content-type"), b"")


def store_from(setting: str) -> Any:
    """The store a setting names: ``memory``, or ``sqlite:<file>``. Raises: ValueError."""
    kind, _, rest = setting.partition(":")
    if setting == "memory":
        from golive.chassis.stores.memory import MemoryIdempotencyStore

        return MemoryIdempotencyStore()
    if kind == "sqlite" and rest:
        from golive.chassis.stores.sqlite import SqliteIdempotencyStore

        return SqliteIdempotencyStore(rest)
    raise ValueError(f'expected "memory" or "sqlite:<file>", got {setting!r}')
