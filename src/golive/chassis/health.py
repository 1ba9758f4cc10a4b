"""
Readiness checks that run in the background, so that a probe is answered from memory.

A check that hangs costs one task, not one per probe; a check that flaps does not take the instance out, because it
must fail ``fail`` times in a row (and pass ``ok`` times to come back). Liveness looks at no check: restarting does not
mend a database.

    unknown --ok passes--> pass --fail failures--> fail --ok passes--> pass
       +-------fail failures-----------------------^
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

#: How long to wait between two runs of a check that holds the start, however rarely it runs later.
HELD_SECONDS = 0.5

#: Numbers of one check that are shown.
SHOWN_MAX = 32

CheckFunction = Callable[[], Awaitable[object] | object]


class Check:
    """
    One thing this instance needs in order to serve.

    Args:
        name: shown in the answer; any text.
        function: async or plain; passes by returning anything but False, fails by raising or returning False. A plain
            function runs in a thread. A dictionary it returns is shown to everybody in ``/api/status``.
        timeout: seconds one run may take, > 0.
        every: seconds between the ends of two runs, > 0.
        fail: failures in a row before the check counts as failed, >= 1.
        ok: passes in a row before it counts as passed, >= 1.
        startup: the start is not over before it has passed once.
        needed: the instance is not ready while it fails; otherwise it only warns.
    """

    def __init__(
        self,
        name: str,
        function: CheckFunction,
        *,
        timeout: float,
        every: float,
        fail: int,
        ok: int,
        startup: bool = False,
        needed: bool = True,
    ) -> None:
        self.name = name
        self.function = function
        self.timeout = timeout
        self.every = every
        self.fail = fail
        self.ok = ok
        self.startup = startup
        self.needed = needed
        self.passed_once = False
        self.status = "unknown"
        self.output = "not run yet"
        self.observed_at = 0.0
        self.seconds = 0.0
        self.shown: dict[str, Any] = {}
        self._passes = 0
        self._failures = 0
        self._pending: asyncio.Future[object] | None = None

    def observe(self, passed: bool, output: str = "") -> bool:
        """Take one result in; True when :attr:`status` changed by it."""
        before = self.status
        if passed:
            self._passes, self._failures = self._passes + 1, 0
            if self._passes >= self.ok:
                self.status, self.passed_once = "pass", True
        else:
            self._passes, self._failures = 0, self._failures + 1
            if self._failures >= self.fail:
                self.status = "fail"
        self.output = output
        return self.status != before

    async def run_once(self) -> bool:
        """Run the function with its time-out and :meth:`observe` the result; True when the status changed."""
        began = time.monotonic()
        passed, output = await self._outcome()
        self.seconds, self.observed_at = time.monotonic() - began, time.time()
        return self.observe(passed, output)

    async def _outcome(self) -> tuple[bool, str]:
        """A run that outlives its time-out is cancelled; while it will not die no second one is started beside it."""
        if self._pending is not None and not self._pending.done():
            await asyncio.wait({self._pending}, timeout=self.timeout)
            if not self._pending.done():
                return False, "the run before this one still hangs"
        self._pending = asyncio.ensure_future(self._call())
        await asyncio.wait({self._pending}, timeout=self.timeout)
        if not self._pending.done():
            self._pending.cancel()
            return False, f"no answer within {self.timeout:g} s"
        if self._pending.cancelled():
            return False, "cancelled"
        error = self._pending.exception()
        if error is not None:
            return False, f"{type(error).__name__}: {error}"
        result = self._pending.result()
        self.shown = _plain(result) if isinstance(result, Mapping) else {}
        return (False, "returned False") if result is False else (True, "")

    async def _call(self) -> object:
        if inspect.iscoroutinefunction(self.function):
            return await self.function()
        outcome = await asyncio.to_thread(self.function)
        return await outcome if inspect.isawaitable(outcome) else outcome

    def cancel(self) -> None:
        """Give up a run that is still pending."""
        if self._pending is not None and not self._pending.done():
            self._pending.cancel()


def _plain(result: Mapping[Any, Any]) -> dict[str, Any]:
    """The numbers and short texts in *result*, of which there are few."""
    kept = [(str(name)[:64], value) for name, value in result.items() if isinstance(value, int | float | str | None)]
    return {name: value[:64] if isinstance(value, str) else value for name, value in kept[:SHOWN_MAX]}


class Checks:
    """
    All checks of one service, and the tasks that run them.

    Args:
        on_change: called with the check after its status changed.
    """

    def __init__(self, on_change: Callable[[Check], None]) -> None:
        self._checks: dict[str, Check] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._on_change = on_change
        self._running = False

    def __iter__(self) -> Any:
        return iter(list(self._checks.values()))

    def add(self, check: Check) -> None:
        """Register *check*; one of the same name replaces the earlier (hot reload)."""
        self._checks[check.name] = check
        if self._running:
            self._start_one(check)

    def start(self) -> None:
        """Begin running the checks on the current event loop. Safe to call twice."""
        self._running = True
        for check in self:
            if check.name not in self._tasks:
                self._start_one(check)

    def stop(self) -> None:
        """Stop running them; their last status stays."""
        self._running = False
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        for check in self:
            check.cancel()

    @property
    def ready(self) -> bool:
        """Whether every check that is needed passes."""
        return all(check.status == "pass" for check in self._checks.values() if check.needed)

    @property
    def holding(self) -> bool:
        """Whether a check that belongs to the start has never passed."""
        return any(check.startup and not check.passed_once for check in self._checks.values())

    def _start_one(self, check: Check) -> None:
        old = self._tasks.pop(check.name, None)
        if old is not None:
            old.cancel()
        self._tasks[check.name] = asyncio.get_running_loop().create_task(self._run(check), name=f"check {check.name}")

    async def _run(self, check: Check) -> None:
        while True:
            if await check.run_once():
                self._on_change(check)
            holds = check.startup and not check.passed_once
            await asyncio.sleep(min(check.every, HELD_SECONDS) if holds else check.every)
