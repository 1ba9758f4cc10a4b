"""
What a plan can see before it is begun: which regressions each stage finds at a given traffic, and how long it takes.

Nothing is derived a second time. The judge itself is fed with expected counts instead of real ones, on the plan's own
schedule, and asked what it says:

- *Expected counts.* At rate r and weight w, both versions get exactly r(1-w) and rw requests per second, and stable
  fails at its usual ratio. The wealth of the judge's bets then grows as it does on average.
- *Four cases in five.* The candidate's failures are those of a rather lucky one: ``m - 0.84 sqrt(m(1-p))`` where m are
  expected, which four rollouts in five exceed (the 20 % quantile, normal approximation; nothing below 0.7 expected).
- *Since the start.* A regression of ratio p is there from the first request. "Found by the end of stage k" counts what
  all stages up to k showed within their floors, as the judge does.
- Late in a long stage a look is longer than a tick, which makes the answer a little too cautious.

Left out: latency (its tail is given a usual shape and never changes), clumps of failures, days that differ. Take the
figures for the right order, not for a promise; the tests hold them against simulated traffic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from golive.rollout.judge import Action, Decision, Judge

STEPS = 30
"""A look is a tick long, or this part of the stage's age when that is more: a day of soak takes some two hundred."""
Z_80 = 0.8416
"""Four in five lie above the mean minus this many standard deviations."""
LADDER = tuple(round(10 ** (exponent / 8), 3) for exponent in range(1, 25))
"""Multiples of stable's failures that are tried: 1.3 times to 1000 times."""
HISTORY_S = 600.0
BROKEN_RATIO = 0.5
"""Of a broken build's requests fail: the case every rollout must catch quickly."""
ERROR_RATIO_MIN = 0.0005
"""A stable version that never failed yet is taken to fail this often: the judge tells nothing smaller apart."""
_MEDIAN_S, _SIGMA = 0.08, 0.6
"""Latency is lognormal, like most: only its shape matters, since thresholds are quantiles of stable's own."""


@dataclass(frozen=True)
class Traffic:
    """
    What the service gets.

    Attributes:
        rate: requests per second, both versions together, > 0.
        error_ratio: share of stable's requests that fail, 0..1.
    """

    rate: float
    error_ratio: float = 0.001

    @property
    def usual(self) -> float:
        """The failing share that is reckoned with, above 0."""
        return min(max(self.error_ratio, ERROR_RATIO_MIN), 0.5)


@dataclass(frozen=True)
class StagePower:
    """
    One stage at some traffic. Times are seconds since the candidate's first request.

    Attributes:
        per_minute: requests the candidate gets.
        requests: the same within the floor.
        finds: the smallest failing share that is found by the end of the floor in four cases of five; None when not
            even a build that fails every request is, or when nothing is left to compare with (100 %).
        done_s: when a good release is expected to have passed; None when the evidence will not suffice by the ceiling.
    """

    per_minute: float
    requests: float
    finds: float | None
    done_s: float | None


@dataclass(frozen=True)
class Broken:
    """What a build costs of which half of the requests fail: seconds until it is taken back, and failures by then."""

    seconds: float
    failed: float
    stage: int


@dataclass(frozen=True)
class Power:
    """The answer for a whole plan; *broken* is None when its floors are over before it is found."""

    stages: tuple[StagePower, ...]
    broken: Broken | None


@dataclass
class _Look:
    """A snapshot of expected counts."""

    t: float
    stage: int
    weight: float
    stage_age: float
    requests: list[list[float]]
    errors: list[list[float]]
    latency: list[list[float]]


def power_of(make: Callable[[], Judge], floors: Sequence[float], ceilings: Sequence[float], traffic: Traffic) -> Power:
    """
    What the judge that *make* makes can tell at *traffic*.

    Args:
        floors, ceilings: seconds, one per stage of the judge's plan.
    """
    world = _World(make, floors, ceilings, traffic)
    passed = world.good()
    stages = tuple(
        StagePower(
            60 * traffic.rate * weight,
            traffic.rate * weight * floors[stage],
            world.smallest(stage) if weight < 1 else None,
            passed[stage],
        )
        for stage, weight in enumerate(world.plan)
    )
    return Power(stages, world.broken())


