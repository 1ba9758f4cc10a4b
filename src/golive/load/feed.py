"""
Which request is next, and when: on a schedule (open loop) or when a user is ready again (closed loop).

Both answer the same five questions for the engine. Moments are on the engine's clock, in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from golive.load.arrivals import intended_times, planned_duration
from golive.load.plan import LoadPlan
from golive.load.share import Share

_LATE_SECONDS = 0.1  # what is not out this long after it was due, when the run ends, was never sent
_BACKOFF_SECONDS = 0.1  # a user that met a broken connection waits before the next try
_NOTHING_SOON = 1.0


class Feed(Protocol):
    """Where the engine's requests come from. *duration*: the planned length in seconds, possibly infinite."""

    duration: float

    def take(self, now: float) -> tuple[float, int] | None:
        """The next request due at *now* as (intended moment, user), or None."""
        ...

    def next_at(self, now: float) -> float:
        """When :meth:`take` is worth asking again, as far as is known."""
        ...

    def over(self, now: float) -> bool:
        """Nothing will come any more."""
        ...

    def settled(self, user: int, now: float, broken: bool) -> None:
        """The request of *user* ended; *broken*: without an answer."""
        ...

    def asked(self, ended: float, started: int, limit: int | None) -> int:
        """How many requests were due by *ended*, given how many were *started*."""
        ...


class OpenLoop:
    """Arrivals at fixed moments; answers change nothing."""

    def __init__(self, plan: LoadPlan, origin: float, share: Share) -> None:
        self.duration = planned_duration(plan)
        self._origin = origin
        self._offsets: Iterator[float] = share.of_schedule(intended_times(plan))
        self._next: float | None = next(self._offsets, None)

    def take(self, now: float) -> tuple[float, int] | None:
        """See :class:`Feed`."""
        offset = self._next
        if offset is None or self._origin + offset > now:
            return None
        self._next = next(self._offsets, None)
        return self._origin + offset, -1

    def next_at(self, now: float) -> float:
        """See :class:`Feed`."""
        return self._origin + (self._next if self._next is not None else self.duration)

    def over(self, now: float) -> bool:
        """See :class:`Feed`. Requests the generator is late with get a moment longer."""
        return now >= self._origin + self.duration + (_LATE_SECONDS if self._next is not None else 0.0)

    def settled(self, user: int, now: float, broken: bool) -> None:
        """See :class:`Feed`."""

    def asked(self, ended: float, started: int, limit: int | None) -> int:
        """See :class:`Feed`. Those started, and those the generator did not get to though it had a moment."""
        until = ended - _LATE_SECONDS
        while self._next is not None and self._origin + self._next < until and (limit is None or started < limit):
            self._next = next(self._offsets, None)
            started += 1
        return started


class ClosedLoop:
    """N users; each sends again when its answer is there."""

    def __init__(self, plan: LoadPlan, origin: float, share: Share) -> None:
        assert plan.concurrency is not None, "a closed loop has users"
        self.duration = planned_duration(plan)
        self._origin = origin
        self._ready: deque[int] = deque(range(share.of_total(plan.concurrency)))
        self._paused: deque[tuple[float, int]] = deque()  # in order: all pauses are equally long

    def take(self, now: float) -> tuple[float, int] | None:
        """See :class:`Feed`."""
        while self._paused and self._paused[0][0] <= now:
            self._ready.append(self._paused.popleft()[1])
        return (now, self._ready.popleft()) if self._ready else None

    def next_at(self, now: float) -> float:
        """See :class:`Feed`."""
        if self._ready:
            return now
        return self._paused[0][0] if self._paused else now + _NOTHING_SOON

    def over(self, now: float) -> bool:
        """See :class:`Feed`."""
        return now >= self._origin + self.duration

    def settled(self, user: int, now: float, broken: bool) -> None:
        """See :class:`Feed`."""
        if broken:
            self._paused.append((now + _BACKOFF_SECONDS, user))
        else:
            self._ready.append(user)

    def asked(self, ended: float, started: int, limit: int | None) -> int:
        """See :class:`Feed`. A closed loop asks for exactly what it does."""
        return started
