"""
The outermost layer, fused: id, in-flight count, metrics, log line, last-resort answer, operator endpoints, guard.

These are one function because each of them alone is wrong without the others: an id that is missing on a 500, a drain
that counts its own probes, a log line without the status. The order is :data:`ORDER`, and it is the order of the code
below.
"""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING

from golive.chassis import requestid
from golive.chassis.lifecycle import Phase
from golive.chassis.log import timestamp
from golive.chassis.problem import send_problem
from golive.chassis.routes import RouteNames, owns
from golive.chassis.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis

#: What a request passes, outermost first. The documentation shows this list.
ORDER = (
    "request id",
    "metrics and log line",
    "last-resort 500",
    "operator endpoints",
    "boot and shutdown guard",
    "in-flight count",
    "app",
)

#: The status in logs and metrics of a request whose caller went away (nginx's convention); never sent.
CLIENT_CLOSED = 499


class Core:
    """
    An ASGI app around another. Made by :meth:`Chassis.wrap`; safe to call with any scope type.

    Attributes:
        app: the app inside; replaced once when the server imports it after this layer is already answering.
    """

    def __init__(self, chassis: Chassis, app: ASGIApp) -> None:
        self.chassis = chassis
        self.app = app
        self._owned: dict[str, bool] = {}
        self.names = RouteNames(app)

    def replace(self, app: ASGIApp) -> None:
        """Serve *app* from now on."""
        self.app, self.names, self._owned = app, RouteNames(app), {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outer: Chassis | None = scope.get("golive")
        if outer is not None:
            await self._inside(outer, scope, receive, send)
            return
        scope["golive"] = self.chassis
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self.chassis.run_lifespan(self.app, scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _inside(self, outer: Chassis, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrapped twice: the outer chassis does everything, and runs the checks registered on this one."""
        if scope["type"] == "lifespan":
            for check in self.chassis.checks:
                outer.checks.add(check)
        await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(self, scope, send)
        token = requestid.current.set(exchange.request_id)
        if not self.chassis.lifecycle.started and not self.chassis.booted_by_server:
            self.chassis.begin_serving()  # a server without lifespan: the first request is the start
        try:
            operation = self.chassis.operations.kind(exchange.path, self._owns)
            if operation is not None:
                exchange.operational = True
                await self.chassis.operations.answer(operation, scope, exchange.send, exchange.request_id)
            elif self.chassis.lifecycle.admitting or exchange.path in self.chassis.settings.drain_allow:
                await self._app(exchange, scope, receive)
            else:
                await self._refuse(exchange)
        finally:
            requestid.current.reset(token)

    async def _app(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        lifecycle = self.chassis.lifecycle
        lifecycle.in_flight += 1
        try:
            await self.app(scope, receive, exchange.send)
            if not exchange.started:
                raise RuntimeError("the app returned without an answer")
        except BaseException as error:
            await exchange.failed(error)
            if exchange.must_abort(error):
                raise
        finally:
            lifecycle.in_flight -= 1
            exchange.finish()

    async def _refuse(self, exchange: Exchange) -> None:
        """Answer before the body is read: a caller with a large upload learns at once that it must go elsewhere."""
        phase = self.chassis.lifecycle.phase
        detail = "The service is shutting down." if phase is Phase.DRAINING else "The service is starting."
        retry_after = b"%d" % max(1, round(self.chassis.settings.retry_after.total_seconds()))
        headers = {b"retry-after": retry_after, b"connection": b"close"}
        if not exchange.http1:
            del headers[b"connection"]
        await send_problem(exchange.send, 503, detail, headers=headers, request_id=exchange.request_id)
        exchange.finish()

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        lifecycle = self.chassis.lifecycle
        if not lifecycle.admitting:
            await receive()
            await send({"type": "websocket.close", "code": 1012, "reason": "service restart"})
            return
        lifecycle.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            lifecycle.in_flight -= 1

    def _owns(self, path: str) -> bool:
        """Whether the app answers *path* itself; asked once per path, when the first request comes."""
        if not self.chassis.lifecycle.started:
            return False
        if path not in self._owned:
            self._owned[path] = owns(self.app, path)
        return self._owned[path]


class Exchange:
    """One request and its answer as the outermost layer sees them; :meth:`send` is what the app is given."""

    __slots__ = (
        "_began", "_core", "_recorded", "_replaced", "_send", "_sent", "http1", "operational", "path", "request_id",
        "root_path", "scope", "started", "status",
    )  # fmt: skip

    def __init__(self, core: Core, scope: Scope, send: Send) -> None:
        self._began = time.perf_counter()
        self._core = core
        self._send = send
        self._sent = 0
        self._recorded = False
        self._replaced = False
        self.scope = scope
        self.status = 0
        self.started = False
        self.operational = False
        self.http1 = scope.get("http_version", "1.1")[0] == "1"
        root_path = self.root_path = scope.get("root_path", "")
        path: str = scope["path"]
        self.path = path[len(root_path) :] if root_path and path.startswith(root_path) else path
        self.request_id = self._read_id()

    def _read_id(self) -> str:
        """The caller's id when there is exactly one and it is well-formed, otherwise a new one."""
        given = [value for name, value in self.scope["headers"] if name == b"x-request-id"]
        accepted = requestid.accept(given[0]) if len(given) == 1 else ""
        self._replaced = bool(given) and not accepted
        identity = accepted or requestid.new_request_id()
        self.scope.setdefault("state", {})["request_id"] = identity
        return identity

    async def send(self, message: Message) -> None:
        """Pass *message* on: the head with our headers, and the last part of the body is the end of the request."""
        kind = message["type"]
        if kind == "http.response.start":
            self.started, self.status = True, message["status"]
            await self._send({**message, "headers": self._headers(message)})
        elif kind == "http.response.body":
            self._sent += len(message.get("body", b""))
            await self._send(message)
            if not message.get("more_body"):
                self.finish()
        else:
            await self._send(message)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-request-id"]
        headers.append((b"x-request-id", self.request_id.encode()))
        if (
            self._core.chassis.lifecycle.closing
            and self.http1
            and not any(name.lower() == b"connection" for name, _ in headers)
        ):
            headers.append((b"connection", b"close"))
        return headers

    async def failed(self, error: BaseException) -> None:
        """The app raised: tell the log what and the caller nothing."""
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
        return not isinstance(error, Exception) or (self.started and self.status == 500 and not self._recorded)

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
            chassis.log.record(self._line(route, status, seconds))

    def _line(self, route: str, status: int, seconds: float) -> dict[str, object]:
        """The log line. The query string is left out: it is where secrets and addresses travel."""
        scope, chassis = self.scope, self._core.chassis
        client = scope.get("client")
        line: dict[str, object] = {
            "ts": timestamp(time.time()),
            "level": "info" if status < 500 else "error",
            "event": "request",
            "method": scope["method"],
            "path": self.path[:2048],
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "bytes": self._sent,
            "request_id": self.request_id,
            "client": client[0] if client else None,
            "version": chassis.settings.version,
        }
        if self._replaced:
            line["request_id_replaced"] = True
        return line

    def _log_error(self, error: BaseException) -> None:
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
    """
    return not isinstance(error, Exception) or type(error).__name__ in ("ClientDisconnect", "ClientDisconnected")
