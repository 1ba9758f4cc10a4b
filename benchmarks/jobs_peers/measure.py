"""What is measured of every system, the same way: see ``bench_jobs.py``. Imports nothing but the standard library."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import sink

ENQUEUE_SECONDS = 1.5
CALLERS = 32
SAMPLES = 80
BATCH = 100


class System(Protocol):
    """
    One job system on a store of its own, and its own worker program.

    Attributes:
        backlog: jobs for the processing figure: about a second of work.
        command: starts one worker process that has the no-op job.
        blocking: True if *enqueue* and *enqueue_many* are plain functions: 32 callers are 32 threads then.
    """

    backlog: int
    command: list[str]
    blocking: bool

    def enqueue(self, sent_at: float) -> Awaitable[object] | object: ...
    def enqueue_many(self, count: int) -> Awaitable[object] | object: ...
    def clear(self) -> Awaitable[None] | None: ...


async def rate(act: Callable[[], Awaitable[object] | object], callers: int, blocking: bool) -> float:
    """How often a second *act* is done and acknowledged."""
    begin = time.perf_counter()
    deadline = begin + ENQUEUE_SECONDS
    if blocking:

        def thread() -> int:
            count = 0
            while time.perf_counter() < deadline:
                act()
                count += 1
            return count

        with ThreadPoolExecutor(callers) as pool:
            total = sum(each.result() for each in [pool.submit(thread) for _ in range(callers)])
        return total / (time.perf_counter() - begin)

    async def caller() -> int:
        count = 0
        while time.perf_counter() < deadline:
            await act()  # type: ignore[misc]
            count += 1
        return count

    total = sum(await asyncio.gather(*(caller() for _ in range(callers))))
    return total / (time.perf_counter() - begin)


async def done(value: Awaitable[object] | object) -> None:
    if asyncio.iscoroutine(value):
        await value


async def until_run(count: int) -> None:
    deadline = time.perf_counter() + 60
    while sink.read()[0] < count:
        if time.perf_counter() > deadline:
            raise SystemExit(f"{sink.read()[0]} of {count} jobs ran within 60 s")
        await asyncio.sleep(0.01)


@contextmanager
def workers(system: System, count: int) -> Iterator[None]:
    """*count* worker processes, in process groups of their own."""
    log = (sink.FOLDER / "workers.log").open("ab")
    running = [
        subprocess.Popen(system.command, stdout=log, stderr=log, start_new_session=True, cwd=Path(__file__).parent)
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in running:
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    pass
            for process in running:
                try:
                    process.wait(8)
                except subprocess.TimeoutExpired:
                    pass
        log.close()
        sink.clear()


async def processed(system: System, count: int) -> float:
    """Jobs a second, from the first run to the last: starting up does not count."""
    await done(system.clear())
    jobs = system.backlog * count
    await done(system.enqueue_many(jobs))
    with workers(system, count):
        await until_run(jobs)
        runs, first, last, _ = sink.read()
        return (runs - 1) / (last - first)


async def pick_up(system: System) -> list[float]:
    """Delays from before the submission to the run, one job at a time, in ms."""
    await done(system.clear())
    with workers(system, 1):
        for _ in range(3):  # the worker is up when these have run
            await done(system.enqueue(0.0))
        await until_run(3)
        for number in range(SAMPLES):
            await asyncio.sleep(0.015)
            await done(system.enqueue(time.monotonic()))
            if number % 20 == 19:
                await until_run(4 + number)
        await until_run(3 + SAMPLES)
        return sorted(delay * 1000 for delay in sink.read()[3])


async def measure(system: System) -> None:
    """Print the figures as one line of JSON."""
    one = await rate(lambda: system.enqueue(0.0), 1, system.blocking)
    many = await rate(lambda: system.enqueue(0.0), CALLERS, system.blocking)
    batch = BATCH * await rate(lambda: system.enqueue_many(BATCH), 1, system.blocking)
    processed_1 = await processed(system, 1)
    processed_2 = await processed(system, 2)
    delays = await pick_up(system)
    print(json.dumps({
        "one": one, "many": many, "batch": batch, "processed_1": processed_1, "processed_2": processed_2,
        "p50_ms": statistics.median(delays), "p99_ms": delays[int(len(delays) * 0.99)],
    }))  # fmt: skip
    sys.stdout.flush()


def beside(program: str) -> str:
    """A program of the environment this runs in."""
    return str(Path(sys.executable).with_name(program))


def run(main: Awaitable[None]) -> None:
    """On uvloop where it is installed: every system's worker gets it, too."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)  # type: ignore[arg-type]
