"""The admin client: small, and not confused by a peer that goes away or is somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from golive.errors import UnavailableError
from golive.rollout.routers.envoy_admin import AdminClient

Serve = Callable[[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]], Awaitable[AdminClient]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """A client of a server with the given behaviour."""
    opened: list[tuple[asyncio.Server, AdminClient]] = []

    async def start(client: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AdminClient:
        server = await asyncio.start_server(client, "127.0.0.1", 0)
        opened.append((server, AdminClient("127.0.0.1", server.sockets[0].getsockname()[1], timeout_seconds=0.5)))
        return opened[-1][1]

    yield start
    for server, client in opened:
        await client.close()
        server.close()


def _answering(*answers: bytes, close_after: int = 1_000) -> Callable[..., Awaitable[None]]:
    """Gives *answers* over one or more connections, closing each connection after *close_after* of them."""
    left = list(answers)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(close_after):
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            writer.write(left.pop(0))
            await writer.drain()
        writer.close()

    return client


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n"


async def test_both_kinds_of_body_are_read_over_one_connection(serve: Serve):
    """With a length and in chunks, one after the other and asked at once."""
    admin = await serve(_answering(PLAIN, CHUNKED, PLAIN))
    assert await asyncio.gather(admin.get("/a"), admin.get("/b"), admin.post("/c")) == [b"ok", b"abc0123456789", b"ok"]


async def test_a_kept_connection_that_was_closed_is_replaced(serve: Serve):
    """Envoy closes idle ones; the caller does not notice."""
    admin = await serve(_answering(PLAIN, PLAIN, PLAIN, close_after=1))
    for _ in range(3):
        assert await admin.get("/") == b"ok"
        await asyncio.sleep(0.01)


async def test_another_status_is_an_error_with_what_was_said(serve: Serve):
    """The place and the words of the answer."""
    admin = await serve(_answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"))
    with pytest.raises(UnavailableError, match=r"/stats: expected 200, got 404 'nope'"):
        await admin.get("/stats?filter=x")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00" * 100_000,
    ],
)
async def test_half_an_answer_or_nonsense_is_an_error(serve: Serve, answer: bytes):
    """
    Cut off, garbled, absurd, or not HTTP at all: never a wrong value, never a hang, and the next call starts afresh.
    """
    admin = await serve(_answering(answer, answer, PLAIN, close_after=1))
    with pytest.raises(UnavailableError):
        await admin.get("/")


async def test_silence_is_an_error_in_time(serve: Serve):
    """And what comes late is not taken for the answer to the next question."""
    release = asyncio.Event()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/late" in head:
            await release.wait()
            writer.write(PLAIN.replace(b"ok", b"no"))
        else:
            writer.write(PLAIN)
        writer.close()

    admin = await serve(client)
    with pytest.raises(UnavailableError, match="expected an answer"):
        await admin.get("/late")
    release.set()
    assert await admin.get("/next") == b"ok"


async def test_nobody_there_is_an_error_that_says_what_to_do(unused_tcp_port: int):
    """Start the gateway."""
    with pytest.raises(UnavailableError, match="golive up"):
        await AdminClient("127.0.0.1", unused_tcp_port).get("/ready")
