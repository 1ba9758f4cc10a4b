"""What is measured of every system, the same way: see ``bench_jobs.py``. Imports nothing but the standard library."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

ENQUEUE_SECONDS = 1.5
CALLERS = 32
SAMPLES = 60


class System(Protocol):
    """One job system on a store of its own."""

    backlog: int
    on_run: Callable[[float], None]

    async def enqueue(self, sent_at: float) -> None: ...
    async def enqueue_many(self, count: int) -> None: ...
    async def clear(self) -> None: ...
    def worker(self) -> AbstractAsyncContextManager[None]: ...


async def rate(enqueue: Callable[[float], Awaitable[None]], callers: int) -> float:
    """Acknowledged submissions a second."""
    count, begin = 0, time.perf_counter()

    async def caller() -> None:
        nonlocal count
        while time.perf_counter() - begin < ENQUEUE_SECONDS:
            await enqueue(0.0)
            count += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return count / (time.perf_counter() - begin)


async def runs(system: System, count: int, begin: Callable[[], Awaitable[None]]) -> list[float]:
    """Have *begin* cause *count* runs; what each one was sent with, and when it ran."""
    sent: list[float] = []
    done = asyncio.Event()

    def ran(sent_at: float) -> None:
        sent.append(time.perf_counter() - sent_at)
        if len(sent) == count:
            done.set()

    system.on_run = ran
    await begin()
    await asyncio.wait_for(done.wait(), 120)
    return sent


async def measure(system: System) -> None:
    """Print the figures as one line of JSON."""
    one = await rate(system.enqueue, 1)
    many = await rate(system.enqueue, CALLERS)
    await system.clear()
    await system.enqueue_many(system.backlog)
    begin = time.perf_counter()

    async def nothing() -> None: ...

    async with system.worker():
        await runs(system, system.backlog, nothing)
        processed = system.backlog / (time.perf_counter() - begin)

        async def trickle() -> None:
            for _ in range(SAMPLES):
                await asyncio.sleep(0.02)
                await system.enqueue(time.perf_counter())

        delays = await runs(system, SAMPLES, trickle)
    print(json.dumps({"one": one, "many": many, "processed": processed,
                      "pick_up_ms": statistics.median(delays) * 1000}))  # fmt: skip
    sys.stdout.flush()
