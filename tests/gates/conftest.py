"""Servers that answer the same bytes to everybody, and golive as a process."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

Golive = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[[bytes], Awaitable[str]]


@pytest.fixture
def golive() -> Golive:
    """Runs ``golive ARGUMENTS`` and returns what it printed."""

    def call(*arguments: str, cwd: object = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import golive.cli; golive.cli.main()", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=cwd)  # type: ignore[call-overload]

    return call


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that answers every connection with the given bytes and closes; returns its URL."""
    servers: list[asyncio.Server] = []

    async def start(data: bytes) -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(data)
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError):
                pass
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