class _World:
    """One plan at one traffic. Every run begins with a judge that has watched stable for ten minutes."""

    def __init__(
        self, make: Callable[[], Judge], floors: Sequence[float], ceilings: Sequence[float], traffic: Traffic
    ) -> None:
        self.floors, self.ceilings, self.traffic = list(floors), list(ceilings), traffic
        judge = make()
        self.plan, self.tick_s = judge.plan, judge.tick_s
        self.shape = latency_shape(judge.bounds)
        self.routes = len(judge.routes)
        self._teach(judge)
        self._taught = judge.to_dict()
        self._found: dict[float, tuple[float, float, int] | None] = {}

    # ---- questions

    def smallest(self, stage: int) -> float | None:
        """The smallest failing share of the ladder that is found by the end of *stage*."""
        ratios = self._ladder()
        low, high = 0, len(ratios)
        while low < high:
            middle = (low + high) // 2
            if self._found_by(ratios[middle], stage):
                high = middle
            else:
                low = middle + 1
        return ratios[low] if low < len(ratios) else None

    def _ladder(self) -> list[float]:
        usual = self.traffic.usual
        return [*(usual * multiple for multiple in LADDER if usual * multiple < 0.9), 1.0]

    def _found_by(self, ratio: float, stage: int) -> bool:
        if ratio not in self._found:
            self._found[ratio] = self.detection(ratio, Z_80)
        found = self._found[ratio]
        return found is not None and found[2] <= stage

    def broken(self) -> Broken | None:
        """When a build of which half fails is taken back, and what it cost."""
        found = self.detection(BROKEN_RATIO, Z_80)
        return Broken(found[0], BROKEN_RATIO * found[1], found[2]) if found else None

    def detection(self, ratio: float, z: float) -> tuple[float, float, int] | None:
        """
        When a candidate that fails at *ratio* is taken back: (seconds, its requests by then, stage); None when never.

        Args:
            z: by how many standard deviations its failures stay behind what is expected.
        """
        judge = Judge.from_dict(self._taught)
        counts = [HISTORY_S * self.traffic.rate, 0.0]
        start = 0.0
        for stage, weight in enumerate(self.plan):
            if weight >= 1:
                break
            for age, seconds in self._steps(self.floors[stage]):
                self._serve(counts, weight, seconds)
                decision = self._observe(judge, start + age, stage, age, counts, _lucky(counts[1], ratio, z))
                if decision.action == Action.ROLLBACK:
                    return start + age, counts[1], stage
            start += self.floors[stage]
        return None

    def good(self) -> list[float | None]:
        """When a candidate just as good as stable passes each stage; None from the stage on that is not decided."""
        judge = Judge.from_dict(self._taught)
        counts = [HISTORY_S * self.traffic.rate, 0.0]
        passed: list[float | None] = []
        start = 0.0
        for stage in range(len(self.plan)):
            age = self._pass(judge, stage, start, counts)
            if age is None:
                return passed + [None] * (len(self.plan) - stage)
            start += age
            passed.append(start)
        return passed

    def _pass(self, judge: Judge, stage: int, start: float, counts: list[float]) -> float | None:
        """Seconds a good candidate spends in *stage*."""
        if self.plan[stage] >= 1:
            return self.floors[stage]
        for age, seconds in self._steps(self.floors[stage], self.ceilings[stage]):
            self._serve(counts, self.plan[stage], seconds)
            decision = self._observe(judge, start + age, stage, age, counts, self.traffic.usual * counts[1])
            if decision.action == Action.PROMOTE and age >= self.floors[stage]:
                return age
        return None

    # ---- the traffic

    def _steps(self, *limits: float) -> Iterator[tuple[float, float]]:
        """(age, length) of every look, every tick at first, then ever longer, with one at each of *limits* seconds."""
        age = 0.0
        for limit in limits:
            while age < limit - 1e-6:
                step = min(max(self.tick_s, age / STEPS), limit - age)
                age += step
                yield age, step

    def _serve(self, counts: list[float], weight: float, seconds: float) -> None:
        counts[0] += self.traffic.rate * (1 - weight) * seconds
        counts[1] += self.traffic.rate * weight * seconds

    def _teach(self, judge: Judge) -> None:
        steps = 60
        for number in range(steps + 1):
            served = HISTORY_S * self.traffic.rate * number / steps
            age = HISTORY_S * (number / steps - 1)
            self._observe(judge, age if number < steps else -1e-6, -1, 0.0, [served, 0.0], 0.0)

    def _observe(
        self, judge: Judge, t: float, stage: int, age: float, counts: Sequence[float], failed: float
    ) -> Decision:
        stable_failed = self.traffic.usual * counts[0]
        return judge.observe(_Look(
            t, stage, self.plan[stage] if stage >= 0 else 0.0, age,
            requests=[self._by_route(counts[0]), self._by_route(counts[1])],
            errors=[self._by_route(stable_failed), self._by_route(failed)],
            latency=[[share * count for share in self.shape] for count in counts],
        ))  # fmt: skip

    def _by_route(self, count: float) -> list[float]:
        return [count / self.routes] * self.routes


def _lucky(requests: float, ratio: float, z: float) -> float:
    """Failures of *requests* that are exceeded by most: z standard deviations below the expected."""
    expected = requests * ratio
    return max(0.0, expected - z * math.sqrt(expected * (1 - ratio)))


def latency_shape(bounds: Sequence[float]) -> list[float]:
    """The share of requests in every bucket of *bounds*, and above the last; the sum is 1. Empty for no bounds."""
    if not bounds:
        return []
    below = [0.5 * (1 + math.erf(math.log(edge / _MEDIAN_S) / _SIGMA / math.sqrt(2))) for edge in bounds]
    return [upper - lower for lower, upper in itertools.pairwise((0.0, *below, 1.0))]


def unjudged(judge: Judge) -> list[tuple[str, str]]:
    """The rows of the table this judge can say nothing about, with the reason: they neither pass nor fail."""
    rows: list[tuple[str, str]] = []
    for want in judge.wants:
        reason = want.unjudgeable or ("the gateway does not measure it" if want.kind == "own" else "")
        if reason:
            rows.append((want.name, reason))
    return rows
