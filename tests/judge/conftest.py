"""A small plain world: counters kept by hand, without numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from golive.rollout import Judge

BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0)
SLO = {
    "error_rate": {"target": "<= 1%", "alert_if": "> 2%"},
    "latency_p95": {"target": "<= 200ms", "alert_if": "> 500ms"},
}
USUAL = (0.50, 0.30, 0.15, 0.04, 0.009, 0.001)


@dataclass
class World:
    """Cumulative counters of two versions; every step adds exact, evenly spread counts."""

    plan: tuple[float, ...] = (0.1, 0.5, 1.0)
    tick_s: float = 10.0
    t: float = -600.0
    stage: int = -1
    weight: float = 0.0
    stage_age: float = 0.0
    requests: list[list[float]] = field(default_factory=lambda: [[0.0], [0.0]])
    errors: list[list[float]] = field(default_factory=lambda: [[0.0], [0.0]])
    latency: list[list[float]] = field(default_factory=lambda: [[0.0] * 6, [0.0] * 6])
    units: Any = None
    bad_units: Any = None
    values: Any = None
    epoch: str = "a"
    owed: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def start(self) -> None:
        """The canary gets its first traffic."""
        self.t, self.stage, self.weight, self.stage_age = 0.0, 0, self.plan[0], 0.0

    def step(self, rps: float = 100.0, stable: float = 0.001, canary: float = 0.001, slow: float = 0.0) -> World:
        """One tick: error rates of both versions; *slow* is the share of canary requests moved above 0.5 s."""
        self.t += self.tick_s
        if self.stage >= 0:
            self.stage_age += self.tick_s
        shape = [share * (1 - slow) + (slow if i == 4 else 0.0) for i, share in enumerate(USUAL)]
        for version, (share, rate, buckets) in enumerate(
            ((1 - self.weight, stable, USUAL), (self.weight, canary, shape))
        ):
            n = rps * self.tick_s * share
            self.owed[version] += n * rate
            failed = int(self.owed[version])
            self.owed[version] -= failed
            self.requests[version][0] += n
            self.errors[version][0] += failed
            self.latency[version] = [held + n * part for held, part in zip(self.latency[version], buckets, strict=True)]
        return self

    def take_over(self) -> World:
        """One tick of which nobody counted a request: whoever counts began anew, and the counters go on from there."""
        self.t += self.tick_s
        self.stage_age += self.tick_s
        self.epoch += "+"
        return self

    def promote(self) -> None:
        """The next stage begins."""
        self.stage += 1
        self.weight, self.stage_age = self.plan[self.stage], 0.0


def make_judge(**options: Any) -> Judge:
    """A judge for a :class:`World`."""
    settings: dict[str, Any] = {"plan": (0.1, 0.5, 1.0), "slo": SLO, "tick_s": 10.0, "histogram_bounds": BOUNDS}
    return Judge(**{**settings, "routes": ("GET /a",), **options})


@pytest.fixture
def world() -> World:
    """Ten minutes of history are still to come."""
    return World()


def with_history(world: World, judge: Judge, **step: float) -> None:
    """Ten minutes of stable alone, then the start."""
    while world.t < 0:
        judge.observe(world)
        world.step(**step)
    judge.observe(world)
    world.start()
