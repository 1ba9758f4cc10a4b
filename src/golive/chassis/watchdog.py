"""
Notices an event loop that somebody blocked.

A blocked loop cannot answer ``/livez``, and a probe that times out says so to the orchestrator by itself. What it
cannot say is who did it: a thread compares the loop's heartbeat with the clock, and when it is late writes one line
with the stack the loop is stuck in. After a stall longer than the limit ``/livez`` fails for as long again, so that a
loop that keeps stalling is restarted even if probes happen to fall between the stalls.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable

BEAT_SECONDS = 0.25


class Watchdog:
    """
    Args:
        stall_max_seconds: a heartbeat this late is a stall, > 0.
        on_stall: called from the watching thread, once per stall, with its length so far and where the loop is stuck.

    Attributes:
        lag_seconds: how late the last heartbeat was.
        stalls: stalls seen so far.
    """

    def __init__(self, stall_max_seconds: float, on_stall: Callable[[float, str], None]) -> None:
        self._stall_max = stall_max_seconds
        self._on_stall = on_stall
        self._beat_due = 0.0
        self._stall_seconds = 0.0
        self._stall_ended = float("-inf")
        self._handle: asyncio.TimerHandle | None = None
        self._stop = threading.Event()
        self._loop_thread = 0
        self.lag_seconds = 0.0
        self.stalls = 0

    def start(self) -> None:
        """Watch the running loop. Safe to call twice."""
        if self._handle is None:
            self._loop_thread = threading.get_ident()
            self._stop = threading.Event()
            self._schedule(asyncio.get_running_loop())
            threading.Thread(target=self._watch, args=(self._stop,), name="golive-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def stalled_seconds(self, now: float) -> float:
        """The length of a stall that ended less than the limit ago, otherwise 0. *now* is monotonic."""
        return self._stall_seconds if now - self._stall_ended < self._stall_max else 0.0

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat_due = time.monotonic() + BEAT_SECONDS
        self._handle = loop.call_later(BEAT_SECONDS, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        self.lag_seconds = max(0.0, now - self._beat_due)
        if self.lag_seconds > self._stall_max:
            self._stall_seconds, self._stall_ended = self.lag_seconds, now
        self._schedule(loop)

    def _watch(self, stop: threading.Event) -> None:
        told_about = 0.0
        while not stop.wait(min(self._stall_max / 4, 1.0)):
            late = time.monotonic() - self._beat_due
            if late > self._stall_max and told_about != self._beat_due:
                told_about = self._beat_due
                self.stalls += 1
                self._on_stall(late, self._stack())

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame, limit=8)) if frame is not None else ""
