"""What an error looks like to the caller (:mod:`golive.chassis.errors`), and where it is kept (``capture``)."""

from __future__ import annotations

import math
import traceback

from golive.chassis import requestid
from golive.chassis.alone.concern import Concern
from golive.chassis.errors import BYTES_MAX, HeldError, may_be_default
from golive.chassis.problem import send_problem
from golive.chassis.types import Message, Receive, Scope, Send
from golive.errors import TryLaterError


class _Translated:
    """The answer of one request; one that may be a framework's default error waits until it is whole."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: HeldError | None = None
        self.started = False

    async def send(self, message: Message) -> None:
        if self._held is not None:
            await self._gather(message, self._held)
        elif message["type"] == "http.response.start" and may_be_default(message):
            self._held = HeldError(message)
        else:
            self.started = True
            await self._send(message)

    async def _gather(self, message: Message, held: HeldError) -> None:
        held.body += message.get("body", b"")
        more = bool(message.get("more_body"))
        if more and len(held.body) <= BYTES_MAX:
            return
        self._held, self.started = None, True
        start, body = (held.start, held.body) if more else held.translate(requestid.request_id())
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


class Problems(Concern):
    """
    An unhandled exception is a generic problem 500 and a log line with its trace; a framework's default error is a
    problem document.

    After the answer has begun the exception passes: only that way the server cuts the answer instead of ending it.
    """

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        answer = _Translated(send)
        known = requestid.request_id() or None
        try:
            await self.app(scope, receive, answer.send)
        except TryLaterError as later:
            if answer.started:
                raise
            wait = {b"retry-after": b"%d" % max(1, math.ceil(later.retry_after_seconds))}
            await send_problem(send, 503, later.told, headers=wait, request_id=known)
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            self.chassis.log.event(
                "unhandled_exception", level="error", request_id=known, method=scope["method"],
                path=scope["path"][:2048], error=type(error).__name__, trace=trace[-16_384:],
            )  # fmt: skip
            if answer.started:
                raise
            await send_problem(send, 500, "The service failed to answer.", request_id=known)


class Captured(Concern):
    """
    What the app raises goes to ``sentry_dsn``, ``error_file`` or ``chassis.capture_errors_to(...)``, and on.

    Redacted, at most ten a minute of a kind, delivered by a thread; see :mod:`golive.chassis.capture`.
    """

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            self.chassis.capture.error(error, request_id=requestid.request_id(), method=scope["method"], route="")
            raise
