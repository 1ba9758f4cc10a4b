"""
Virtual time for asyncio: a loop whose clock jumps to the next thing that is due, so that a day of soak takes a blink.

Only timers make time pass. Code that waits for real I/O or for threads does not belong in a virtual loop and would
see time stand still.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""When every simulation begins: a Monday morning."""


class StandstillError(RuntimeError):
    """Nothing will ever happen again, and somebody still waits: a deadlock."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: what would have been waited for is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise StandstillError("every task waits and no timer is set")
            self.passed += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, starting at 0 s."""

    def __init__(self) -> None:
        self._jumper = _JumpingSelector()
        super().__init__(self._jumper)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumper.passed


class VirtualClock:
    """A :class:`golive.timing.Clock` of the running virtual loop. *offset* lets the wall clock be wrong."""

    def __init__(self, offset: timedelta = timedelta(0)) -> None:
        self.offset = offset

    def now(self) -> datetime:
        """The simulated wall clock."""
        return START + self.offset + timedelta(seconds=round(self.monotonic(), 6))

    def monotonic(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Virtual sleep."""
        await asyncio.sleep(seconds)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* to its end in a fresh virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
