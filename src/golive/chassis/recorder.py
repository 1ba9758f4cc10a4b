"""
What surrounds the first run of an idempotent request: the lease that is kept alive and the answer that is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from golive.chassis.idempotency import Saved
from golive.chassis.problem import CONTENT_TYPE, problem_body
from golive.chassis.types import Headers, Message

if TYPE_CHECKING:
    from golive.chassis.exchange import Exchange

_NOT_REPLAYED = frozenset(
    {
        b"set-cookie", b"connection", b"keep-alive", b"proxy-authenticate", b"te", b"trailer", b"transfer-encoding",
        b"upgrade", b"date", b"x-request-id", b"content-length", b"vary",
    }
)  # fmt: skip


_encode = msgspec.msgpack.Encoder().encode


class Renewals:
    """
    Extends the leases of handlers that still run, three times per their length.

    One timer for all leases of one length: most handlers end before it rings, and a timer for each would cost every
    request. It stops when it finds nobody.

    Args:
        lease_seconds: how long a lease is.
        renew: extends the lease of a key and its owner; does not raise.
    """

    def __init__(self, lease_seconds: float, renew: Callable[[str, str], Awaitable[None]]) -> None:
        self._every = lease_seconds / 3
        self._renew = renew
        self._running: dict[str, str] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, owner: str, name: str) -> None:
        """*owner* runs the key *name* from now on."""
        self._running[owner] = name
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every, self._due)

    def end(self, owner: str) -> None:
        """The handler has ended."""
        del self._running[owner]

    def _due(self) -> None:
        self._timer = None
        if not self._running:
            return
        for owner, name in self._running.items():
            task = asyncio.ensure_future(self._renew(name, owner))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._timer = asyncio.get_running_loop().call_later(self._every, self._due)


class Recorder:
    """The first answer: held until it is stored, or passed on at once when it is too long or endless to keep."""

    __slots__ = ("_bytes_max", "_exchange", "_messages", "_passing", "_size", "status")

    def __init__(self, exchange: Exchange, bytes_max: int) -> None:
        self._exchange = exchange
        self._bytes_max = bytes_max
        self._messages: list[Message] = []
        self._size = 0
        self._passing = False
        self.status = 0

    async def send(self, message: Message) -> None:
        """What the app is given instead of the real ``send``."""
        self._messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status == 500:
                self._exchange.raised_try_later()  # now, while the exception is being handled
            for name, value in message.get("headers", ()):
                if len(name) == 12 and value.find(b"event-stream") >= 0 and name.lower() == b"content-type":
                    self._passing = True
        else:
            self._size += len(message.get("body", b""))
        if self._passing or self._size > self._bytes_max:
            self._passing = True
            for held in self.taken():
                await self._exchange.send(held)

    def failed(self) -> None:
        """The handler raised: what is kept is what the outer layer tells the caller, whatever the framework said."""
        self.status = 500
        head = {
            "type": "http.response.start",
            "status": 500,
            "headers": [CONTENT_TYPE, (b"cache-control", b"no-store")],
        }
        body = problem_body(500, "The service failed to answer.")
        self._messages = [head, {"type": "http.response.body", "body": body}]

    def saved(self) -> bytes | None:
        """The answer, encoded to be given again; None when it was passed on."""
        if self._passing:
            return None
        headers: Headers = []
        parts = []
        for message in self._messages:
            if message["type"] == "http.response.start":
                for pair in message.get("headers", ()):
                    if pair[0].lower() not in _NOT_REPLAYED:
                        headers.append(pair)  # a comprehension is one more call in Python 3.11
            else:
                parts.append(message.get("body", b""))
        return _encode(Saved(self.status, headers, parts[0] if len(parts) == 1 else b"".join(parts)))

    def taken(self) -> list[Message]:
        """What is held, and no longer is."""
        messages, self._messages = self._messages, []
        return messages
