"""
Bytes as they come from a socket, through the real HTTP parser and the whole chassis, in one process.

    make fuzz-http                # atheris_http.py: guided by coverage, FUZZ_SECONDS=60
    test_fuzz_http.py             # the short form: the seeds and a thousand mutations of them

What must hold whatever comes: an answer below 500 (or 501, or the connection is closed), a well-formed request id, no
line break smuggled into the head, log lines that are JSON, and nothing left in flight.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from golive.chassis import Chassis, ChassisSettings
from golive.chassis.auth import tenant_of
from golive.chassis.log import LogSink, RequestNote
from golive.chassis.protocol import GuardedProtocol

SECRET = "a-secret-of-at-least-thirty-two-bytes"
_ID = re.compile(rb"\r\nx-request-id: ([A-Za-z0-9._-]{1,128})\r\n")

#: Where the search begins: one of each kind of request this service knows.
SEEDS = [
    b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /once HTTP/1.1\r\nhost: a\r\nidempotency-key: k\r\ncontent-type: application/json\r\n"
    b"content-length: 7\r\n\r\n{\"a\":1}",
    b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"OPTIONS /x HTTP/1.1\r\nhost: a\r\norigin: https://shop.example\r\naccess-control-request-method: POST\r\n\r\n",
    b"GET /x HTTP/1.1\r\nhost: a\r\nx-request-id: r-1\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    b"x-forwarded-for: 1.2.3.4\r\nauthorization: Bearer a.b.c\r\nx-api-key: k\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nhost: a\r\naccept: application/openmetrics-text\r\naccept-encoding: gzip\r\n\r\n"
    b"GET /%00%ff?a=%0a HTTP/1.1\r\nhost: a\r\n\r\n",
]  # fmt: skip


class KeptLog(LogSink):
    """Keeps each line as the reader of the stream would see it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    def request(self, note: RequestNote) -> None:
        super().request(note)
        self._write_notes()

    def _append(self, line: bytes) -> None:
        self.lines.append(line)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("10.0.0.9", 4321), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_protocol(self, protocol: Any) -> None:
        pass


class Service:
    """The chassis with everything switched on around an app that reads what it is given."""

    def __init__(self) -> None:
        self.chassis = Chassis(
            ChassisSettings(
                jwt_secret=SECRET,
                cors_origins=("https://shop.example",),
                rate_limit="1000000/second",
                trusted_proxies=("10.0.0.0/8",),
                body_max_bytes=10_000,
            )
        )
        self.log = self.chassis.log = KeptLog()
        self.app = self.chassis.wrap(Routed(self.chassis))
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.config = uvicorn.Config(
            self.app, interface="asgi3", http=GuardedProtocol, lifespan="off", log_config=None, proxy_headers=False,
            server_header=False, access_log=False,
        )  # fmt: skip
        self.config.load()

    def feed(self, data: bytes) -> bytes:
        """What the service writes when *data* comes in two pieces and the caller then leaves."""
        return self.loop.run_until_complete(self._feed(data))

    async def _feed(self, data: bytes) -> bytes:
        state, wire = ServerState(), Wire()
        protocol = GuardedProtocol(config=self.config, server_state=state, app_state={}, _loop=self.loop)
        protocol.connection_made(wire)
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            if piece and not wire.closed:
                protocol.data_received(piece)
            await self._settle(state)
        protocol.connection_lost(None)
        if state.tasks:  # the caller has left: whatever still runs must end by itself
            await asyncio.wait(set(state.tasks), timeout=10)
        assert not state.tasks, data
        return wire.written

    async def _settle(self, state: ServerState) -> None:
        """Until everything has been answered or waits for more."""
        for _ in range(200):
            if not state.tasks:
                return
            await asyncio.sleep(0)


class Routed:
    """A small app with one idempotent route; a route table, as the frameworks have."""

    def __init__(self, chassis: Chassis) -> None:
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        @chassis.idempotent(scope=tenant_of)
        async def once(request: Request) -> JSONResponse:
            return JSONResponse({"bytes": len(await request.body())}, 201)

        async def anything(request: Request) -> JSONResponse:
            return JSONResponse({"path": request.url.path, "bytes": len(await request.body())})

        methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS"]
        self._app = Starlette(
            routes=[Route("/once", once, methods=["POST"]), Route("/{rest:path}", anything, methods=methods)]
        )
        self.routes = self._app.routes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


def check(service: Service, data: bytes) -> None:
    """Feed *data* and hold the answer against what must be true. Raises: AssertionError."""
    service.log.lines.clear()
    written = service.feed(data)
    for head in re.findall(rb"(?:^|(?<=[\r\n}]))HTTP/1\.1 \d{3} .*?\r\n\r\n", written, re.DOTALL):
        status = int(head[9:12])
        assert status < 500 or status in (501, 503), (status, data)
        assert b"\n" not in head.replace(b"\r\n", b""), (head, data)
        if b"x-request-id" in head:
            assert _ID.search(head), (head, data)
    for line in service.log.lines:
        assert line.count(b"\n") == 1, (line, data)
        assert json.loads(line)["event"] != "unhandled_exception", (line, data)
    assert service.chassis.lifecycle.in_flight == 0, data
