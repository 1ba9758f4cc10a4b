"""
The second document's promises about repeated requests, on one port with four worker processes:

1. 2,000 requests, 400 keys, 75 at once: exactly 400 times 201 and 1,600 times 204, P95 <= 1 s, no error;
2. rounds of five equal requests at once: 201 once and 204 four times, in every round, while a worker is killed with
   kill -9 every hundred rounds.

Prints what was seen and ends with 1 when any of it was otherwise. ``--store`` is ``sqlite`` (default), or the URL of a
Redis/Valkey or PostgreSQL server.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

APP = """
import asyncio, os
from fastapi import FastAPI
from golive import Chassis

inner, chassis = FastAPI(), Chassis.from_env()
runs = os.open("runs", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

@inner.post("/ingest", status_code=201)
@chassis.idempotent(on_duplicate="204")
async def ingest() -> int:
    os.write(runs, b"x")
    await asyncio.sleep(0)
    return os.getpid()

@inner.get("/pid")
async def pid() -> int:
    return os.getpid()

app = chassis.wrap(inner)
"""
Statuses = collections.Counter[int]


class Client:
    """Requests to the service, each on its own connection."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def request(self, head: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body. Raises: OSError, ConnectionError."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        length = f"content-length: {len(body)}\r\n" if body else ""
        writer.write(f"{head}host: t\r\n{length}connection: close\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
        if not answer:
            raise ConnectionError("closed without an answer")
        return int(answer[9:12]), answer.partition(b"\r\n\r\n")[2]

    async def ingest(self, key: str) -> int:
        """The status of one ingest."""
        status, _ = await self.request(f"POST /ingest HTTP/1.1\r\nidempotency-key: {key}\r\n", b'{"n": 1}')
        return status


async def load(client: Client) -> tuple[Statuses, float]:
    """The document's load. Returns statuses and the 95th percentile in seconds."""
    slots, took, statuses = asyncio.Semaphore(75), [], Statuses()

    async def one(number: int) -> None:
        async with slots:
            began = time.perf_counter()
            statuses[await client.ingest(f"load-{number % 400}")] += 1
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(one(number) for number in range(2000)))
    return statuses, sorted(took)[1899]


async def rounds(client: Client, count: int, kill_every: int) -> tuple[collections.Counter[tuple[int, ...]], int]:
    """The statuses of every round, sorted; and how many workers were killed."""
    seen: collections.Counter[tuple[int, ...]] = collections.Counter()
    killed = 0
    for number in range(count):
        if number % kill_every == kill_every - 1:
            _, pid = await client.request("GET /pid HTTP/1.1\r\n")
            os.kill(int(pid), signal.SIGKILL)
            killed += 1
        statuses = await asyncio.gather(*(client.ingest(f"round-{number}") for _ in range(5)))
        seen[tuple(sorted(statuses))] += 1
    return seen, killed


async def ready(client: Client, deadline: float) -> None:
    while True:
        try:
            if (await client.request("GET /health/ready HTTP/1.1\r\n"))[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "the service does not start"
        await asyncio.sleep(0.05)


async def play(port: int, options: argparse.Namespace, folder: Path) -> bool:
    client = Client(port)
    await ready(client, time.monotonic() + 60)
    statuses, p95 = await load(client)
    print(f"load: {dict(sorted(statuses.items()))}, P95 {p95 * 1000:.0f} ms")
    began = time.monotonic()
    seen, killed = await rounds(client, options.rounds, options.kill_every)
    runs = (folder / "runs").stat().st_size
    seconds = time.monotonic() - began
    print(f"rounds: {dict(seen)} in {seconds:.0f} s, {killed} workers killed; the handler ran {runs:,} times")
    good = statuses == {201: 400, 204: 1600} and p95 <= 1.0 and seen == {(201, 204, 204, 204, 204): options.rounds}
    return good and runs == 400 + options.rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--kill-every", type=int, default=100)
    parser.add_argument("--store", default="sqlite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ingest_app.py").write_text(APP)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        store = f"sqlite:{folder}/keys.db" if options.store == "sqlite" else options.store
        environ = {"GOLIVE_CHASSIS_IDEMPOTENCY_STORE": store, "GOLIVE_CHASSIS_ACCESS_LOG": "false"}
        command = [str(Path(sys.executable).with_name("golive")), "serve", "ingest_app:app", "--workers", "4"]
        service = subprocess.Popen(
            [*command, "--port", str(port), "--lame-duck", "0s"],
            cwd=folder, env={**os.environ, **environ}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            good = asyncio.run(play(port, options, folder))
        finally:
            service.terminate()
            service.wait()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
