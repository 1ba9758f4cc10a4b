"""
Days of traffic for the judge: seeded, in virtual time, with everything that makes healthy releases look ill.

A :class:`Day` says what the two versions would do at any moment; :func:`ship` lets a judge walk a rollout through it
and tells how it ended. Needs numpy (a development dependency, imported on first use).
Left out: gateways, clocks and crashes; that is the simulator of the controller.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

ROUTES = ("GET /a", "POST /b", "GET /c")
ROUTE_SHARES = (0.60, 0.35, 0.05)
BOUNDS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
SLO: dict[str, dict[str, object]] = {
    "error_rate": {"target": "<= 1%", "alert_if": "> 2%"},
    "latency_p95": {"target": "<= 300ms", "alert_if": "> 500ms"},
}
PLAN = (0.01, 0.05, 0.25, 0.5, 0.95, 1.0)
LATENCY_MEDIAN_S, LATENCY_SIGMA = 0.08, 0.6

Shape = Callable[[float, float], float]
"""A value at (t seconds since the start, canary's weight)."""


@dataclass(frozen=True)
class Day:
    """
    What happens on one day. Rates are shares 0..1; factors multiply.

    Attributes:
        name: of the scenario.
        healthy: whether a rollback would be wrong.
        rps: mean requests per second, both versions together.
        base: stable's error rate.
        errors: the canary's error rate, at (t, weight).
        route_errors: the canary's error rate on the last (5 %) route, on top.
        slower: the canary's latency factor, at (t, weight).
        load, shared_errors, shared_slower: both versions: load factor, added error rate, latency factor, at t.
        burstiness: relative standard deviation of the load from tick to tick.
        clump: errors that come of one cause.
        cold_s: the canary is three times slower at the beginning of every stage, easing with this time constant.
    """

    name: str
    healthy: bool
    rps: float
    base: float = 0.001
    errors: Shape | None = None
    route_errors: float = 0.0
    slower: Shape = field(default=lambda t, weight: 1.0)
    load: Callable[[float], float] = field(default=lambda t: 1.0)
    shared_errors: Callable[[float], float] = field(default=lambda t: 0.0)
    shared_slower: Callable[[float], float] = field(default=lambda t: 1.0)
    burstiness: float = 0.0
    clump: int = 1
    cold_s: float = 0.0


@dataclass
class Snapshot:
    """Cumulative counters as a gateway keeps them; arrays of (2, routes) and (2, buckets), version 0 stable."""

    t: float
    stage: int
    weight: float
    stage_age: float
    requests: np.ndarray
    errors: np.ndarray
    latency: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """How a rollout ended: ``live``, ``rolled_back`` or ``undecided``; times in seconds since the start."""

    ending: str
    t: float
    failed: float
    stage: int
    confidence_max: float
    reason: str
    confident_at: float = math.inf


class Judging(Protocol):
    """What can judge a rollout: golive's Judge, or the rules of somebody else."""

    def observe(self, snapshot: Any) -> Any:
        """A decision with ``action`` and ``confidence``."""
        ...


class Traffic:
    """The counters of one day, ticked forward by hand."""

    def __init__(self, day: Day, seed: int, tick_s: float) -> None:
        import numpy as np

        self.day, self.tick_s = day, tick_s
        self.random = np.random.default_rng(seed)
        self.shares = np.array(ROUTE_SHARES)
        self.requests, self.errors = np.zeros((2, len(ROUTES))), np.zeros((2, len(ROUTES)))
        self.latency = np.zeros((2, len(BOUNDS) + 1))

    def tick(self, t: float, weight: float, stage_age: float) -> None:
        """One tick that ends at *t*, with the canary at *weight* for *stage_age* seconds by then."""
        day, middle = self.day, t - self.tick_s / 2
        load = day.rps * self.tick_s * day.load(middle)
        if day.burstiness:
            shape = 1 / day.burstiness**2
            load *= self.random.gamma(shape, 1 / shape)
        for version, share in ((0, 1 - weight), (1, weight)):
            if share > 0:
                self._serve(version, load * share, middle, weight, stage_age)

    def _serve(self, version: int, load: float, t: float, weight: float, stage_age: float) -> None:
        served = self.random.poisson(load * self.shares)
        self.requests[version] += served
        self.errors[version] += self._failures(served, version, t, weight)
        slower = self.day.shared_slower(t)
        if version == 1:
            slower *= self.day.slower(t, weight)
            if self.day.cold_s:
                slower *= 1 + 2 * math.exp(-stage_age / self.day.cold_s)
        self.latency[version] += self.random.multinomial(served.sum(), bucket_shares(round(slower, 2)))

    def _failures(self, served: np.ndarray, version: int, t: float, weight: float) -> np.ndarray:
        import numpy as np

        day = self.day
        rate = day.errors(t, weight) if version == 1 and day.errors else day.base
        rates = np.full(len(ROUTES), min(rate + day.shared_errors(t), 1.0))
        if version == 1:
            rates[-1] = min(rates[-1] + day.route_errors, 1.0)
        failed: np.ndarray = self.random.binomial(served, rates)
        if day.clump > 1:
            failed = np.minimum(self.random.poisson(served * rates / day.clump) * day.clump, served)
        return failed

    def snapshot(self, t: float, stage: int, weight: float, stage_age: float) -> Snapshot:
        """The counters as they are now."""
        return Snapshot(t, stage, weight, stage_age, self.requests.copy(), self.errors.copy(), self.latency.copy())


@functools.cache
def bucket_shares(slower: float) -> np.ndarray:
    """Share of requests in every latency bucket when everything takes *slower* times as long; lognormal."""
    import numpy as np

    median = LATENCY_MEDIAN_S * slower
    below = [0.5 * (1 + math.erf(math.log(edge / median) / LATENCY_SIGMA / math.sqrt(2))) for edge in BOUNDS]
    shares = [upper - lower for lower, upper in itertools.pairwise((0.0, *below, 1.0))]
    return np.array(shares, dtype=float)


def ship(
    judge: Judging,
    day: Day,
    seed: int,
    *,
    plan: Sequence[float] = PLAN,
    tick_s: float = 10.0,
    history_s: float = 600.0,
    horizon_s: float = 3600.0,
) -> Outcome:
    """
    Let *judge* walk one rollout through *day*.

    Args:
        history_s: how long stable was watched before.
        horizon_s: after this the rollout counts as undecided.
    """
    traffic = Traffic(day, seed, tick_s)
    for k in range(round(history_s / tick_s), -1, -1):
        if k < round(history_s / tick_s):
            traffic.tick(-k * tick_s, 0.0, 0.0)
        judge.observe(traffic.snapshot(-k * tick_s, -1, 0.0, 0.0))
    return _walk(judge, traffic, plan, horizon_s)


def _walk(judge: Judging, traffic: Traffic, plan: Sequence[float], horizon_s: float) -> Outcome:
    stage, entered, best, confident_at, decision = 0, 0.0, 0.0, math.inf, None
    tick_s = traffic.tick_s
    for k in range(1, round(horizon_s / tick_s) + 1):
        t = k * tick_s
        traffic.tick(t, plan[stage], t - entered)
        decision = judge.observe(traffic.snapshot(t, stage, plan[stage], t - entered))
        best = max(best, decision.confidence)
        confident_at = min(confident_at, t if decision.confidence >= 95 else math.inf)
        if decision.action == "rollback" or (decision.action == "promote" and stage == len(plan) - 1):
            ending = "rolled_back" if decision.action == "rollback" else "live"
            return Outcome(ending, t, float(traffic.errors[1].sum()), stage, best, decision.reason, confident_at)
        if decision.action == "promote":
            stage, entered = stage + 1, t
    reason = decision.reason if decision else ""
    return Outcome("undecided", horizon_s, float(traffic.errors[1].sum()), stage, best, reason, confident_at)


# ---------------------------------------------------------------------- the days


def healthy_days(rps: float, seed: int) -> dict[str, Day]:
    """The days on which a rollback would be wrong; *seed* places what happens once."""
    import numpy as np

    when = float(np.random.default_rng([seed, 77]).uniform(0, 1500))
    day = Day("steady", True, rps)

    def between(t: float, length: float) -> bool:
        return when <= t < when + length

    days = [
        day,
        replace(day, name="diurnal", load=lambda t: 1 + 0.7 * math.sin(t / 900 + when), burstiness=0.2,
                shared_errors=lambda t: 0.001 * (1 + math.sin(t / 900 + when))),
        replace(day, name="bursty", burstiness=1.0),
        replace(day, name="clustered", clump=5),
        replace(day, name="outage", shared_errors=lambda t: 0.2 if between(t, 300) else 0.0,
                shared_slower=lambda t: 2.0 if between(t, 300) else 1.0),
        replace(day, name="drift", shared_slower=lambda t: 1 + 0.5 * max(t, 0) / 1800),
        replace(day, name="noisy_pod", errors=lambda t, weight: 0.1 if between(t, 45) else 0.001),
        replace(day, name="cold_start", cold_s=20.0),
        replace(day, name="tiny", errors=lambda t, weight: 0.0012),
        replace(day, name="high_base", base=0.02),
    ]  # fmt: skip
    return {each.name: each for each in days}


def bad_days(rps: float) -> dict[str, Day]:
    """The days on which shipping would be wrong."""
    day = Day("", False, rps)

    def errors(rate: float, base: float = 0.001) -> Day:
        return replace(day, base=base, errors=lambda t, weight: rate)

    def latency(factor: float) -> Day:
        return replace(day, slower=lambda t, weight: factor)

    days = {
        "errors_0.1_to_1%": errors(0.01),
        "errors_0.1_to_2%": errors(0.02),
        "errors_0.1_to_10%": errors(0.1),
        "errors_0.3_to_3%": errors(0.03, 0.003),
        "half_fails": errors(0.5),
        "all_fails": errors(1.0),
        "latency_+25%": latency(1.25),
        "latency_+50%": latency(1.5),
        "latency_+100%": latency(2.0),
        "capacity_errors": replace(day, errors=lambda t, weight: 0.02 if weight > 0.5 else 0.001),
        "capacity_latency": replace(day, slower=lambda t, weight: 1.5 if weight > 0.5 else 1.0),
        "one_route": replace(day, route_errors=0.05),
        "late_at_15min": replace(day, errors=lambda t, weight: 0.03 if t >= 900 else 0.001),
        "leak": replace(day, errors=lambda t, weight: 0.001 + 0.02 * t / 1800),
    }
    return {name: replace(each, name=name) for name, each in days.items()}
