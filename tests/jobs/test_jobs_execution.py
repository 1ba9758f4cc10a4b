"""One run of an ``async def`` handler: it is begun before its timer is, and goes on like any coroutine."""

from __future__ import annotations

import asyncio
import contextvars
from datetime import timedelta
from typing import Any

import pytest

from golive.jobs import JobContext
from golive.jobs.execution import Outcome, execute
from golive.jobs.handlers import Function, describe
from golive.jobs.model import new_job_id

here: contextvars.ContextVar[str] = contextvars.ContextVar("here", default="nobody")


async def run(function: Function, seconds: float = 60.0) -> Outcome:
    handler = describe(
        function, "it", queue="default", attempts_max=1, timeout=timedelta(seconds=seconds), concurrency=None,
        retry_on_timeout=False,
    )  # fmt: skip
    return await execute(handler, b"1", JobContext(new_job_id(), "it"), 1000)


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Grows with every timer the loop is asked for."""
    loop, asked = asyncio.get_running_loop(), list[float]()
    real = loop.call_at

    def counting(when: float, *arguments: Any, **named: Any) -> asyncio.TimerHandle:
        asked.append(when)
        return real(when, *arguments, **named)

    monkeypatch.setattr(loop, "call_at", counting)
    return asked


async def test_a_handler_that_never_waits_needs_no_timer(timers: list[float]) -> None:
    """No time-out could reach it; its return value and its exception are the outcome all the same."""

    async def quick() -> int:
        return 7

    async def wrong() -> int:
        raise ValueError("no")

    assert (await run(quick)).result == b"7"
    assert (await run(wrong)).failure is not None
    assert timers == []


async def test_a_handler_that_waits_goes_on_where_it_was(timers: list[float]) -> None:
    """What it awaits answers, raises, or is nothing but a turn of the loop; under one timer."""
    loop = asyncio.get_running_loop()

    async def waits() -> list[object]:
        here.set("inside")
        seen: list[object] = [await asyncio.sleep(0, "turn")]
        good, bad = loop.create_future(), loop.create_future()
        loop.call_soon(good.set_result, "answer")
        seen.append(await good)
        loop.call_soon(bad.set_exception, KeyError("gone"))
        try:
            await bad
        except KeyError as error:
            seen.append(str(error))
        seen += [here.get(), asyncio.current_task() is task]
        return seen

    task = asyncio.current_task()
    assert (await run(waits)).result == b'["turn","answer","\'gone\'","inside",true]'
    assert len(timers) == 1


async def test_its_time_out_reaches_it_where_it_waits() -> None:
    """It may clean up; what it makes of that is not asked."""
    cleaned = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    outcome = await run(slow, seconds=0.01)
    assert outcome.failure is not None
    assert (outcome.failure.code, cleaned) == ("timeout", [True])


async def test_who_cancels_the_run_cancels_the_handler() -> None:
    """And the caller learns that it was cancelled."""
    begun, ended = asyncio.Event(), []

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    task = asyncio.create_task(run(slow))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]


async def test_a_time_out_inside_the_handler_is_its_own() -> None:
    """It is caught where it belongs, and the run goes on."""

    async def patient() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "went on"
        return "never"

    assert (await run(patient)).result == b'"went on"'


async def test_an_inner_time_out_that_is_armed_before_the_first_wait_holds_as_well() -> None:
    """It belongs to the same task."""

    async def strict() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    outcome = await run(strict)
    assert outcome.failure is not None
    assert outcome.failure.code == "internal_error"
