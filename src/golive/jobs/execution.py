"""
One run of one handler: decode, call within the time-out, encode. The caller who waits and the worker share this code.

A handler may do anything but take the worker down: whatever it raises, ``SystemExit`` included, becomes the run's
failure. What cannot be done here is to stop a thread: a plain function past its time-out is abandoned, and the run says
so through :attr:`Outcome.abandoned`, so that the worker keeps its slot closed until the thread ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import traceback
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple

from golive.errors import TryLaterError
from golive.jobs.context import JobContext, current
from golive.jobs.errors import InvalidPayloadError, JobError
from golive.jobs.handlers import Handler, encode_result
from golive.jobs.model import Failure
from golive.redact import redact_text
from golive.timing import format_duration

logger = logging.getLogger("golive.jobs")


#: A job that may not run now is not tried again sooner.
WAIT_SECONDS_MIN = 0.001


class Outcome(NamedTuple):
    """How a run ended: *result* as JSON, or *failure*. *error* is the exception behind it, for the log."""

    result: bytes | None = None
    failure: Failure | None = None
    error: BaseException | None = None
    abandoned: asyncio.Future[Any] | None = None


async def execute(handler: Handler, payload: bytes, context: JobContext, result_bytes_max: int) -> Outcome:
    """
    Run *handler* once. Cancelling the caller cancels the handler and raises ``CancelledError``; nothing else is raised.
    """
    thread: asyncio.Future[Any] | None = None
    token = current.set(context)
    limit = asyncio.timeout(handler.timeout_seconds or None)
    try:
        if handler.isolation == "process":
            async with limit:
                return await _in_process(handler, payload, context, result_bytes_max)
        decoded = handler.decode(payload) if handler.takes_payload else None
        if handler.is_async:
            coroutine = handler.call(decoded, context)
            try:
                waits_for = coroutine.send(None)
            except StopIteration as ended:  # it never waited, so no time-out could have reached it
                return encoded(ended.value, result_bytes_max)
            async with limit:
                value = await _Begun(coroutine, waits_for)
        else:
            async with limit:
                thread = _in_thread(lambda: handler.call(decoded, context))
                value = await asyncio.shield(thread)
        return encoded(value, result_bytes_max)
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise  # somebody ends this run; a CancelledError of the handler's own making is its failure
        return Outcome(failure=_unexpected(error), error=error)
    except BaseException as error:
        if limit.expired() and isinstance(error, TimeoutError):
            abandoned = thread if thread and not thread.done() else None
            return Outcome(failure=timed_out(handler), abandoned=abandoned)
        return Outcome(failure=failure_of(error), error=None if isinstance(error, JobError | TryLaterError) else error)
    finally:
        current.reset(token)


class _Begun:
    """A coroutine that has been started and *waits_for* something; awaiting this goes on with it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine, self._waits_for = coroutine, waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    answer = yield waits_for
                except BaseException as error:
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(answer)
        except StopIteration as ended:
            return ended.value


async def _in_process(handler: Handler, payload: bytes, context: JobContext, result_bytes_max: int) -> Outcome:
    from golive.jobs.process import HandlerProcessError, run_in_process  # only who isolates needs it

    ended = await run_in_process(handler, payload, context, result_bytes_max)
    return Outcome(ended.result, ended.failure, HandlerProcessError(ended.traceback) if ended.traceback else None)


def timed_out(handler: Handler) -> Failure:
    """The failure of a run that was longer than its time-out."""
    message = f"the job ran longer than {format_duration(handler.timeout)}"
    return Failure("timeout", message, status=504, retryable=handler.retry_on_timeout)


def encoded(value: Any, result_bytes_max: int) -> Outcome:
    """
    The outcome of a handler that returned *value*.

    Raises: TypeError when JSON cannot hold it.
    """
    result = encode_result(value)
    if len(result) > result_bytes_max:
        message = f"the result has {len(result)} bytes, more than the {result_bytes_max} allowed"
        return Outcome(failure=Failure("result_too_large", message))
    return Outcome(result=result)


def failure_of(error: BaseException) -> Failure:
    """The failure of a run that raised *error*."""
    if isinstance(error, JobError):
        return Failure(error.code, error.message, error.status, error.retryable)
    if isinstance(error, InvalidPayloadError):  # stored by a version of the handler that took another shape
        return Failure("payload_invalid", str(error), status=400, wait_seconds=0.0)
    if isinstance(error, TryLaterError):  # an open breaker's, too: what it depends on is away, which is not its fault
        wait = max(error.retry_after_seconds, WAIT_SECONDS_MIN)
        return Failure("not_now", error.told, status=503, retryable=True, wait_seconds=wait)
    return _unexpected(error)


def _unexpected(error: BaseException) -> Failure:
    """A client learns that it failed; what failed is for the operator alone, without anybody's data in it."""
    exception = redact_text("".join(traceback.format_exception_only(error)).strip())[:2000]
    return Failure("internal_error", "the job failed unexpectedly", retryable=True, exception=exception)


def _in_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """Daemon threads, one per run: an abandoned one neither starves a pool nor keeps the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def deliver(value: Any, error: BaseException | None) -> None:
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
            future.exception()  # seen: an abandoned run's error is nobody's surprise

    def main() -> None:
        value, error = None, None
        try:
            value = context.run(call)
        except BaseException as raised:
            error = RuntimeError(f"StopIteration: {raised}") if isinstance(raised, StopIteration) else raised
        try:
            loop.call_soon_threadsafe(deliver, value, error)
        except RuntimeError:
            logger.warning("job.thread_outlived_the_worker")

    threading.Thread(target=main, name="golive-job", daemon=True).start()
    return future
