"""Counters kept by hand: one version healthy, the other as the test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Hand:
    """Cumulative counters; every step is ten seconds with 100 requests on each version."""

    t: float = 0.0
    stage: int = 0
    weight: float = 0.1
    stage_age: float = 0.0
    requests: Any = field(default_factory=lambda: [[0.0], [0.0]])
    errors: Any = field(default_factory=lambda: [[0.0], [0.0]])
    latency: Any = None

    def step(self, canary: float = 0.0, stable: float = 0.0, requests: float = 100.0) -> Hand:
        """Ten more seconds with these shares of failures."""
        self.t += 10
        self.stage_age += 10
        for version, rate in ((0, stable), (1, canary)):
            self.requests[version][0] += requests
            self.errors[version][0] += requests * rate
        return self

    def promote(self, weight: float) -> None:
        """The next stage."""
        self.stage, self.weight, self.stage_age = self.stage + 1, weight, 0.0


@pytest.fixture
def hand() -> Hand:
    """Counters at the start of a rollout."""
    return Hand()


@pytest.fixture
def minute(hand: Hand) -> Callable[..., Any]:
    """Six steps; the judge's last answer."""

    def run(judge: Any, canary: float = 0.0, **more: Any) -> Any:
        for _ in range(6):
            decision = judge.observe(hand.step(canary, **more))
        return decision

    return run
