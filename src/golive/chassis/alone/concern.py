"""What the layers of this package have in common: an app, a chassis of which one part is used, and an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from golive.chassis.chassis import Chassis
from golive.chassis.limits import LimitReachedError, Refusal
from golive.chassis.problem import send_problem
from golive.chassis.ratelimit import Decision, Rule, header_fields
from golive.chassis.requestid import request_id
from golive.chassis.routes import path_below
from golive.chassis.settings import ChassisSettings
from golive.chassis.types import ASGIApp, Headers, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from golive.chassis.exchange import Exchange


class Concern(ABC):
    """
    One concern around *app*.

    Args:
        app: any ASGI app; other concerns are ASGI apps too.
        settings: of which those of this concern are used; checked as always.

    Attributes:
        chassis: holds the machines: ``chassis.metrics`` has what this concern counts.

    Raises: ConfigError with every fault in *settings*.
    """

    def __init__(self, app: ASGIApp, settings: ChassisSettings | None = None) -> None:
        self.app = app
        self.chassis = Chassis(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        kind = scope["type"]
        if kind == "http":
            await self.http(scope, receive, send)
        elif kind == "websocket":
            await self.websocket(scope, receive, send)
        elif kind == "lifespan":
            await self.lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    @abstractmethod
    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request."""

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A websocket; most concerns have nothing to say about it."""
        await self.app(scope, receive, send)

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's own; what this concern holds is let go of behind it."""
        try:
            await self.app(scope, receive, send)
        finally:
            self.chassis.stop_background()
            await self.chassis.once.close()


class Passage:
    """
    One request through one concern: what the concern's machine reads of it, and the answer, which it may replace.

    It has of :class:`golive.chassis.exchange.Exchange` what those machines use, and none of the rest.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._muted = False
        self.scope = scope
        self.path = path_below(scope["path"], scope.get("root_path", ""))
        self.http1 = scope.get("http_version", "1.1")[0] == "1"
        self.started = False
        self.replays = False
        self.override: Refusal | None = None
        self.quota: tuple[Rule, Decision] | None = None
        self.chunked = False
        self.body_bytes = 0
        self.content_type = b""
        self.head_bytes = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
        for name, value in scope["headers"]:
            self.head_bytes += len(name) + len(value)
            if name == b"content-length":
                self.body_bytes = int(value) if value.isdigit() else 0
            elif name == b"transfer-encoding":
                self.chunked = True
            elif name == b"content-type":
                self.content_type = value

    @property
    def exchange(self) -> Exchange:
        """Under the name the machines know it by."""
        return cast("Exchange", self)

    def lines(self, name: bytes) -> list[bytes]:
        """The values of the request's header *name*, in lower case."""
        return [value for given, value in self.scope["headers"] if given == name]

    async def send(self, message: Message) -> None:
        """What the app is given. When a limit has the answer, what the app makes of it is ignored."""
        if self._muted:
            return
        if self.override is not None and not self.started:
            await self.refuse(self.override, close=True)
            return
        if message["type"] == "http.response.start":
            self.started = True
            quota = header_fields(*self.quota) if self.quota is not None else []
            message = {**message, "headers": [*message.get("headers", ()), *quota]}
        await self._send(message)

    async def refuse(self, refusal: Refusal, unread: Receive | None = None, *, close: bool) -> None:
        """Answer with *refusal* instead of whatever the app says from now on. See :func:`send_problem` for *unread*."""
        headers = dict(refusal.headers or {})
        if refusal.retry_after:
            headers[b"retry-after"] = b"%d" % refusal.retry_after
        if close and self.http1:
            headers[b"connection"] = b"close"
        self.override = None
        await send_problem(
            self.send,
            refusal.status,
            refusal.detail,
            headers=headers,
            unread=unread,
            request_id=request_id() or None,
            **(refusal.members or {}),
        )
        self._muted = True

    async def turn_away(self, refusal: Refusal, receive: Receive) -> None:
        """Answer without the app, before the body is read."""
        await self.refuse(refusal, receive if self.body_bytes or self.chunked else None, close=True)

    async def through(self, app: ASGIApp, receive: Receive) -> None:
        """The app's answer, or the one that a limit inside *receive* had ready."""
        try:
            await app(self.scope, receive, self.send)
        except LimitReachedError:
            if self.started and not self._muted:
                raise  # the answer had begun: it is cut
            if self.override is not None:
                await self.refuse(self.override, close=True)

    def raised_try_later(self) -> bool:
        """Whether this 500 is a framework's answer to a TryLaterError: another concern's business."""
        return False


def answered(send: Send, change: Callable[[Message], Headers]) -> Send:
    """A *send* whose answers have the headers that *change* makes of their heads."""

    async def changed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": change(message)}
        await send(message)

    return changed
