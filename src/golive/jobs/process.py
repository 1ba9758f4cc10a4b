"""
A run in a process of its own, for handlers that compute: it can be killed, and it takes nobody down with it.

    worker --order--> child (own session) --progress, result--> worker

Each run has a fresh interpreter, which imports the handler's module; that costs a few tenths of a second and leaves
nothing of one run to the next. Whatever the handler does, the run ends: it returns, or the process dies, or its
time-out, its cancellation or the end of the worker kills its whole process group. A process the handler started in a
session of its own is beyond reach.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress

import msgspec

from golive.jobs.child import HEADER, Ended, Order, Said
from golive.jobs.context import JobContext
from golive.jobs.handlers import Handler
from golive.jobs.model import Failure

#: How long a process that said its last word may take to go, and how long its pipe is read after it went.
PATIENCE_SECONDS = 1.0
#: What an answer may hold beside the result.
_ANSWER_BYTES = 256 * 1024


class HandlerProcessError(Exception):
    """What a handler's process raised; ``str()`` is its traceback."""


async def run_in_process(handler: Handler, payload: bytes, context: JobContext, result_bytes_max: int) -> Ended:
    """
    Run *handler* once in a new process. Cancelling the caller kills it.

    Raises: OSError when no process can be started.
    """
    source, target = os.pipe()
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"from golive.jobs.child import main; main({target})", stdin=asyncio.subprocess.PIPE,
            pass_fds=[target], start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(source)
        raise
    finally:
        os.close(target)
    reading = asyncio.create_task(_answers(source, context, result_bytes_max + _ANSWER_BYTES))
    exiting = asyncio.create_task(child.wait())
    try:
        assert child.stdin, "it was asked for"
        order = msgspec.msgpack.encode(_order(handler, payload, context, result_bytes_max))
        child.stdin.write(HEADER.pack(len(order)) + order)
        await asyncio.wait({reading, exiting}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({exiting}, timeout=PATIENCE_SECONDS if reading.done() else 0)
        _kill(child.pid)  # what the handler forked goes with it, and lets go of the pipe
        await asyncio.wait({reading}, timeout=PATIENCE_SECONDS)
        ended = reading.result() if reading.done() else None
        return ended or Ended(None, _died(await exiting), "", {})
    finally:
        _kill(child.pid)
        reading.cancel()
        await asyncio.gather(reading, exiting, return_exceptions=True)


async def _answers(source: int, context: JobContext, most: int) -> Ended | None:
    """Pass progress on until the end is said; None if the pipe ends first, or says what no child of ours says."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb"))
    try:
        while True:
            (length,) = HEADER.unpack(await reader.readexactly(HEADER.size))
            if length > most:
                return None
            answer = msgspec.msgpack.decode(await reader.readexactly(length), type=Said | Ended)
            if isinstance(answer, Ended):
                context.bind(**answer.bound)
                context.spend(answer.cost)
                return answer
            context.progress(answer.ratio, answer.message)
    except (asyncio.IncompleteReadError, msgspec.MsgspecError, ValueError):
        return None
    finally:
        pipe.close()


def _order(handler: Handler, payload: bytes, context: JobContext, result_bytes_max: int) -> Order:
    function = handler.function
    return Order(
        sys.path, function.__module__, function.__qualname__, payload, result_bytes_max, handler.memory_bytes_max,
        context.id, context.kind, context.attempt, context.attempts_max, context.tenant, context.synchronous,
        context.version,
    )  # fmt: skip


def _died(code: int) -> Failure:
    """A crash may be the machine's fault (memory), so the job may be tried again."""
    how = f"exit code {code}" if code >= 0 else _signal_name(-code)
    return Failure("process_died", "the process of the job died", retryable=True, exception=f"process died: {how}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
