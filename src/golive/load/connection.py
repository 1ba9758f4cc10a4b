"""
One keep-alive connection, never blocking: connecting, shaking hands, sending, reading; one exchange at a time.

It knows sockets and TLS and nothing of schedules or counts. Each step returns what happened as an :class:`Step`;
the engine decides what that means for the request it carries.
"""

from __future__ import annotations

import enum
import selectors
import socket
import ssl

from golive.load.response import ProtocolError, ResponseReader
from golive.load.target import Endpoint

_READ_BYTES = 64 * 1024
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Step(enum.Enum):
    """What became of one turn on a connection."""

    GOING_ON = enum.auto()
    ANSWERED = enum.auto()
    NO_CONNECTION = enum.auto()
    CLOSED_EARLY = enum.auto()
    """Before the first byte of the answer."""
    CUT = enum.auto()
    """After it."""
    GARBLED = enum.auto()


class Exchange:
    """One request on its way. Times are on the engine's clock."""

    __slots__ = ("connection", "done", "intended", "number", "sent", "template", "user")

    def __init__(self, number: int, template: int, intended: float, user: int) -> None:
        self.number = number
        self.template = template
        self.intended = intended
        self.user = user
        self.sent = 0.0
        self.done = False
        self.connection: Connection | None = None


class Connection:
    """
    Attributes:
        events: what the selector has to wait for now.
        exchange: the request being carried; None while idle.
        served: answers read completely so far.
    """

    __slots__ = ("_handshaking", "_out", "_ready", "_socket", "events", "exchange", "reader", "registered", "served")

    def __init__(self, endpoint: Endpoint, body_max: int) -> None:
        """Begins to connect. Raises: OSError when not even that is possible."""
        raw = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.connect_ex(endpoint.address)
            self._socket: socket.socket = raw
            if endpoint.tls is not None:
                self._socket = endpoint.tls.wrap_socket(
                    raw, server_hostname=endpoint.server_name, do_handshake_on_connect=False
                )
        except OSError:
            raw.close()
            raise
        self._ready = False
        self._handshaking = endpoint.tls is not None
        self._out = b""
        self.events = WRITE
        self.registered = 0
        self.exchange: Exchange | None = None
        self.reader = ResponseReader(body_max)
        self.served = 0

    def fileno(self) -> int:
        """For the selector; -1 once closed."""
        return self._socket.fileno()

    def start(self, exchange: Exchange, data: bytes, head_only: bool) -> Step:
        """Send *data* for *exchange* as soon as the connection can."""
        self.exchange = exchange
        exchange.connection = self
        self.reader.begin(head_only)
        self._out = data
        return self._send() if self._ready else Step.GOING_ON

    def on_event(self, mask: int) -> Step:
        """The selector says *mask* is possible."""
        if not self._ready:
            step = self._become_ready()
            return self._send() if step is Step.GOING_ON and self._ready and self._out else step
        if self._out and mask & WRITE:
            step = self._send()
            if step is not Step.GOING_ON and not mask & READ:
                return step
        return self._receive() if mask & READ else Step.GOING_ON

    def close(self) -> None:
        """Let go of the socket. Safe to repeat."""
        self._socket.close()

    @property
    def reusable(self) -> bool:
        """Nothing left to send, and the peer keeps the connection."""
        return self.reader.reusable and not self._out

    def _become_ready(self) -> Step:
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            return Step.NO_CONNECTION
        if self._handshaking:
            assert isinstance(self._socket, ssl.SSLSocket)
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                self.events = READ
                return Step.GOING_ON
            except ssl.SSLWantWriteError:
                self.events = WRITE
                return Step.GOING_ON
            except OSError:
                return Step.NO_CONNECTION
            self._handshaking = False
        self._ready = True
        self.events = READ
        return Step.GOING_ON

    def _send(self) -> Step:
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent = 0
        except OSError:
            self._out = b""
            return Step.CLOSED_EARLY
        self._out = self._out[sent:] if sent < len(self._out) else b""
        self.events = READ | WRITE if self._out else READ
        return Step.GOING_ON

    def _receive(self) -> Step:
        while True:
            try:
                data = self._socket.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return Step.GOING_ON
            except OSError:
                return self._broken()
            if not data:
                return Step.ANSWERED if self.reader.ends_with_connection() else self._broken()
            if self.exchange is None:
                return Step.GARBLED
            try:
                if self.reader.feed(data):
                    self.served += 1
                    return Step.ANSWERED
            except ProtocolError:
                return Step.GARBLED
            if not isinstance(self._socket, ssl.SSLSocket) and len(data) < _READ_BYTES:
                return Step.GOING_ON  # a TLS record may wait inside the library, a plain socket says so itself

    def _broken(self) -> Step:
        return Step.CUT if self.reader.started else Step.CLOSED_EARLY
