"""
The evidence of a rollout, read from its journal: cumulative counters as what happened between two looks.

Every :class:`~golive.rollout.events.Verdict` carries the snapshot it judged. Differences are taken here, once, for the
live view and for ``golive explain``. A counter that went down, or another epoch, begins anew: nothing is negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from golive.cli.job_tally import Queues, between, counts_of, measured_jobs, plus
from golive.rollout import events as ev
from golive.rollout.evidence.bounds import BOUNDS
from golive.rollout.judge.jobs import as_requests
from golive.rollout.session import EVERY_ROUTE, Snapshot
from golive.slo.row import Row
from golive.slo.table import parse_table
from golive.slo.tails import quantile_estimate
from golive.slo.units import format_quantity

STABLE, CANARY = 0, 1
JOB_INDICATORS = ("job_duration", "dead_letters", "cost_per_job")
_NAMES = {"p50": "P50", "p75": "P75", "p90": "P90", "p95": "P95", "p99": "P99"}


@dataclass(frozen=True)
class Tally:
    """
    What one version did in some stretch of time.

    Attributes:
        requests, errors: by route, in the order of :attr:`Ledger.routes`.
        latency: by bucket of :attr:`Ledger.bounds`, and one above.
        jobs: what became of jobs, by queue. Where a rollout moves jobs alone, they are the requests above as well.
        levels: by row, as measured last.
    """

    requests: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    latency: tuple[int, ...] = ()
    jobs: Queues = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            _plus(self.requests, other.requests),
            _plus(self.errors, other.errors),
            _plus(self.latency, other.latency),
            plus(self.jobs, other.jobs),
            {**self.levels, **other.levels},
        )


@dataclass(frozen=True)
class Delta:
    """What stable and candidate did between two looks; *at* is the second one, *t* its seconds since first traffic."""

    at: datetime
    t: float
    stage: int
    seconds: float
    arms: tuple[Tally, Tally]


class Ledger:
    """
    Reads events in the order of the journal.

    Attributes:
        bounds: upper edges of the latency buckets, seconds.
        routes: names of the routes.
        moves: what the weight is a share of: "requests", "jobs" or "both".
        totals: stable and candidate since the candidate first had traffic.
    """

    def __init__(self) -> None:
        self.bounds: tuple[float, ...] = BOUNDS
        self.routes: tuple[str, ...] = (EVERY_ROUTE,)
        self.moves = "requests"
        self.totals = (Tally(), Tally())
        self._before: Snapshot | None = None

    def add(self, event: ev.AnyEvent) -> Delta | None:
        """What *event* tells of the traffic; None when it tells nothing."""
        if isinstance(event, ev.Taught):
            self._learn(event.session.get("judge", {}))
            return None
        if not isinstance(event, ev.Verdict) or event.evidence is None:
            return None
        now, before = msgspec.convert(event.evidence, Snapshot), self._before
        self._before = now
        if before is None or (before.epoch and before.epoch != now.epoch) or now.t <= before.t:
            return None
        arms = self._arms(before, now)
        if any(min((*arm.requests, *arm.errors, *arm.latency), default=0) < 0 for arm in arms):
            return None
        self.totals = (self.totals[STABLE] + arms[STABLE], self.totals[CANARY] + arms[CANARY])
        return Delta(event.at, now.t, now.stage, now.t - before.t, arms)

    def _arms(self, before: Snapshot, now: Snapshot) -> tuple[Tally, Tally]:
        jobs = between(counts_of(before.jobs), counts_of(now.jobs))
        found = []
        for arm in (STABLE, CANARY):
            tally = _difference(before, now, arm)
            if self.moves == "jobs":
                counts = as_requests(jobs[arm], self.routes)
                names = ("requests", "errors", "latency")
                whole = [tuple(round(number) for number in counts[name]) for name in names]
                tally = Tally(whole[0], whole[1], whole[2])
            levels = {row: float(value) for row, value in (now.values or ({}, {}))[arm].items() if _is_level(value)}
            found.append(replace(tally, jobs=jobs[arm], levels=levels))
        return found[STABLE], found[CANARY]

    def _learn(self, judge: Mapping[str, Any]) -> None:
        """What a judge knew when it was made: the shape of the evidence, and the counters before the first look."""
        settings = judge.get("settings") or {}
        self.bounds = tuple(settings.get("histogram_bounds") or self.bounds)
        self.routes = tuple(settings.get("routes") or self.routes)
        self.moves = str(settings.get("moves") or self.moves)
        last = judge.get("reader")
        if last:
            requests, errors, latency = (_whole(last[name]) for name in ("requests", "errors", "latency"))
            self._before = Snapshot(last["t"], -1, 0.0, 0.0, requests, errors, latency, jobs=last.get("jobs"))


def _whole(arms: Sequence[Sequence[float]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(int(x) for x in arms[STABLE]), tuple(int(x) for x in arms[CANARY])


def _difference(before: Snapshot, now: Snapshot, arm: int) -> Tally:
    requests, errors, latency = (
        _minus(getattr(now, name)[arm], getattr(before, name)[arm]) for name in ("requests", "errors", "latency")
    )
    return Tally(requests, errors, latency)


def _plus(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True)) if a and b else tuple(a or b)


def _minus(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True)) if len(a) == len(b) else tuple(a)


# ---- the rows of the table


def rows_of(judging: Mapping[str, Any]) -> dict[str, Row]:
    """The SLO table a rollout is judged by, as it was when the rollout began."""
    table = judging.get("slo", {})
    plain = {name: {k: v for k, v in row.items() if k not in ("gate", "canary", "steady")}
             for name, row in table.items()}  # fmt: skip
    return parse_table(plain)


def label(name: str) -> str:
    """``submit_latency_p95`` -> ``P95 submit latency``, ``error_rate`` -> ``Error rate``."""
    words = name.split("_")
    if words[-1] in _NAMES:
        words = [_NAMES[words[-1]], *words[:-1]]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def measured(row: Row, tally: Tally, ledger: Ledger) -> float | None:
    """The row's indicator over *tally* in its base unit; None when the gateway cannot tell, or counted nothing."""
    if row.name in tally.levels:
        return tally.levels[row.name]
    if row.queue is not None or ledger.moves == "jobs" or row.indicator in JOB_INDICATORS:
        return measured_jobs(row, tally.jobs)
    if row.route is not None and row.route not in ledger.routes:
        return None
    route = ledger.routes.index(row.route) if row.route is not None else None
    requests, errors = (_sum(tally.requests, route), _sum(tally.errors, route))
    if row.indicator in ("error_rate", "success_rate"):
        if requests <= 0:
            return None
        ratio = min(errors / requests, 1.0)
        return ratio if row.indicator == "error_rate" else 1.0 - ratio
    if row.indicator != "latency" or row.quantile is None or route is not None or sum(tally.latency) <= 0:
        return None
    return quantile_estimate(tally.latency, ledger.bounds, row.quantile)


def shown(row: Row, value: float | None) -> str:
    """A measured value in three digits; a dash when there is none."""
    return "-" if value is None else format_quantity(value, row.target.unit, 2 if row.target.unit == "ratio" else 3)


def ratio_text(errors: int, requests: int, noun: str = "requests") -> str:
    """``3 of 1,204 failed (0.25%)``."""
    if requests <= 0:
        return f"no {noun}"
    return f"{errors:,} of {requests:,} failed ({format_quantity(errors / requests, 'ratio', 2)})"


def _is_level(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sum(counts: Sequence[int], route: int | None) -> int:
    return sum(counts) if route is None else counts[route] if route < len(counts) else 0
