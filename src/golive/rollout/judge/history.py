"""
Stable before the canary: the newest ticks one by one (for clumping), everything older as one sum (for rates and tails).
"""

from __future__ import annotations

from typing import Any

from golive.rollout.judge.reading import STABLE, Tick

TICKS_MAX = 120
"""Ticks kept apart; at ten seconds these are twenty minutes, enough to see how errors clump."""
CARRY_MAX = 100_000.0
"""What happened before the first look counts as at most this many requests: it may be days old."""


class History:
    """Collects stable's ticks until the thresholds are frozen."""

    def __init__(self, routes: int, buckets: int) -> None:
        self.carry: dict[str, list[float]] = {
            "requests": [0.0] * routes,
            "errors": [0.0] * routes,
            "latency": [0.0] * buckets,
        }
        self.ticks: list[dict[str, Any]] = []

    def begin(self, counters: dict[str, Any]) -> None:
        """Take stable's counters at the first look as history, scaled down when there is very much of it."""
        scale = min(1.0, CARRY_MAX / max(sum(counters["requests"][STABLE]), 1.0))
        self.carry = {name: [value * scale for value in counters[name][STABLE]] for name in self.carry}

    def add(self, tick: Tick) -> None:
        """Add one tick before the start."""
        self.ticks.append({
            "seconds": tick.seconds, "requests": tick.requests[STABLE], "errors": tick.errors[STABLE],
            "latency": tick.latency[STABLE], "units": tick.units[STABLE] if tick.units else None,
        })  # fmt: skip
        if len(self.ticks) > TICKS_MAX:
            oldest = self.ticks.pop(0)
            for name, sums in self.carry.items():
                self.carry[name] = [held + new for held, new in zip(sums, oldest[name], strict=True)]

    def latency(self) -> list[float]:
        """Stable's histogram over all of it, (buckets,)."""
        rows = [self.carry["latency"], *(tick["latency"] for tick in self.ticks)]
        return [sum(column) for column in zip(*rows, strict=True)]

    def replay(self, *, units: bool) -> list[Tick]:
        """
        The history as ticks with an idle canary, oldest first, the carry in front.

        Args:
            units: whether failures are counted in units; then the carry says nothing about them and is left out.
        """
        ticks = [] if units else [{"seconds": 0.0, "units": None, **self.carry}]
        return [_as_tick(each) for each in (*ticks, *self.ticks)]

    def to_dict(self) -> dict[str, Any]:
        """The state, as plain JSON."""
        return {"carry": self.carry, "ticks": self.ticks}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.__dict__.update(state)


def _as_tick(saved: dict[str, Any]) -> Tick:
    def idle(row: list[float]) -> list[float]:
        return [0.0] * len(row)

    requests, errors, latency = ((saved[name], idle(saved[name])) for name in ("requests", "errors", "latency"))
    units = (tuple(saved["units"]), (0.0, 0.0)) if saved["units"] else None
    return Tick(-1.0, saved["seconds"], -1, 0.0, 0.0, requests, errors, latency, units)
