"""
Stops calling what is failing: a circuit breaker, one state for the whole fleet.

    closed --failures >= ratio of >= calls_min in the window--> open --open_for--> half-open
       ^                                                         ^                    |
       +---- every probe passed ---------------------------------+--- a probe failed -+

Calls are counted in each process and the state is shared (Redis or Valkey): what one process learns, the others obey
within a second. Admission is a comparison in memory; only half-open asks the server, which hands out exactly *probes*
calls to all processes together. Without the server each process decides for itself and says so in a counter.

Failures are exceptions, time-outs among them. A cancellation says nothing, and an exception that carries an answer
below 500 (``error.response.status_code``, as httpx and requests have) proves that the other side is alive.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from golive.errors import TryLaterError

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.stores.redisbreakers import RedisBreakers

#: How old the shared state may be before it is asked for again, in the background and by the caller.
FRESH_SECONDS, STALE_SECONDS = 0.4, 0.8
#: A probe that has not been heard of for this long is lost with its process, and given out again.
PROBE_LEASE_SECONDS = 30.0
#: Slots the window is made of; what is older than the window by a slot is forgotten.
SLOTS = 10


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """
    When to open and for how long.

    Attributes:
        failure_ratio: share of failures, 0..1, at which it opens.
        calls_min: calls in the window below which nothing is concluded.
        window_seconds: the look-back.
        open_seconds: how long nobody calls.
        probes: calls that must pass before everybody calls again; a fleet makes exactly that many.
    """

    failure_ratio: float = 0.5
    calls_min: int = 10
    window_seconds: float = 30.0
    open_seconds: float = 5.0
    probes: int = 1


class BreakerOpenError(TryLaterError):
    """The breaker is open: nothing was called. Outside a fallback of yours it becomes 503 with Retry-After."""


class Call:
    """One call through a breaker; what ``async with`` gives."""

    __slots__ = ("failed", "generation", "phase")

    def __init__(self, generation: int, phase: int | None) -> None:
        self.generation = generation
        self.phase = phase
        self.failed: bool | None = None

    def answered(self, status: int) -> None:
        """Say which HTTP status came: 500 and above is a failure. For clients that do not raise."""
        self.failed = status >= 500


class Window:
    """Calls and failures of the last seconds, in slots."""

    def __init__(self, seconds: float) -> None:
        self._slot_seconds = seconds / SLOTS
        self.clear()

    def add(self, now: float, failed: bool) -> None:
        """Count one call."""
        slot = self._forget(now)
        self._calls[slot] += 1
        self._failures[slot] += failed

    def totals(self, now: float) -> tuple[int, int]:
        """Calls and failures."""
        self._forget(now)
        return sum(self._calls), sum(self._failures)

    def clear(self) -> None:
        """Begin afresh."""
        self._calls, self._failures, self._at = [0] * SLOTS, [0] * SLOTS, 0

    def _forget(self, now: float) -> int:
        at = int(now / self._slot_seconds)
        for passed in range(self._at + 1, min(at, self._at + SLOTS) + 1):
            self._calls[passed % SLOTS] = self._failures[passed % SLOTS] = 0
        self._at = max(at, self._at)
        return self._at % SLOTS


class Breaker:
    """
    ``async with chassis.breaker("payments"): await client.post(...)``.

    Args:
        shared: the state of all processes; None when each has its own.
        now: monotonic seconds.
    """

    def __init__(
        self,
        chassis: Chassis,
        name: str,
        rules: BreakerRules,
        shared: RedisBreakers | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.rules = rules
        self._chassis = chassis
        self._shared = shared
        self._now = now
        self._window = Window(rules.window_seconds)
        self._open_until: float | None = None
        self._unpublished = False
        self._generation = 0
        self._granted, self._granted_at, self._passed = 0, 0.0, 0
        self._seen_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._calls: ContextVar[tuple[Call, ...]] = ContextVar(f"golive_breaker_{name}", default=())
        metrics = chassis.metrics
        self._state = metrics.gauge("breaker_state", "0 closed, 1 open, 2 half-open.", ("breaker",), across="max")
        self._opened = metrics.counter("breaker_opened_total", "Times it opened here.", ("breaker",))
        self._outcomes = metrics.counter("breaker_calls_total", "Calls by outcome.", ("breaker", "outcome"))
        self._store_errors = metrics.counter(
            "breaker_store_errors_total", "Times the shared state could not be asked.", ("breaker",)
        )
        self._state.set(0.0, name)

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``, as this process knows it."""
        if self._open_until is None:
            return "closed"
        return "open" if self._now() < self._open_until else "half-open"

    async def __aenter__(self) -> Call:
        """Raises: BreakerOpenError at once, without calling anything, while it is open."""
        call = Call(self._generation, await self._admit())
        self._calls.set((*self._calls.get(), call))
        return call

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        *before, call = self._calls.get()
        self._calls.set(tuple(before))
        failed = _verdict(error) if error is not None else bool(call.failed)
        self._outcomes.inc(self.name, {True: "failure", False: "success", None: "cancelled"}[failed])
        if call.phase is not None:
            await self._probed(call.phase, failed)
        elif failed is not None and call.generation == self._generation and self._open_until is None:
            now = self._now()
            self._window.add(now, failed)
            if failed and self._is_too_much(now):
                await self._open()

    # ---- admission

    async def _admit(self) -> int | None:
        """None for an ordinary call, the phase for a probe. Raises: BreakerOpenError."""
        if self._shared is not None:
            await self._freshen(self._shared)
        if self._open_until is None:
            return None
        left = self._open_until - self._now()
        if left > 0:
            raise self._refusal(left)
        self._state.set(2.0, self.name)
        if self._shared is None:
            return self._probe_here()
        from golive.chassis.stores.redislink import StoreAwayError, StoreReplyError

        try:
            granted, value = await self._shared.probe(self.name, self.rules.probes, PROBE_LEASE_SECONDS)
        except (StoreAwayError, StoreReplyError):
            self._store_errors.inc(self.name)
            return self._probe_here()
        if granted == "closed":
            self._close()
            return None
        if granted == "wait":
            raise self._refusal(value)
        return int(value)

    def _probe_here(self) -> int:
        """A probe of this process alone; its phase is negative."""
        now = self._now()
        if self._granted >= self.rules.probes and now - self._granted_at < PROBE_LEASE_SECONDS:
            raise self._refusal(1.0)
        self._granted = 1 if self._granted >= self.rules.probes else self._granted + 1
        self._granted_at = now
        return -self._generation

    def _refusal(self, seconds: float) -> BreakerOpenError:
        self._outcomes.inc(self.name, "refused")
        return BreakerOpenError(
            f"breaker {self.name}: open for another {seconds:.1f} s.", "A service this one needs is failing.", seconds
        )

    # ---- outcomes

    def _is_too_much(self, now: float) -> bool:
        calls, failures = self._window.totals(now)
        return calls >= self.rules.calls_min and failures >= self.rules.failure_ratio * calls

    async def _open(self) -> None:
        self._note_open(self.rules.open_seconds)
        self._opened.inc(self.name)
        self._unpublished = self._shared is not None
        await self._publish()

    async def _publish(self) -> None:
        if self._shared is None or not self._unpublished or self._open_until is None:
            return
        from golive.chassis.stores.redislink import StoreAwayError, StoreReplyError

        try:
            left = await self._shared.open(self.name, max(0.001, self._open_until - self._now()))
        except (StoreAwayError, StoreReplyError):
            self._store_errors.inc(self.name)
            return
        self._unpublished, self._open_until, self._seen_at = False, self._now() + left, self._now()

    async def _probed(self, phase: int, failed: bool | None) -> None:
        if phase <= 0:
            self._probed_here(-phase, failed)
            return
        from golive.chassis.stores.redislink import StoreAwayError, StoreReplyError

        assert self._shared is not None, "a positive phase is the server's"
        try:
            state, left = await self._shared.probed(
                self.name, phase, failed, self.rules.probes, self.rules.open_seconds
            )
        except (StoreAwayError, StoreReplyError):
            self._store_errors.inc(self.name)
            self._probed_here(self._generation, failed)
            return
        self._seen_at = self._now()
        if state == "closed":
            self._close()
        else:
            self._note_open(left)

    def _probed_here(self, generation: int, failed: bool | None) -> None:
        if generation != self._generation:
            return
        if failed is None:
            self._granted -= 1
        elif failed:
            self._note_open(self.rules.open_seconds)
            self._opened.inc(self.name)
        else:
            self._passed += 1
            if self._passed >= self.rules.probes:
                self._close()

    # ---- the state and its copy of the shared one

    def _note_open(self, seconds: float) -> None:
        was_open = self._open_until is not None
        self._open_until = self._now() + seconds
        self._generation += 1
        self._granted = self._passed = 0
        self._state.set(1.0, self.name)
        if not was_open:
            self._say("open", "warning", seconds=round(seconds, 3))

    def _close(self) -> None:
        if self._open_until is None:
            return
        self._open_until, self._unpublished = None, False
        self._generation += 1
        self._window.clear()
        self._state.set(0.0, self.name)
        self._say("closed", "info")

    def _say(self, status: str, level: str, **more: object) -> None:
        self._chassis.log.event("breaker", level=level, breaker=self.name, status=status, **more)

    async def _freshen(self, shared: RedisBreakers) -> None:
        age = self._now() - self._seen_at
        if age < FRESH_SECONDS:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look(shared))
        if age >= STALE_SECONDS:
            await asyncio.shield(self._looking)

    async def _look(self, shared: RedisBreakers) -> None:
        from golive.chassis.stores.redislink import StoreAwayError, StoreReplyError

        await self._publish()
        generation = self._generation
        try:
            left = await shared.view(self.name)
        except (StoreAwayError, StoreReplyError):
            self._store_errors.inc(self.name)
            return
        self._seen_at = self._now()
        if generation != self._generation or self._unpublished:
            return  # it changed here while we asked
        if left is None:
            self._close()
        elif self._open_until is None:
            self._note_open(left)
        else:
            self._open_until = self._now() + left


def _verdict(error: BaseException) -> bool | None:
    """Whether *error* is a failure of the other side; None when it says nothing about it."""
    if not isinstance(error, Exception):
        return None
    status = getattr(getattr(error, "response", None), "status_code", None)
    return not (isinstance(status, int) and status < 500)


def rule_faults(name: str, rules: BreakerRules) -> list[str]:
    """Every reason why *rules* make no breaker."""
    place = f"breaker {name!r}"
    faults = []
    if not 0 < rules.failure_ratio <= 1:
        faults.append(f"{place}: failure_ratio: expected a share above 0 and up to 1, got {rules.failure_ratio!r}.")
    for label, value in (("calls_min", rules.calls_min), ("probes", rules.probes)):
        if value < 1:
            faults.append(f"{place}: {label}: expected a whole number >= 1, got {value!r}.")
    for label, seconds in (("window", rules.window_seconds), ("open_for", rules.open_seconds)):
        if not 0 < seconds < math.inf:
            faults.append(f"{place}: {label}: expected a duration > 0s, got {seconds:g} s.")
    if not name or len(name) > 64 or not name.isprintable() or " " in name:
        faults.append(f"{place}: expected a name of 1 to 64 printable characters without spaces.")
    return faults
