"""
One connection to Redis or Valkey that everything of a process shares.

Commands given in the same turn of the event loop leave in one write, and answers come back in order: no pool, and a
command costs a few microseconds of CPU. Every command has a budget. One that is not answered within it condemns the
connection, because a server that is frozen would make every request wait; until a new connection has proven itself,
callers are told at once that the store is away and follow their declared policy.

Left out on purpose: cluster redirection and subscriptions.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from golive.chassis.stores.redisurl import RedisAddress, parse_url
from golive.errors import ConfigError

if TYPE_CHECKING:
    from ssl import SSLContext

#: How long a new connection may take to answer its first PING.
OPEN_SECONDS = 1.0
#: How long to leave a server alone that did not answer.
RETRY_SECONDS = 0.25
#: One turn of the event loop, so that answers that lie in the socket are read before the server is blamed.
REREAD_SECONDS = 0.002


class StoreAwayError(Exception):
    """The server cannot be reached, or did not answer within the budget."""


class StoreReplyError(Exception):
    """The server answered with an error; its text begins with a code such as ``NOSCRIPT``."""


class RedisLink:
    """
    The connection; opened by the first command and again whenever it was lost.

    Args:
        url: see :func:`parse_url`.
        budget_seconds: what one command may take, connecting included.

    Raises: ConfigError when hiredis is not installed; ValueError for *url*.
    """

    def __init__(self, url: str, budget_seconds: float) -> None:
        try:
            import hiredis
        except ImportError:
            raise ConfigError("redis_url: expected hiredis to be installed. Install golive[redis].") from None
        self._hiredis = hiredis
        self._address = parse_url(url)
        self._budget = budget_seconds
        self._connection: _Connection | None = None
        self._opening: asyncio.Task[_Connection] | None = None
        self._away = False
        self._retry_at = 0.0

    async def call(self, *command: Any) -> Any:
        """
        The server's answer to *command*, whose parts are texts, bytes or numbers.

        Raises: StoreAwayError at once while the server is known to be away, else after the budget; StoreReplyError.
        """
        connection = self._connection
        try:
            if connection is None or connection.lost:
                async with asyncio.timeout(self._budget):
                    connection = await self._connected()
                    reply = await connection.send(self._hiredis.pack_command(command))
            else:
                reply = await connection.send(self._hiredis.pack_command(command))
        except TimeoutError:
            self._condemn()
            raise StoreAwayError(f"no answer within {self._budget * 1000:g} ms") from None
        if isinstance(reply, self._hiredis.ReplyError):
            raise StoreReplyError(str(reply))
        return reply

    def close(self) -> None:
        """Drop the connection; the next command opens a new one."""
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.abort()
        self._connection = self._opening = None

    def _condemn(self) -> None:
        self._away, self._retry_at = True, time.monotonic() + RETRY_SECONDS
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def _connected(self) -> _Connection:
        if self._opening is None and time.monotonic() >= self._retry_at:
            self._opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add_done_callback(self._opened)
        if self._away or self._opening is None:
            raise StoreAwayError("did not answer a moment ago")
        return await asyncio.shield(self._opening)

    def _opened(self, task: asyncio.Task[_Connection]) -> None:
        if self._opening is task:
            self._opening = None
        if task.cancelled():
            return
        if task.exception() is not None:
            self._condemn()
        else:
            self._connection, self._away = task.result(), False

    async def _open(self) -> _Connection:
        address, loop = self._address, asyncio.get_running_loop()
        tls = _tls() if address.tls else None
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._hiredis, OPEN_SECONDS), address.host, address.port, ssl=tls
                )
                for command in _greeting(address):
                    reply = await connection.send(self._hiredis.pack_command(command))
                    if isinstance(reply, self._hiredis.ReplyError):
                        raise StoreAwayError(f"refused {command[0]}: {str(reply).partition(' ')[0]}")
                connection.hold_to(self._budget)
        except BaseException as error:  # closed meanwhile, too: nobody else knows of this connection yet
            if connection is not None:
                connection.abort()
            if not isinstance(error, OSError | TimeoutError | StoreAwayError):
                raise
            raise StoreAwayError(str(error) or type(error).__name__) from None
        return connection


def _tls() -> SSLContext:
    import ssl  # slow to import, and few need it

    return ssl.create_default_context()


def _greeting(address: RedisAddress) -> list[tuple[Any, ...]]:
    """What a new connection says first; the PING proves that somebody is at home."""
    commands: list[tuple[Any, ...]] = []
    if address.password:
        commands.append(("AUTH", *([address.username] if address.username else []), address.password))
    if address.database:
        commands.append(("SELECT", address.database))
    return [*commands, ("PING",)]


class _Connection(asyncio.Protocol):
    """
    Commands out in one write per turn of the loop, answers in in order.

    One timer watches the oldest command instead of one for each: answers come in order, so it is always the first to
    be late.

    Args:
        budget_seconds: when the oldest command has waited this long every command is told so (TimeoutError).
    """

    def __init__(self, hiredis: Any, budget_seconds: float) -> None:
        self._hiredis = hiredis
        self._budget = budget_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._reader = hiredis.Reader()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def hold_to(self, budget_seconds: float) -> None:
        """Another budget from now on; nothing may be waiting."""
        self._budget = budget_seconds
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """The future of the answer. It is waited for in order even when nobody wants it any more."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost:
            future.set_exception(StoreAwayError("connection lost"))
            return future
        deadline = self._loop.time() + self._budget
        self._waiting.append((future, deadline))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        return future

    def _look(self, *, again: bool = False) -> None:
        """The oldest command is answered in time, or the server is away for all of them."""
        self._timer = None
        if not self._waiting or self.lost:
            return
        deadline, now = self._waiting[0][1], self._loop.time()
        if deadline > now:
            self._timer = self._loop.call_at(deadline, self._look)
        elif not again:  # perhaps it was our own loop that was late: first read what has arrived meanwhile
            self._timer = self._loop.call_later(REREAD_SECONDS, lambda: self._look(again=True))
        else:
            self.lost = True
            self._fail(TimeoutError)
            if self._transport is not None:
                self._transport.abort()

    def _fail(self, error: type[Exception]) -> None:
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(error("connection lost"))

    def _flush(self) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                future, _ = self._waiting.popleft()
                if not future.done():
                    future.set_result(reply)
        except (self._hiredis.ProtocolError, IndexError):  # no Redis, or an answer to no question
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._fail(StoreAwayError)

    def abort(self) -> None:
        """Close without waiting; whoever still waits for an answer is told."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)
