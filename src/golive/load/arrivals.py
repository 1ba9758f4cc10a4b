"""
When requests are meant to leave. Pure: a plan in, offsets in seconds out.

Each stage has a cumulative count N(t); arrival k leaves where N(t) = k (constant) or where N(t) reaches the k-th point
of a Poisson process of rate one. Times are computed, never accumulated, so an hour of constant load ends on the
microsecond.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from golive.load.plan import LoadPlan, Stage


def intended_times(plan: LoadPlan) -> Iterator[float]:
    """Seconds after the start, ascending; endless when a stage is."""
    points = _poisson_points(plan.seed) if plan.arrivals == "poisson" else _even_points()
    point = next(points)
    before, count_before, rate_before = 0.0, 0.0, 0.0
    for stage in plan.steps:
        from_rate = rate_before if stage.ramp else stage.rate
        total = (from_rate + stage.rate) / 2 * stage.duration if stage.rate or from_rate else 0.0
        while point - count_before < total:
            yield before + _moment(point - count_before, from_rate, stage)
            point = next(points)
        before, count_before, rate_before = before + stage.duration, count_before + total, stage.rate


def planned_duration(plan: LoadPlan) -> float:
    """The length of all stages in seconds; infinite when the run ends only by being stopped."""
    return sum(stage.duration for stage in plan.steps)


def _moment(count: float, from_rate: float, stage: Stage) -> float:
    """The time within *stage* at which *count* requests are due: the inverse of r0 t + (r1 - r0) t^2 / 2T."""
    if from_rate == stage.rate:
        return count / stage.rate
    slope = (stage.rate - from_rate) / stage.duration
    # The stable form of the quadratic formula: no cancellation when the slope is small.
    rate_then = math.sqrt(max(from_rate * from_rate + 2 * slope * count, 0.0))
    return 2 * count / (from_rate + rate_then) if count > 0 else 0.0


def _even_points() -> Iterator[float]:
    number = 0
    while True:
        yield float(number)
        number += 1


def _poisson_points(seed: int) -> Iterator[float]:
    draw = random.Random(seed).expovariate  # noqa: S311 - arrival times, not secrets
    point = draw(1.0)
    while True:
        yield point
        point += draw(1.0)
