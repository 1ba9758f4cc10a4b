"""
One request and its answer, as the outermost layer sees them.

Headers are read in one pass and the answer goes through one ``send``, so that id, trace, cross-origin headers, metrics
and the log line cost one function call together and cannot disagree.
"""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING

from golive.chassis import requestid
from golive.chassis.addresses import FORWARDED
from golive.chassis.auth import CREDENTIALS
from golive.chassis.errors import BYTES_MAX, HeldError, may_be_default
from golive.chassis.lifecycle import Phase
from golive.chassis.limits import CallerLeftError, LimitReachedError, Refusal
from golive.chassis.log import RequestNote
from golive.chassis.problem import send_problem
from golive.chassis.ratelimit import Decision, Rule, header_fields
from golive.chassis.routes import path_below
from golive.chassis.trace import Trace, read_traceparent
from golive.chassis.types import Headers, Message, Receive, Scope, Send
from golive.errors import TryLaterError

if TYPE_CHECKING:
    from golive.chassis.core import Core

#: The status in logs and metrics of a request whose caller went away (nginx's convention); never sent.
CLIENT_CLOSED = 499


class Exchange:
    """One request and its answer as the outermost layer sees them; :meth:`send` is what the app is given."""

    __slots__ = (
        "_began",
        "_core",
        "_given",
        "_held",
        "_muted",
        "_recorded",
        "_repeats",
        "_replaced",
        "_send",
        "_sent",
        "body_bytes",
        "chunked",
        "content_type",
        "forwarded",
        "head_bytes",
        "http1",
        "is_preflight",
        "operational",
        "origin",
        "override",
        "path",
        "quota",
        "replays",
        "request_id",
        "root_path",
        "run",
        "scope",
        "started",
        "status",
        "trace_flags",
        "trace_id",
    )

    def __init__(self, core: Core, scope: Scope, send: Send) -> None:
        self._began = time.perf_counter()
        self._core = core
        self._send = send
        self._sent = 0
        self._recorded = False
        self._replaced = False
        self._muted = False
        self._held: HeldError | None = None
        self.scope = scope
        self.status = 0
        self.started = False
        self.operational = False
        self.http1 = scope.get("http_version", "1.1")[0] == "1"
        root_path = self.root_path = scope.get("root_path", "")
        path: str = scope["path"]
        self.path = path_below(path, root_path) if root_path else path
        self.is_preflight = False
        self.override: Refusal | None = None
        self.replays = False
        self.run: object = None
        self.quota: tuple[Rule, Decision] | None = None
        self.body_bytes = 0
        self._read_headers(scope)

    def _read_headers(self, scope: Scope) -> None:
        """Everything this layer wants to know, from a dictionary: made and asked in C, whatever else was sent."""
        headers = scope["headers"]
        given = self._given = dict(headers)
        self._repeats = len(given) != len(headers)
        head_bytes = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
        for name, value in headers:
            head_bytes += len(name) + len(value)
        self.head_bytes = head_bytes
        find = given.get
        self.content_type = find(b"content-type", b"")
        length = find(b"content-length")
        if length is not None:
            self.body_bytes = int(length) if length.isdigit() else 0
        self.chunked = b"transfer-encoding" in given
        self.origin = find(b"origin", b"")
        self.forwarded = FORWARDED[0] in given or FORWARDED[1] in given
        if b"access-control-request-method" in given:
            self.is_preflight = scope["method"] == "OPTIONS" and b"origin" in given
        if b"traceparent" in given:
            self.trace_id, _, self.trace_flags = self._read_trace(self.lines(b"traceparent"))
        else:
            self.trace_id, self.trace_flags = requestid.new_request_id(), "00"
        self.request_id = self.trace_id
        if b"x-request-id" in given:
            ids = self.lines(b"x-request-id")
            accepted = requestid.accept(ids[0]) if len(ids) == 1 else ""
            self._replaced = not accepted
            self.request_id = accepted or self.trace_id
        scope.setdefault("state", {})["request_id"] = self.request_id

    def lines(self, name: bytes) -> list[bytes]:
        """The values of the request's header *name*, in lower case."""
        if self._repeats:
            return [value for given, value in self.scope["headers"] if given == name]
        return [self._given[name]] if name in self._given else []

    @property
    def credentials(self) -> Headers:
        """The headers that say who asks."""
        if self._repeats:
            return [pair for pair in self.scope["headers"] if pair[0] in CREDENTIALS]
        found: Headers = []
        for name in CREDENTIALS:
            if name in self._given:
                found.append((name, self._given[name]))  # a comprehension is one more call in Python 3.11
        return found

    def _read_trace(self, given: list[bytes]) -> Trace:
        """The caller's trace; a malformed one ends here, and its state with it, also for tracers inside the app."""
        accepted = read_traceparent(given)
        if accepted is not None:
            return accepted
        fresh = Trace(requestid.new_request_id(), os.urandom(8).hex(), "00")
        kept = [pair for pair in self.scope["headers"] if pair[0] not in (b"traceparent", b"tracestate")]
        self.scope["headers"] = [*kept, (b"traceparent", f"00-{fresh.trace_id}-{fresh.parent_id}-00".encode())]
        return fresh

    def route(self) -> str:
        """The template of the route that serves this; known once the app has found it."""
        return self._core.names.name(self.scope, self.root_path)

    async def send(self, message: Message) -> None:
        """Pass *message* on: the head with our headers, and the last part of the body is the end of the request."""
        if self._held is not None or self._muted or self.override is not None:
            await self._send_instead(message)
            return
        kind = message["type"]
        if kind == "http.response.start":
            if message["status"] == 500 and self.raised_try_later():
                await self._send_instead(message)
                return
            if message["status"] >= 400 and self._translates and may_be_default(message):
                self._held = HeldError(message)
                return
            self.started, self.status = True, message["status"]
            await self._send({**message, "headers": self._headers(message)})
        elif kind == "http.response.body":
            self._sent += len(message.get("body", b""))
            await self._send(message)
            if not message.get("more_body"):
                self.finish()
        else:
            await self._send(message)

    def raised_try_later(self) -> bool:
        """
        Whether this 500 is a framework's answer to a :class:`TryLaterError`, which then is answered 503 instead.

        Frameworks answer inside their ``except``, before the exception reaches us, so it is looked up there.
        """
        later = _try_later(sys.exc_info()[1])
        if later is not None:
            self.override = _refusal(later)
        return later is not None

    async def _send_instead(self, message: Message) -> None:
        """The rarer ways: a limit has the answer, the answer was given already, or an error is being collected."""
        if self.override is not None and not self.started:
            await self.refuse(self.override, close=True)
        elif self._held is not None:
            await self._hold(message, self._held)
        elif not self._muted:
            self.override = None
            await self.send(message)

    @property
    def _translates(self) -> bool:
        """A replayed answer was translated when it was given the first time."""
        return self._core.chassis.settings.problems and not self.replays

    async def _send_start(self, message: Message) -> None:
        self.started, self.status = True, message["status"]
        await self._send({**message, "headers": self._headers(message)})

    async def _hold(self, message: Message, held: HeldError) -> None:
        """
        Collect an error answer that may be a framework's default, and send it when it is whole or too long to be one.
        """
        held.body += message.get("body", b"")
        more = bool(message.get("more_body"))
        if more and len(held.body) <= BYTES_MAX:
            return
        self._held = None
        start, body = (held.start, held.body) if more else held.translate(self.request_id)
        await self._send_start(start)
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def refuse(self, refusal: Refusal, unread: Receive | None = None, *, close: bool) -> None:
        """Answer with *refusal* instead of whatever the app says from now on. See :func:`send_problem` for *unread*."""
        headers = dict(refusal.headers or {})
        if refusal.retry_after:
            headers[b"retry-after"] = b"%d" % refusal.retry_after
        if close and self.http1:
            headers[b"connection"] = b"close"
        self.override = None
        members = refusal.members or {}
        await send_problem(
            self.send,
            refusal.status,
            refusal.detail,
            headers=headers,
            unread=unread,
            request_id=self.request_id,
            **members,
        )
        self._muted = True

    def _headers(self, message: Message) -> Headers:
        """The app's headers with ours; where both say something we know better."""
        chassis = self._core.chassis
        cors = chassis.cors if not self.operational else None
        headers: Headers = []
        for pair in message.get("headers", ()):
            length = len(pair[0])
            if length == 12 and pair[0].lower() == b"x-request-id":
                continue
            if length == 27 and cors is not None and pair[0].lower() == b"access-control-allow-origin":
                continue
            headers.append(pair)
        headers.append((b"x-request-id", self.request_id.encode()))
        if self.quota is not None:
            headers.extend(header_fields(*self.quota))
        if cors is not None:
            headers.extend(cors.answer_headers(self.origin))
        if chassis.lifecycle.closing and self.http1 and not any(name.lower() == b"connection" for name, _ in headers):
            headers.append((b"connection", b"close"))
        return headers

    async def failed(self, error: BaseException) -> None:
        """The app raised: tell the log what and the caller nothing."""
        self._held = None
        if isinstance(error, LimitReachedError):
            if not self.started:
                await self.refuse(self.override or Refusal(500, ""), close=True)
            elif not self._muted:
                self.status = 500  # the app had begun an answer: it is cut
            return
        later = _try_later(error)
        if later is not None:
            if not self.started:
                await self.refuse(_refusal(later), close=False)
            return
        gone = _is_gone(error)
        if not gone:
            self._log_error(error)
        if self.started:
            self.status = CLIENT_CLOSED if gone else 500
        elif not gone:
            await send_problem(self.send, 500, "The service failed to answer.", request_id=self.request_id)
        elif self._core.chassis.lifecycle.phase is Phase.DRAINING:
            await send_problem(
                self.send, 503, "The service stopped before it could answer.", request_id=self.request_id
            )

    def must_abort(self, error: BaseException) -> bool:
        """Whether *error* must reach the server: only that way is a half-sent answer cut instead of ended."""
        if self._muted:
            return False
        return not isinstance(error, Exception | SystemExit) or (
            self.started and self.status == 500 and not self._recorded
        )

    def finish(self) -> None:
        """Count and log the request, once. The probes of the operator are neither."""
        if self._recorded or self.operational:
            return
        self._recorded = True
        chassis = self._core.chassis
        seconds = time.perf_counter() - self._began
        route = self._core.names.name(self.scope, self.root_path)
        status = self.status or CLIENT_CLOSED
        chassis.http_metrics.record(self.scope["method"], route, status, seconds)
        if chassis.settings.access_log:
            client = self.scope.get("client")
            chassis.log.request(
                RequestNote(
                    time.time(), self.scope["method"], self.path, route, status, seconds, self._sent, self.request_id,
                    self.trace_id, client[0] if client else None, chassis.settings.version, self._replaced,
                )
            )  # fmt: skip

    def _log_error(self, error: BaseException) -> None:
        """To the sink that keeps errors, and to the log."""
        chassis = self._core.chassis
        route = self.route()
        chassis.capture.error(error, request_id=self.request_id, method=self.scope["method"], route=route)
        trace = "".join(traceback.format_exception(error))
        self._core.chassis.log.event(
            "unhandled_exception",
            level="error",
            request_id=self.request_id,
            method=self.scope["method"],
            path=self.path[:2048],
            error=type(error).__name__,
            trace=trace[-16_384:],
        )


def _is_gone(error: BaseException) -> bool:
    """
    Cancelled by the server, or the caller hung up (Starlette's ClientDisconnect, by name: we do not import Starlette).

    A handler that calls ``sys.exit`` has failed like any other: it is not the one to stop the service.
    """
    if isinstance(error, CallerLeftError):
        return True
    return not isinstance(error, Exception | SystemExit) or type(error).__name__ in (
        "ClientDisconnect",
        "ClientDisconnected",
    )


def _try_later(error: BaseException | None) -> TryLaterError | None:
    """The one in *error*: itself, or inside the group a TaskGroup raised when nothing else is in it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, TryLaterError) else None


def _refusal(later: TryLaterError) -> Refusal:
    return Refusal(503, later.told, max(1, math.ceil(later.retry_after_seconds)))
