"""
What each concern of the chassis costs, in microseconds of CPU per request, in one process and without a network.

The servers' real protocol classes are fed the bytes of a request and answer into nothing, so that everything between
the parser and the transport is measured and the kernel is not. Each row is the service with one concern more than
*core*; the last rows have everything. Rounds of all rows alternate, and the least of many is printed, which a busy
machine moves little. The bars are held by ``bench_chassis.py`` with real servers: what the kernel takes there is in
both columns.

    python benchmarks/chassis_layers.py [--repeats N] [--profile ROW]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import functools
import gc
import hashlib
import itertools
import os
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from bench_chassis import BODY, EVERYTHING, KEY, start_valkey
from fastapi import FastAPI
from pydantic import BaseModel
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from golive import Chassis
from golive.chassis.garbage import YOUNG_MAX
from golive.chassis.log import LogSink
from golive.chassis.protocol import GuardedProtocol
from golive.chassis.server import server_config

REQUESTS, CONNECTIONS = 64, 16
KEYS = {"API_KEY_HASHES": f"bench:{hashlib.sha256(KEY.encode()).hexdigest()}"}
QUIET = {"GOLIVE_CHASSIS_ACCESS_LOG": "false", "GOLIVE_CHASSIS_STRICT_JSON": "false"}
BARE = "bare FastAPI on uvicorn"
NUMBERS = itertools.count()


class Order(BaseModel):
    item: str
    amount: int


async def order(order: Order) -> Order:
    return order


class Log(LogSink):
    """The log, whose lines are made in the round their requests are answered in."""

    def make_lines(self) -> None:
        self._write_notes()


class Row:
    """One service and its connections."""

    def __init__(self, name: str, protocol: Callable[[], Any], log: Log) -> None:
        self.name, self._log = name, log
        self._young = 700 if name == BARE else YOUNG_MAX
        self.spent_us: list[float] = []
        body = BODY.encode()
        self._head = (
            f"POST /plain HTTP/1.1\r\nhost: t\r\norigin: https://app.example.com\r\n"
            f"content-type: application/json\r\nx-api-key: {KEY}\r\ncontent-length: {len(body)}\r\nidempotency-key: "
        ).encode()
        self._tail = b"\r\n\r\n" + body
        self._connections = [Connection(self, protocol()) for _ in range(CONNECTIONS)]
        self.left = self.running = 0
        self.done: asyncio.Future[None] | None = None

    def request(self) -> bytes:
        return self._head + b"k%d" % next(NUMBERS) + self._tail

    async def round(self) -> None:
        """Answer REQUESTS requests, CONNECTIONS at a time."""
        gc.set_threshold(self._young, 10, 10)
        self.done = asyncio.get_running_loop().create_future()
        self.left = REQUESTS
        self.running = CONNECTIONS
        began = time.process_time()
        for connection in self._connections:
            connection.next()
        await self.done
        self._log.make_lines()
        self.spent_us.append((time.process_time() - began) / REQUESTS * 1e6)


class Connection(asyncio.Transport):
    """The transport a protocol writes to: the end of an answer is the beginning of the next request."""

    def __init__(self, row: Row, protocol: Any) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 4000)})
        self._row, self._protocol = row, protocol
        self._loop = asyncio.get_running_loop()
        protocol.connection_made(self)

    def next(self) -> None:
        if self._row.left > 0:
            self._row.left -= 1
            self._protocol.data_received(self._row.request())
            return
        self._row.running -= 1
        if self._row.running == 0 and self._row.done is not None:
            self._row.done.set_result(None)

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if data.startswith(b"HTTP/"):
            assert data.startswith(b"HTTP/1.1 200 "), data
        if data.endswith(b'"amount":3}'):
            self._loop.call_soon(self.next)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """A row that waits for its next round is no idle client."""


def protocols(config: uvicorn.Config) -> Callable[[], Any]:
    """Connections of a server that runs *config*."""
    config.load()
    return functools.partial(
        config.http_protocol_class, config, ServerState(), {}, _loop=asyncio.get_running_loop()
    )  # fmt: skip


def bare(protocol: type[asyncio.Protocol] = HttpToolsProtocol) -> Callable[[], Any]:
    """The app on the server as it comes."""
    inner = FastAPI()
    inner.post("/plain")(order)
    return protocols(uvicorn.Config(inner, http=protocol, lifespan="off", log_config=None, access_log=False))


def chassis(log: Log, *, limited: bool = False, idempotent: bool = False, **env: str) -> Callable[[], Any]:
    """The app in a chassis with the settings *env*, on the chassis's server."""
    layer = Chassis.from_env(env)
    layer.log, layer.booted_by_server = log, True
    inner = FastAPI()

    @inner.post("/plain")
    async def endpoint(order: Order) -> Order:
        return order

    if limited:
        layer.limit("100000000/second", name="orders")(endpoint)
    if idempotent:
        layer.idempotent()(endpoint)
    layer.lifecycle.serve()  # without the watchdog: one process has one, not ten
    return protocols(server_config(layer.wrap(inner), layer.settings))


def rows(log: Log, valkey: str) -> list[Row]:
    everything = {**EVERYTHING, **KEYS}
    services: list[tuple[str, Callable[[], Any]]] = [
        (BARE, bare()),
        ("bare FastAPI on our server", bare(GuardedProtocol)),
        ("core, FastAPI's own way", chassis(log, GOLIVE_CHASSIS_FAST_PATH="false")),
        ("core, no log, no JSON rules", chassis(log, **QUIET)),
        ("core, no JSON rules", chassis(log, GOLIVE_CHASSIS_STRICT_JSON="false")),
        ("core", chassis(log)),
        ("+ cross-origin rules", chassis(log, CORS_ORIGINS=EVERYTHING["CORS_ORIGINS"])),
        ("+ limit by address", chassis(log, GOLIVE_CHASSIS_RATE_LIMIT="100000000/second")),
        ("+ authentication", chassis(log, REQUIRE_AUTH="true", **KEYS)),
        ("+ limit of the route", chassis(log, limited=True)),
        ("+ idempotency", chassis(log, idempotent=True)),
        ("everything, in memory", chassis(log, limited=True, idempotent=True, **everything)),
        (
            "everything, with Valkey",
            chassis(log, limited=True, idempotent=True, RATE_LIMIT_REDIS_URL=valkey, **everything),
        ),
    ]
    return [Row(name, protocol, log) for name, protocol in services]


async def measure(repeats: int, profile: str, valkey: str) -> None:
    log = Log(os.open(os.devnull, os.O_WRONLY))
    made = rows(log, valkey)
    for row in made:
        await row.round()
        row.spent_us.clear()
    gc.collect()
    gc.freeze()
    if profile:
        await show_profile(next(row for row in made if profile in row.name))
        return
    for _ in range(repeats):
        for row in made:
            await row.round()
    print(f"{'us of CPU per request':28} {'least':>7} {'median':>7} {'over bare':>10} {'over core':>10}")
    least = {row.name: min(row.spent_us) for row in made}
    for row in made:
        middle = sorted(row.spent_us)[repeats // 2]
        own = least[row.name]
        over = f"{own - least[made[0].name]:10.1f} {own - least['core']:10.1f}" if row is not made[0] else ""
        print(f"{row.name:28} {own:7.1f} {middle:7.1f} {over}")


async def show_profile(row: Row) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(5):
        await row.round()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--profile", default="", help="show where this row spends its time, instead")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, url = start_valkey(Path(folder))
        try:
            uvloop.run(measure(given.repeats, given.profile, url))
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
