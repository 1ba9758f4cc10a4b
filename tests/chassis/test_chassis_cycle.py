"""The short way of our server's answers: byte for byte what uvicorn says, usual or not."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from golive.chassis import garbage
from golive.chassis.cycle import NAMES_MAX, _names, _prefix
from golive.chassis.protocol import GuardedProtocol

GET = b"GET /a%20b?q=1 HTTP/1.1\r\nHost: t\r\nX-Thing: 1\r\n\r\n"
TEXT = (b"content-type", b"text/plain")


class Transport(asyncio.Transport):
    """Keeps what was written; says when it was closed."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 4000)})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nobody reads."""

    def resume_reading(self) -> None:
        """Nobody reads."""


def connect(protocol: type[HttpToolsProtocol], app: Any) -> tuple[HttpToolsProtocol, Transport]:
    config = uvicorn.Config(
        app, http=protocol, interface="asgi3", lifespan="off", log_config=None, access_log=False, proxy_headers=False
    )
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"today"), (b"server", b"none")]
    connection, transport = protocol(config, state, {}, _loop=asyncio.get_running_loop()), Transport()
    connection.connection_made(transport)
    return connection, transport


async def said(protocol: type[HttpToolsProtocol], app: Any, *pieces: bytes) -> tuple[bytes, bool, list[Any]]:
    """What *app* says on a connection that receives *pieces*, whether it was closed, and what the app saw."""
    seen: list[Any] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        seen.append({name: value for name, value in scope.items() if name != "state"})

        async def watched_receive() -> Any:
            message = await receive()
            seen.append(message)
            return message

        await app(scope, watched_receive, send)

    connection, transport = connect(protocol, watched)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(10):
            await asyncio.sleep(0)
    assert not connection.tasks, "every request has ended"
    return transport.written, transport.closed, seen


def answers(*messages: Any, reads: bool = False) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        if reads:
            while (await receive()).get("more_body"):
                pass
        for message in messages:
            if isinstance(message, Exception):
                raise message
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [TEXT, *headers]}


def body(text: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text, "more_body": more}


def asking(request: bytes, header: bytes) -> bytes:
    return request.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n")


