"""
uvicorn's HTTP/1.1 protocol with limits on the time and space a client may take to send.

uvicorn holds a half-sent head for as long as the client likes (measured: more than 40 s), so a few hundred silent
connections can take a service down. Here a head has ``head_timeout``, a body ``body_timeout``, and a head that does
not end is cut at 64 KiB. One sweep per second looks at all connections; a request pays for two timestamps.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from golive.chassis.cycle import Cycle
from golive.chassis.problem import problem_body

#: A head this long without an end is not a request. The limit of the chassis (431 with an id) is lower.
HEAD_BYTES_MAX = 65_536


class GuardedProtocol(HttpToolsProtocol):
    """
    Attributes:
        head_since: loop time when the head now being received began; None while none is.
        body_since: the same for the body.
        idle_since: the same for the silence after an answer.
    """

    head_since: float | None = None
    body_since: float | None = None
    idle_since: float | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """A connection that says nothing counts as a head that is being sent."""
        super().connection_made(transport)
        self.head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, a head that goes on for ever is cut, and an upgrade nobody here speaks is declined."""
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._offered(data, offer.args[0])
        except httptools.HttpParserError:
            self._invalid()
        if self.head_since is not None and self._head_bytes > HEAD_BYTES_MAX:
            self._cut(431)

    def _offered(self, data: bytes, read: int) -> None:
        """An offer to upgrade, as websockets make, ends at byte *read*; in what follows may be more of them."""
        rest = memoryview(data)
        while not self.transport.is_closing():
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return
            rest = rest[read:]
            self._decline()
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                read = offer.args[0]
            except httptools.HttpParserError:
                self._invalid()
                return

    def _invalid(self) -> None:
        self.logger.warning("Invalid HTTP request received.")
        self.send_400_response("Invalid HTTP request received.")

    def _decline(self) -> None:
        """
        Begin the request again without its offer to upgrade: the parser would read neither its body nor what follows.
        """
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += (name, b": ", value, b"\r\n")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.parser.feed_data(b"".join((*head, b"\r\n")))

    def on_message_begin(self) -> None:
        """The first byte of a request. Empty lines before it are no byte of it, and end no silence."""
        self.head_since, self.idle_since = self.loop.time(), None
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, its name in lower case."""
        name = name.lower()
        if name == b"expect":
            super().on_header(name, value)
            return
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there; the body is being sent."""
        self.head_since, self.body_since = None, self.loop.time()
        parser = self.parser
        if parser.should_upgrade():
            if self._should_upgrade():
                super().on_headers_complete()  # a websocket
            elif parser.get_method() == b"CONNECT":  # a tunnel; this is no proxy
                self._cut(400)
            return
        try:
            url = httptools.parse_url(self.url)
            path = url.path.decode("ascii")
        except (httptools.HttpParserError, UnicodeError):
            self._cut(400)
            return
        scope = self.scope
        version = parser.get_http_version()
        scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        last = self.cycle
        keep_alive = version != "1.0" and parser.should_keep_alive()
        cycle = Cycle(self, scope, self.flow, keep_alive=keep_alive, expects_continue=self.expect_100_continue)
        self.cycle = cycle
        if last is None or last.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:  # a request that came before the answer to the last one waits for it
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.task = self.loop.create_task(cycle.run(app))
        self.tasks.add(cycle.task)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self.body_since = None
        self._head_bytes = 0
        cycle = self.cycle
        if cycle is None or cycle.response_complete:  # refused, or answered before its body was there
            self.idle_since = self.loop.time()
        elif not (self.parser.should_upgrade() and self._should_upgrade()):
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """The next request, if it is here already. The silence until then is watched by :meth:`sweep`, not a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since = self.loop.time()

    def sweep(self, now: float, head_timeout_seconds: float, body_timeout_seconds: float) -> str:
        """
        Close the connection when its client takes too long; returns what ran out, ``"head"`` or ``"body"``, or nothing.
        """
        if self.transport is None or self.transport.is_closing():
            return ""
        idle = self.idle_since is not None and self.body_since is None  # a body that is still owed has its own limit
        if idle and self.idle_since is not None and now - self.idle_since > self.timeout_keep_alive:
            self.transport.close()
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
