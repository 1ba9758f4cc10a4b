"""
uvicorn's HTTP/1.1 protocol with limits on the time and space a client may take to send.

uvicorn holds a half-sent head for as long as the client likes (measured: more than 40 s), so a few hundred silent
connections can take a service down. Here a head has ``head_timeout``, a body ``body_timeout``, and a head that does
not end is cut at 64 KiB. One sweep per second looks at all connections; a request pays for two timestamps.
"""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from golive.chassis.problem import problem_body

#: A head this long without an end is not a request. The limit of the chassis (431 with an id) is lower.
HEAD_BYTES_MAX = 65_536


class GuardedProtocol(HttpToolsProtocol):
    """
    Attributes:
        head_since: loop time when the head now being received began; None while none is.
        body_since: the same for the body.
    """

    head_since: float | None = None
    body_since: float | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """A connection that says nothing counts as a head that is being sent."""
        super().connection_made(transport)
        self.head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, and a head that goes on for ever is cut."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self.head_since is not None and self._head_bytes > HEAD_BYTES_MAX:
            self._cut(431)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.head_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there; the body is being sent."""
        self.head_since, self.body_since = None, self.loop.time()
        try:
            super().on_headers_complete()
        except (httptools.HttpParserError, UnicodeError):
            self._cut(400)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self.body_since = None
        self._head_bytes = 0
        super().on_message_complete()

    def sweep(self, now: float, head_timeout_seconds: float, body_timeout_seconds: float) -> str:
        """
        Close the connection when its client takes too long; returns what ran out, ``"head"`` or ``"body"``, or nothing.
        """
        if self.transport is None or self.transport.is_closing():
            return ""
        if self.head_since is not None and now - self.head_since > head_timeout_seconds:
            self._cut(408 if self._head_bytes else 0)
            return "head"
        waiting = (
            self.body_since is not None and not self.flow.read_paused
        )  # paused: the app reads slowly, not the client
        if waiting and self.body_since is not None and now - self.body_since > body_timeout_seconds:
            self._cut(0 if self.cycle is not None and self.cycle.response_started else 408)
            return "body"
        return ""

    def _cut(self, status: int) -> None:
        """Close, saying why when *status* is not 0 and nothing was said yet."""
        if self.transport.is_closing():
            return
        if status:
            body = problem_body(status)
            head = b"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(
                body
            )
            self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