async def reading_once(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": (pair for pair in (TEXT, FIVE))})
    await send(body(b"12345"))


EXPECT = b"Expect: 100-continue"
FIVE = (b"content-length", b"5")
POST = b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\n"
CASES: dict[str, tuple[Any, tuple[bytes, ...]]] = {
    "the usual answer": (answers(start(FIVE), body(b"12345")), (GET,)),
    "twice on one connection": (answers(start(FIVE), body(b"12345")), (GET, GET)),
    "two requests at once": (answers(start(FIVE), body(b"12345")), (GET + GET,)),
    "a body that was read": (answers(start(FIVE), body(b"12345"), reads=True), (POST + b"abcde",)),
    "a body in two pieces": (answers(start(FIVE), body(b"12345"), reads=True), (POST + b"ab", b"cde")),
    "a body nobody read": (answers(start(FIVE), body(b"12345")), (POST + b"abcde", GET)),
    "an answer in two pieces": (answers(start(FIVE), body(b"123", more=True), body(b"45")), (GET,)),
    "an answer without a length": (answers(start(), body(b"123", more=True), body(b"45")), (GET,)),
    "an answer of nothing": (answers(start((b"content-length", b"0")), body(b"")), (GET,)),
    "HEAD": (answers(start(FIVE), body(b"12345")), (GET.replace(b"GET", b"HEAD"),)),
    "no content": (answers(start(status=204), body(b"")), (GET, GET)),
    "names in capitals": (answers(start((b"X-Thing", b"1"), (b"Content-Length", b"5")), body(b"12345")), (GET,)),
    "headers that repeat": (answers(start(FIVE, (b"set-cookie", b"a"), (b"set-cookie", b"b")), body(b"12345")), (GET,)),
    "the app closes": (answers(start(FIVE, (b"connection", b"close")), body(b"12345")), (GET,)),
    "the client closes": (answers(start(FIVE), body(b"12345")), (asking(GET, b"Connection: close"),)),
    "HTTP/1.0": (answers(start(FIVE), body(b"12345")), (GET.replace(b"1.1", b"1.0"),)),
    "100 Continue": (answers(start(FIVE), body(b"12345"), reads=True), (asking(POST, EXPECT), b"abcde")),
    "chunks by the app": (answers(start((b"transfer-encoding", b"chunked")), body(b"12345")), (GET,)),
    "a body that is longer than it says": (answers(start(FIVE), body(b"123456")), (GET,)),
    "a body that is shorter than it says": (answers(start(FIVE), body(b"1234")), (GET,)),
    "two lengths": (answers(start(FIVE, FIVE), body(b"12345")), (GET,)),
    "a length that is none": (answers(start((b"content-length", b"5x")), body(b"12345")), (GET,)),
    "an app that raises": (answers(ValueError("no")), (GET,)),
    "an app that raises in its answer": (answers(start(FIVE), body(b"12", more=True), ValueError("no")), (GET,)),
    "an app that says nothing": (answers(), (GET,)),
    "an app that does not end": (answers(start(FIVE)), (GET,)),
    "an app that goes on": (answers(start(FIVE), body(b"12345"), body(b"6")), (GET,)),
    "a body before the head": (answers(body(b"12345")), (GET,)),
    "a second head": (answers(start(FIVE), start(FIVE)), (GET,)),
    "a value of two lines": (answers(start(FIVE, (b"x-a", b"1\r\nx-b: 2")), body(b"12345")), (GET,)),
    "a value with a lone line feed": (answers(start(FIVE, (b"x-a", b"1\n2")), body(b"12345")), (GET,)),
    "a value with NUL": (answers(start(FIVE, (b"x-a", b"1\x002")), body(b"12345")), (GET,)),
    "a value with a tab": (answers(start(FIVE, (b"x-a", b"1\t2")), body(b"12345")), (GET,)),
    "a value that is not ASCII": (answers(start(FIVE, (b"x-a", "ä".encode())), body(b"12345")), (GET,)),
    "a name of two words": (answers(start(FIVE, (b"x a", b"1")), body(b"12345")), (GET,)),
    "a name that holds a line": (answers(start(FIVE, (b"x: 1\r\nx", b"1")), body(b"12345")), (GET,)),
    "headers that can be read once": (reading_once, (GET,)),
    "an empty name": (answers(start(FIVE, (b"", b"1")), body(b"12345")), (GET,)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_an_answer_is_uvicorns_byte_for_byte(case: str) -> None:
    """The bytes on the wire, whether the connection ends, and what the app is told."""
    app, pieces = CASES[case]
    assert await said(GuardedProtocol, app, *pieces) == await said(HttpToolsProtocol, app, *pieces)


@pytest.mark.parametrize("offered", [b"h2c", b"TLS/1.0", b"websocket2"])
@pytest.mark.parametrize("asked", [GET, POST + b"abcde"])
async def test_an_upgrade_nobody_speaks_is_as_if_it_were_not_offered(offered: bytes, asked: bytes) -> None:
    """With its body, and with the next request on the connection; uvicorn's parser reads neither."""
    app = answers(start(FIVE), body(b"12345"), reads=True)
    offer = asking(asked, b"Connection: upgrade\r\nUpgrade: " + offered)
    plain = asking(asked, b"Connection: upgrade")
    expected = await said(HttpToolsProtocol, app, plain, plain)
    assert expected[0].count(b"HTTP/1.1 200 OK") == 2
    assert await said(GuardedProtocol, app, offer, offer) == expected
    assert await said(GuardedProtocol, app, *[bytes([byte]) for byte in offer + offer]) == (
        await said(HttpToolsProtocol, app, *[bytes([byte]) for byte in plain + plain])
    )


async def test_a_thousand_offers_at_once_are_declined_one_after_the_other() -> None:
    """However many requests come in one piece, the stack does not grow with them."""
    offer = asking(GET, b"Connection: upgrade\r\nUpgrade: h2c")
    connection, transport = connect(GuardedProtocol, answers(start(FIVE), body(b"12345")))
    connection.data_received(offer * 2000)
    for _ in range(20_000):
        if not connection.tasks:
            break
        await asyncio.sleep(0)
    assert transport.written.count(b"HTTP/1.1 200 OK") == 2000


async def test_a_client_that_leaves_is_told_to_the_app_and_its_answer_goes_nowhere() -> None:
    """``http.disconnect`` after the body, and ``send`` is quiet."""
    told: list[str] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        told.append((await receive())["type"])
        told.append((await receive())["type"])
        await send(start(FIVE))
        await send(body(b"12345"))

    connection, transport = connect(GuardedProtocol, app)
    connection.data_received(POST + b"abcde")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == ["http.request"]
    connection.connection_lost(None)
    for _ in range(5):
        await asyncio.sleep(0)
    assert told == ["http.request", "http.disconnect"]
    assert transport.written == b""
    assert not connection.tasks


async def test_a_silent_connection_is_closed_after_its_keep_alive_and_not_while_it_is_served() -> None:
    """No timer of its own: the sweep closes it."""
    connection, transport = connect(GuardedProtocol, answers(start(FIVE), body(b"12345")))
    assert isinstance(connection, GuardedProtocol)
    connection.timeout_keep_alive = 75
    connection.data_received(GET)
    for _ in range(5):
        await asyncio.sleep(0)
    now = asyncio.get_running_loop().time()
    connection.sweep(now + 74, 10, 10)
    assert not transport.closed
    connection.data_received(b"\r\n")
    assert connection.idle_since is not None, "an empty line is no request"
    connection.data_received(GET[:10])
    connection.sweep(now + 76, 1000, 1000)
    assert not transport.closed, "something is being said"
    connection.data_received(GET[10:])
    for _ in range(5):
        await asyncio.sleep(0)
    connection.sweep(asyncio.get_running_loop().time() + 76, 10, 10)
    assert transport.closed


async def test_a_body_that_comes_after_its_answer_has_its_own_limit_and_then_the_silence_begins() -> None:
    """Neither is forgotten: nobody holds a connection by owing it a byte."""
    connection, transport = connect(GuardedProtocol, answers(start(FIVE), body(b"12345")))
    assert isinstance(connection, GuardedProtocol)
    connection.timeout_keep_alive = 75
    connection.data_received(POST + b"abcd")
    for _ in range(5):
        await asyncio.sleep(0)
    now = asyncio.get_running_loop().time()
    assert connection.sweep(now + 76, 10, 100) == ""
    assert not transport.closed
    connection.data_received(b"e")
    connection.sweep(now + 74, 10, 10)
    assert not transport.closed
    connection.sweep(asyncio.get_running_loop().time() + 76, 10, 10)
    assert transport.closed


def test_names_of_headers_are_remembered_up_to_a_limit() -> None:
    """A service that makes names up does not grow."""
    held = dict(_names)
    try:
        for number in range(NAMES_MAX + 10):
            assert _prefix(b"X-Made-Up-%d" % number) == b"x-made-up-%d: " % number
        assert len(_names) <= NAMES_MAX
    finally:
        _names.clear()
        _names.update(held)


def test_the_collector_is_told_once_and_an_app_that_has_set_it_keeps_its_own() -> None:
    """Frozen, and fewer looks at young objects; but only where Python's own numbers stand."""
    held = gc.get_threshold()
    try:
        gc.set_threshold(700, 10, 10)
        garbage.settle()
        assert gc.get_threshold() == (garbage.YOUNG_MAX, 10, 10)
        assert gc.get_freeze_count() > 0
        gc.set_threshold(50, 3, 3)
        garbage.settle()
        assert gc.get_threshold() == (50, 3, 3)
    finally:
        gc.unfreeze()
        gc.set_threshold(*held)
