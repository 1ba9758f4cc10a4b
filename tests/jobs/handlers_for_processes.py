"""Handlers that run in processes of their own and do there what handlers must not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from golive.jobs import JobContext, JobError

MISDEEDS = {}


def misdeed(function):  # type: ignore[no-untyped-def]
    MISDEEDS[function.__name__] = function
    return function


def square(number: int, ctx: JobContext) -> dict[str, object]:
    ctx.bind(number=number)
    print("a handler may print")
    return {"square": number * number, "pid": os.getpid(), "attempt": ctx.attempt, "tenant": ctx.tenant}


async def slowly(payload: str, ctx: JobContext) -> str:
    """Says that it is half way, then waits for the file *payload*."""
    ctx.progress(0.5, "half")
    while not Path(payload).exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.01)
    return "done"


def spin(payload: str) -> None:
    """Writes its process id to *payload* and computes for ever."""
    Path(payload).with_suffix(".new").write_text(str(os.getpid()))
    Path(payload).with_suffix(".new").rename(payload)
    while True:
        pass


def brood(payload: str) -> str:
    """Forks a child that holds every file open and writes its process id to *payload*; returns at once."""
    if os.fork() == 0:
        spin(payload)
    while not Path(payload).exists():
        time.sleep(0.01)
    return "returned"


@misdeed
def raises() -> None:
    raise ValueError("secret detail")


@misdeed
def refuses() -> None:
    raise JobError("venue_unknown", status=404)


@misdeed
def exits() -> None:
    sys.exit(3)


@misdeed
def exits_hard() -> None:
    os._exit(7)


@misdeed
def exits_hard_and_clean() -> None:
    os._exit(0)


@misdeed
def crashes() -> None:
    ctypes.string_at(0)


@misdeed
def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@misdeed
def eats_memory() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(16 * 1024 * 1024))


@misdeed
def recurses() -> None:
    recurses()


@misdeed
def blocks() -> None:
    time.sleep(600)


@misdeed
def never_returns() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


@misdeed
def returns_rubbish() -> object:
    return object()


@misdeed
def returns_too_much() -> str:
    return "x" * 2_000_000


@misdeed
def closes_everything() -> str:
    os.closerange(0, 100)
    return "lost"


@misdeed
def forks_and_returns_twice() -> str:
    os.fork()
    return "once"
