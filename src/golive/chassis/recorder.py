"""
What surrounds the first run of an idempotent request: the lease that is kept alive and the answer that is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from golive.chassis.idempotency import Saved
from golive.chassis.types import Message

if TYPE_CHECKING:
    from golive.chassis.exchange import Exchange

_NOT_REPLAYED = frozenset(
    {
        b"set-cookie", b"connection", b"keep-alive", b"proxy-authenticate", b"te", b"trailer", b"transfer-encoding",
        b"upgrade", b"date", b"x-request-id", b"content-length", b"vary",
    }
)  # fmt: skip


class Renewal:
    """
    Extends a lease three times per its length, until cancelled. A timer, because most handlers end before the first.

    Args:
        lease_seconds: of the lease.
        renew: extends it; does not raise.
    """

    def __init__(self, lease_seconds: float, renew: Callable[[], Awaitable[None]]) -> None:
        self._every = lease_seconds / 3
        self._renew = renew
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Future[None] | None = None
        self._timer = self._loop.call_later(self._every, self._due)

    def cancel(self) -> None:
        """The handler has ended."""
        self._timer.cancel()

    def _due(self) -> None:
        self._task = asyncio.ensure_future(self._renew())
        self._timer = self._loop.call_later(self._every, self._due)


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
            if self.status == 500:
                self._exchange.raised_try_later()  # now, while the exception is being handled
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
