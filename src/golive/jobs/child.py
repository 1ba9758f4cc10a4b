"""
The inside of a handler's own process: one run, then the end. The parent's side is :mod:`golive.jobs.process`.

The parent writes one :class:`Order` to stdin and keeps it open; its end, that is the parent's death, ends this process.
Answers go to a pipe of their own as length-prefixed frames, so that a handler may print what it likes. A handler that
forks and returns twice answers once: only the process the parent started may speak.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import select
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from operator import attrgetter
from typing import Any

import msgspec

from golive.jobs.context import JobContext, current
from golive.jobs.execution import encoded, failure_of
from golive.jobs.handlers import Handler, describe
from golive.jobs.model import Failure, JobId

#: How often progress is passed on.
TICK_SECONDS = 0.25
HEADER = struct.Struct(">I")
_TRACEBACK_MAX = 20_000
_PR_SET_PDEATHSIG = 1


class Order(msgspec.Struct, frozen=True):
    """What to run: *function* of *module*, found by the parent's *path*."""

    path: list[str]
    module: str
    function: str
    payload: bytes
    result_bytes_max: int
    memory_bytes_max: int | None
    id: str
    kind: str
    attempt: int
    attempts_max: int
    tenant: str
    synchronous: bool
    version: str | None


class Said(msgspec.Struct, frozen=True, tag=True):
    """Progress."""

    ratio: float
    message: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The run's end: *result* as JSON, or *failure*; *traceback* is for the log."""

    result: bytes | None
    failure: Failure | None
    traceback: str
    bound: dict[str, str]
    cost: float = 0.0


def main(answers: int) -> None:
    """Run what stdin orders; *answers* is the file descriptor to answer on. Does not return."""
    started_as, lock = os.getpid(), threading.Lock()
    _die_with_parent()
    order = msgspec.msgpack.decode(_frame(0), type=Order)
    context = JobContext(
        JobId(order.id), order.kind, attempt=order.attempt, attempts_max=order.attempts_max, tenant=order.tenant,
        synchronous=order.synchronous, version=order.version,
    )  # fmt: skip

    def say(answer: Said | Ended) -> None:
        if os.getpid() == started_as:
            with lock:
                _write(answers, msgspec.msgpack.encode(answer))

    threading.Thread(target=_watch, args=(context, say), daemon=True).start()
    ended = _run(order, context)
    say(ended)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0)  # threads and exit handlers of the user's code do not hold the slot


def _run(order: Order, context: JobContext) -> Ended:
    current.set(context)
    try:
        _limit_memory(order.memory_bytes_max)
        handler = _handler(order)
        decoded = handler.decode(order.payload) if handler.takes_payload else None
        value = handler.call(decoded, context)
        outcome = encoded(asyncio.run(value) if handler.is_async else value, order.result_bytes_max)
        return Ended(outcome.result, outcome.failure, "", _bound(context), context.cost)
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too, are how the handler ended
        failure = failure_of(error)
        shown = traceback.format_exc()[-_TRACEBACK_MAX:] if failure.exception else ""
        return Ended(None, failure, shown, _bound(context), context.cost)


def _handler(order: Order) -> Handler:
    sys.path[:] = order.path
    function = attrgetter(order.function)(importlib.import_module(order.module))
    return describe(
        function, order.kind, queue="", attempts_max=order.attempts_max, timeout=timedelta(0), concurrency=None,
        retry_on_timeout=False,
    )  # fmt: skip


def _bound(context: JobContext) -> dict[str, str]:
    return {name: str(value)[:200] for name, value in context.bound.items()}


def _watch(context: JobContext, say: Callable[[Any], None]) -> None:
    while not select.select([0], [], [], TICK_SECONDS)[0]:
        if said := context.take_progress():
            say(Said(said.ratio, said.message))
    os._exit(1)  # stdin ended: the worker is gone, and nobody would hear the result


def _die_with_parent() -> None:
    """Also when native code keeps the watching thread from running. And if memory runs out, this process goes first."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")


def _limit_memory(most: int | None) -> None:
    if most is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _frame(source: int) -> bytes:
    (length,) = HEADER.unpack(_read(source, HEADER.size))
    return _read(source, length)


def _read(source: int, length: int) -> bytes:
    data = b""
    while len(data) < length:
        if not (more := os.read(source, length - len(data))):
            os._exit(1)
        data += more
    return data


def _write(target: int, frame: bytes) -> None:
    data = memoryview(HEADER.pack(len(frame)) + frame)
    while data:
        data = data[os.write(target, data) :]
