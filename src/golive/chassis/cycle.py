"""
One request and its answer on a connection: uvicorn's cycle, with a short way for the usual answer.

The usual answer says its length and nothing about the connection. Its head is written without a regular expression per
header (names are remembered once they were found valid, values are looked at all together), a body that is there is
given without a look at an event, and the end of the task needs no callback of its own. Everything else, and everything
that is wrong, goes uvicorn's way: chunks, HEAD, ``100 Continue``, a client that reads slowly, a header that is none.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from golive.chassis.types import ASGIApp, Headers, Message, Scope

#: Header names remembered. A service has a few dozen; one that makes them up pays for the look.
NAMES_MAX = 500

_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LONG_WAY = frozenset({b"connection", b"content-length", b"transfer-encoding"})
#: What no header value may hold. The ends of the lines are counted with them.
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})

_LOGGER = logging.getLogger("uvicorn.error")
_ACCESS = logging.getLogger("uvicorn.access")


class DefaultHead:
    """The headers that stand in every answer, as bytes; they change once a second, with the date."""

    def __init__(self) -> None:
        self._headers: Headers = []
        self._text = b""

    def of(self, headers: Headers) -> bytes:
        """*headers* as lines. The list is known again by its identity: uvicorn makes a new one."""
        if headers is not self._headers:
            self._headers = headers
            self._text = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        return self._text


_default_head = DefaultHead()
_names: dict[bytes, bytes] = {}


def _prefix(name: bytes) -> bytes | None:
    """How the line of the header *name* begins; None when uvicorn must look at it."""
    known = _names.get(name)
    if known is None and _TOKEN.fullmatch(name) and name.lower() not in _LONG_WAY:
        known = name.lower() + b": "
        if len(_names) < NAMES_MAX:
            _names[bytes(name)] = known
    return known


async def _ended(_scope: Any, _receive: Any, _send: Any) -> None:
    """An app that has returned."""


def _raises(error: BaseException) -> Any:
    """An app that has raised *error*."""

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise error

    return app


def _nothing() -> None:
    """The answer ended long ago."""


class Cycle(RequestResponseCycle):
    """See the module; the attributes are uvicorn's."""

    def __init__(
        self,
        protocol: Any,
        scope: Any,
        flow: FlowControl,
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        # not super(): it takes a dozen arguments, most of them the same for every request
        self.scope = scope
        self.protocol = protocol
        self.transport = protocol.transport
        self.flow = flow
        self.logger, self.access_logger, self.access_log = _LOGGER, _ACCESS, False
        self.message_event = asyncio.Event()
        self.on_response = protocol.on_response_complete
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expects_continue
        self.body = bytearray()
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.chunked_encoding = None
        self.expected_content_length = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def default_headers(self) -> Headers:  # type: ignore[override]
        """As they are now."""
        return cast("Headers", self.protocol.server_state.default_headers)

    async def run(self, app: ASGIApp) -> None:
        """Serve the request; what went wrong is uvicorn's to say. Ends its own stay among the tasks of the server."""
        try:
            await app(cast("Scope", self.scope), self.receive, self.send)
            if not self.response_complete and not self.disconnected:
                await self.run_asgi(_ended)
        except BaseException as error:
            await self.run_asgi(_raises(error))
        finally:
            self.on_response = _nothing
            self.protocol.tasks.discard(self.task)

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """The usual answer at once, every other uvicorn's way."""
        if self.flow.write_paused or self.disconnected:
            await super().send(cast("Any", message))
        elif not self.response_started:
            head = self._head(message) if message["type"] == "http.response.start" and self.keep_alive else None
            if head is None:
                await super().send(cast("Any", message))
                return
            self.response_started, self.waiting_for_100_continue = True, False
            self.transport.write(head)
        elif self.response_complete or self.chunked_encoding is not False or message["type"] != "http.response.body":
            await super().send(cast("Any", message))
        else:
            body = message.get("body", b"")
            if len(body) != self.expected_content_length or message.get("more_body") or self.scope["method"] == "HEAD":
                await super().send(cast("Any", message))
                return
            self.transport.write(body)
            self.expected_content_length = 0
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()

    def _head(self, message: Message) -> bytes | None:
        """The lines of the head, or None when one of them is not usual."""
        length = None
        parts = [STATUS_LINE[message["status"]], _default_head.of(self.default_headers)]
        headers = message.get("headers", ())
        if not isinstance(headers, list | tuple):
            return None  # perhaps something that can be read only once
        for name, value in headers:
            if name == b"content-length" and length is None and value.isdigit():
                length = int(value)
                parts += (b"content-length: ", value, b"\r\n")
                continue
            prefix = _names.get(name) or _prefix(name)
            if prefix is None:
                return None
            parts += (prefix, value, b"\r\n")
        parts.append(b"\r\n")
        head = b"".join(parts)
        lines = len(headers) + 2 + len(self.default_headers)
        if length is None or len(head.translate(None, _CONTROLS)) != len(head) - 2 * lines:
            return None
        self.expected_content_length, self.chunked_encoding = length, False
        return head

    def whole_body(self) -> bytearray | None:
        """The body, if all of it is here and nobody has received it yet. To be looked at only."""
        there = self.message_event.is_set() and not self.more_body
        return None if not there or self.disconnected or self.response_complete else self.body

    async def receive(self) -> Any:
        """A body that is there at once, without a look at the event."""
        if self.more_body or self.disconnected or self.response_complete or not self.message_event.is_set():
            return await super().receive()
        if self.waiting_for_100_continue:
            return await super().receive()
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}
