"""For the operator: probes (:mod:`golive.chassis.operations`) and the shutdown guard (``lifecycle``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from golive.chassis.alone.concern import Concern, Passage, answered
from golive.chassis.health import CheckFunction
from golive.chassis.limits import Refusal
from golive.chassis.requestid import request_id
from golive.chassis.routes import owns
from golive.chassis.settings import ChassisSettings
from golive.chassis.types import ASGIApp, Headers, Message, Receive, Scope, Send


class Probed(Concern):
    """``/livez``, ``/startupz``, ``/health/ready`` and the ``aliases``; an alias gives way to a route of the app."""

    def check(self, name: str, **options: Any) -> Callable[[CheckFunction], CheckFunction]:
        """Register a readiness check; see :meth:`golive.chassis.chassis.Chassis.check`."""
        return self.chassis.check(name, **options)

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        chassis = self.chassis
        if not chassis.lifecycle.started:
            chassis.begin_serving()  # a server without lifespan: the first request is the start
        path = Passage(scope, send).path
        kind = chassis.operations.kind(path, self._owns)
        if kind is None or kind == "metrics":
            await self.app(scope, receive, send)
        else:
            await chassis.operations.answer(kind, scope, send, request_id())

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Checks run from the app's start to its end."""
        await self.chassis.run_lifespan(self.app, scope, receive, send)

    def _owns(self, path: str) -> bool:
        return owns(self.app, path)


class Draining(Concern):
    """
    The shutdown guard: after :meth:`leave` every answer closes its connection, after :meth:`drain` new requests are
    503.

    Whoever owns the process calls both; ``golive serve`` does it at SIGTERM. Paths in ``drain_allow`` are served to the
    end.
    """

    def __init__(self, app: ASGIApp, settings: ChassisSettings | None = None) -> None:
        super().__init__(app, settings)
        self.chassis.lifecycle.serve()

    @property
    def in_flight(self) -> int:
        """Requests and websockets inside the app now."""
        return self.chassis.lifecycle.in_flight

    def leave(self) -> None:
        """Serve everything and let connections go."""
        self.chassis.lifecycle.leave()

    def drain(self) -> None:
        """Admit nothing more."""
        self.chassis.lifecycle.drain()

    async def idle(self, timeout_seconds: float) -> bool:
        """Wait until nothing is in flight; False when *timeout_seconds* were not enough."""
        deadline = time.monotonic() + timeout_seconds
        while self.in_flight and time.monotonic() < deadline:  # noqa: ASYNC110 - an Event would be set by every request
            await asyncio.sleep(0.01)
        return not self.in_flight

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        lifecycle, settings, passage = self.chassis.lifecycle, self.chassis.settings, Passage(scope, send)
        if not lifecycle.admitting and passage.path not in settings.drain_allow:
            wait = max(1, round(settings.retry_after.total_seconds()))
            await passage.turn_away(Refusal(503, "The service is shutting down.", wait), receive)
            return

        def head(start: Message) -> Headers:
            headers = list(start.get("headers", ()))
            named = any(name.lower() == b"connection" for name, _ in headers)
            return [*headers, (b"connection", b"close")] if lifecycle.closing and not named else headers

        await self._counted(scope, receive, answered(send, head) if passage.http1 else send)

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counted and refused as a request is."""
        if self.chassis.lifecycle.admitting:
            await self._counted(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": 1012, "reason": "service restart"})

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        lifecycle = self.chassis.lifecycle
        lifecycle.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            lifecycle.in_flight -= 1
