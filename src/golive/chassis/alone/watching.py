"""What happened: counted (:mod:`golive.chassis.httpmetrics`) and written down (:mod:`golive.chassis.log`)."""

from __future__ import annotations

import time

from golive.chassis import requestid
from golive.chassis.alone.concern import Concern
from golive.chassis.exchange import CLIENT_CLOSED
from golive.chassis.log import RequestNote
from golive.chassis.routes import RouteNames
from golive.chassis.settings import ChassisSettings
from golive.chassis.types import ASGIApp, Message, Receive, Scope, Send

METRICS_PATH = "/metrics"


class _Seen:
    """One request, watched: its status, size and time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = time.perf_counter()
        self.status = 0
        self.size = 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.size += len(message.get("body", b""))
        await self._send(message)

    def failed(self, error: BaseException) -> None:
        """An exception that leaves the app is a 500 whatever was begun; a cancelled request has no caller any more."""
        self.status = 500 if isinstance(error, Exception) else self.status or CLIENT_CLOSED


class Measured(Concern):
    """``http_requests_total``, ``http_request_duration_seconds`` and the rest of the registry at ``/metrics``."""

    def __init__(self, app: ASGIApp, settings: ChassisSettings | None = None) -> None:
        super().__init__(app, settings)
        self._names = RouteNames(app)

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        chassis = self.chassis
        chassis.watchdog.start()  # measures the loop; once
        if scope["path"] == METRICS_PATH:
            await chassis.operations.answer("metrics", scope, send, requestid.request_id())
            return
        seen, root_path = _Seen(send), scope.get("root_path", "")
        chassis.lifecycle.in_flight += 1
        try:
            await self.app(scope, receive, seen.send)
        except BaseException as error:
            seen.failed(error)
            raise
        finally:
            chassis.lifecycle.in_flight -= 1
            route = self._names.name(scope, root_path)
            chassis.http_metrics.record(scope["method"], route, seen.status or CLIENT_CLOSED, seen.seconds)


class AccessLog(Concern):
    """One JSON line per request on standard output, redacted, written by a thread."""

    def __init__(self, app: ASGIApp, settings: ChassisSettings | None = None) -> None:
        super().__init__(app, settings)
        self._names = RouteNames(app)

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        seen, root_path, at = _Seen(send), scope.get("root_path", ""), time.time()
        try:
            await self.app(scope, receive, seen.send)
        except BaseException as error:
            seen.failed(error)
            raise
        finally:
            known, trace_id, _, _ = requestid.current.get()
            client = scope.get("client")
            self.chassis.log.request(
                RequestNote(
                    at, scope["method"], scope["path"], self._names.name(scope, root_path),
                    seen.status or CLIENT_CLOSED, seen.seconds, seen.size, known, trace_id,
                    client[0] if client else None, self.chassis.settings.version, False,
                )
            )  # fmt: skip
