"""A real Envoy in front of small real servers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from golive.rollout.evidence.envoy import EnvoyEvidence
from golive.rollout.ports import Arm, Router
from golive.rollout.routers.envoy import EnvoyRouter
from golive.rollout.routers.envoy_gateway import EnvoyGateway
from golive.rollout.routers.envoy_settings import GatewaySettings


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - neither a process nor a gateway wakes us
            await asyncio.sleep(0.01)


class VersionServer:
    """Answers with its version. ``/slow`` waits for *release*; ``/sleep?0.2``, ``/fail``, ``/hang`` do so."""

    def __init__(self, version: str, *, healthy: bool = True) -> None:
        self.version, self.healthy = version, healthy
        self.release = asyncio.Event()
        self.held = asyncio.Event()
        self.requests = 0
        self.slept: list[float] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Arm:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        return Arm(self.version, f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                if path == "/cut":
                    writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf")
                    break
                status = await self._status(path)
                body = self.version.encode()
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _status(self, path: str) -> int:
        if path.startswith("/health"):
            return 200 if self.healthy else 503
        self.requests += 1
        if path == "/slow":
            self.held.set()
            await self.release.wait()
        if path == "/hang":
            await asyncio.Event().wait()
        if path.startswith("/sleep?"):
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(float(path.removeprefix("/sleep?")))
            self.slept.append(asyncio.get_running_loop().time() - began)
        return 500 if path == "/fail" else 200


class Client:
    """One kept connection. Header names are lower-cased."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.headers: dict[str, str] = {}

    async def get(self, path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, str]:
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._connection
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode())
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        body = (await reader.readexactly(int(self.headers["content-length"]))).decode()
        if self.headers.get("connection") == "close":
            await self.close()
        return int(first.split(" ")[1]), body

    async def close(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None


class EnvoyWorld:
    """The world of the router contract, on a real Envoy."""

    def __init__(self, directory: Path, settings: GatewaySettings) -> None:
        self.gateway = EnvoyGateway(directory, settings)
        self.router: Router = EnvoyRouter(self.gateway)
        self.evidence = EnvoyEvidence(self.gateway)
        self.servers: dict[str, VersionServer] = {}
        self._all: list[VersionServer] = []

    async def arm(self, version: str, *, healthy: bool = True) -> Arm:
        server = VersionServer(version, healthy=healthy)
        self._all.append(server)
        self.servers[version] = server
        return await server.start()

    def client(self) -> Client:
        return Client(self.gateway.port)

    async def send(self, count: int = 1, *, client: str | None = None, forced: str | None = None) -> list[str | None]:
        headers = ({"x-user-id": client} if client else {}) | ({"x-golive-version": forced} if forced else {})
        connection, answers = self.client(), []
        for _ in range(count):
            try:
                status, body = await connection.get(headers=headers)
                answers.append(body if status == 200 else None)
            except (OSError, EOFError):
                await connection.close()
                answers.append(None)
        await connection.close()
        return answers

    @asynccontextmanager
    async def hold(self, version: str) -> AsyncIterator[None]:
        server, connection = self.servers[version], self.client()
        request = asyncio.create_task(connection.get("/slow", {"x-golive-version": version}))
        await asyncio.wait_for(server.held.wait(), 10)
        try:
            yield
        finally:
            server.release.set()
            assert (await asyncio.wait_for(request, 10))[0] == 200
            await connection.close()

    async def counted(self, version: str) -> int:
        return (await self.evidence.sample()).arms[version].requests["*"]

    async def until_healthy(self, version: str, healthy: bool = True) -> None:
        async def as_wanted() -> bool:
            return (await self.evidence.sample()).arms[version].healthy is healthy

        await eventually(as_wanted)

    async def kill(self) -> None:
        running = self.gateway.running()
        assert running is not None
        os.kill(running.process.pid, signal.SIGKILL)

        async def gone() -> bool:
            return not self.gateway.alive()

        await eventually(gone)

    async def restart(self) -> None:
        await self.kill()
        await self.gateway.up()

    def another_router(self) -> Router:
        return EnvoyRouter(EnvoyGateway(self.gateway.directory, self.gateway.settings))

    async def close(self) -> None:
        await self.gateway.down(drain=False)
        for server in self._all:
            await server.stop()


def settings(**changes: object) -> GatewaySettings:
    """Free ports, a header for clients, and no patience."""
    quick = {"port": 0, "sticky_header": "x-user-id", "ensure_timeout": timedelta(seconds=1), "workers": 1}
    return GatewaySettings(**{**quick, **changes})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EnvoyWorld]:
    world = EnvoyWorld(tmp_path / "gateway", settings())
    await world.gateway.up()
    try:
        yield world
    finally:
        await world.close()
