"""
The limits every request meets before the app: size of head and body, requests at once, time.

Each has a default, reaching it is an answer the caller can act on (431, 413, 503, 504) and moves
``http_requests_limited_total{limit}``. The time a client may take to *send* is the server's
(:mod:`golive.chassis.protocol`), because below ASGI nobody else can see a half-sent head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from golive.chassis.types import Message, Receive

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.exchange import Exchange


class Refusal(NamedTuple):
    """
    An answer given instead of the app's. *retry_after* is in seconds, 0 for none; *members* join the problem,
    *headers* the head.
    """

    status: int
    detail: str
    retry_after: int = 0
    members: dict[str, Any] | None = None
    headers: dict[bytes, bytes] | None = None


class LimitReachedError(Exception):
    """
    Raised inside the app's ``receive``; the outer layer has the answer ready and the app's own reaction is ignored.
    """


class CallerLeftError(Exception):
    """The caller hung up before it had said what it wants: there is nobody to answer, and nothing to report."""


class Limits:
    """The limits of one chassis."""

    def __init__(self, chassis: Chassis) -> None:
        settings = chassis.settings
        self._head_max = settings.head_max_bytes
        self._body_max = settings.body_max_bytes
        self._concurrency_max = settings.concurrency_max
        self._retry_after = max(1, round(settings.retry_after.total_seconds()))
        self.timeout_seconds = settings.request_timeout.total_seconds() or None
        self._reached = chassis.metrics.counter(
            "http_requests_limited_total", "Requests refused because a limit was reached.", ("limit",)
        )

    def refusal(self, exchange: Exchange, in_flight: int) -> Refusal | None:
        """Why this request may not pass, or None. Looks at what the head declares; see :meth:`counted` for the rest."""
        if exchange.head_bytes > self._head_max:
            return self._reach("head", Refusal(431, f"The request's head is larger than {self._head_max} bytes."))
        if exchange.body_bytes > self._body_max:
            return self.body_refusal()
        if in_flight >= self._concurrency_max:
            detail = "The service is answering as many requests as it can."
            return self._reach("concurrency", Refusal(503, detail, self._retry_after))
        return None

    def body_refusal(self) -> Refusal:
        """The answer to a body that is too large."""
        return self._reach("body", Refusal(413, f"The request's body is larger than {self._body_max} bytes."))

    def time_refusal(self) -> Refusal:
        """The answer to a request that took too long."""
        return self._reach("time", Refusal(504, f"The service did not answer within {self.timeout_seconds:g} s."))

    def counted(self, exchange: Exchange, receive: Receive) -> Receive:
        """
        *receive*, watched, for a head that did not say how long the body is; otherwise the server holds it to its word.
        """
        return CountedBody(self, exchange, receive, self._body_max)

    def _reach(self, limit: str, refusal: Refusal) -> Refusal:
        self._reached.inc(limit)
        return refusal


class CountedBody:
    """A ``receive`` that stops at a number of bytes."""

    __slots__ = ("_exchange", "_left", "_limits", "_receive")

    def __init__(self, limits: Limits, exchange: Exchange, receive: Receive, body_max: int) -> None:
        self._limits = limits
        self._exchange = exchange
        self._receive = receive
        self._left = body_max

    async def __call__(self) -> Message:
        """The next message. Raises: LimitReachedError when the body is too large."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self._exchange.override = self._exchange.override or self._limits.body_refusal()
            raise LimitReachedError
        return message
