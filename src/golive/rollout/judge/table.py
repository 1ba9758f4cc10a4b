"""
The rows of the SLO table as the judge needs them: which counts belong to a row, and which share of them is too many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from golive.slo.row import Row
from golive.slo.table import parse_table
from golive.slo.tails import limit_cut

Kind = Literal["errors", "latency", "own"]
SHARE_MIN = 0.001
"""A promise of "no failure at all" is judged as one in a thousand: less cannot be shown in a rollout."""
INDICATOR_KINDS: dict[str, Kind] = {"error_rate": "errors", "success_rate": "errors", "latency": "latency"}


@dataclass(frozen=True, slots=True)
class Want:
    """
    One row of the table.

    Attributes:
        row: as parsed, with the overrides of the canary phase.
        kind: ``errors`` and ``latency`` are judged from requests; ``own`` needs its own measurement.
        share: of events that may be bad: the error rate promised, or 1 - q for a latency at quantile q.
        limit_s: for latency: slower than this is bad, seconds.
        cut: for latency: the first bucket that is bad.
        route: index of the route the row is limited to, or None for all.
        unjudgeable: why nothing can be said about the row here; empty when something can.
    """

    row: Row
    kind: Kind
    share: float
    limit_s: float = 0.0
    cut: int = 0
    route: int | None = None
    unjudgeable: str = ""

    @property
    def name(self) -> str:
        """As in the table."""
        return self.row.name

    @property
    def bar(self) -> str:
        """Target and alarm, as a person reads them."""
        alert = f", alert if {self.row.alert_if}" if self.row.alert_if else ""
        return f"target {self.row.target}{alert}"


def read_table(
    slo: Mapping[str, Mapping[str, object]], routes: Sequence[str], bounds: Sequence[float], moves: str = "requests"
) -> list[Want]:
    """
    The rows of *slo*, in order; *bounds* are the upper edges of the latency buckets, seconds.

    Where only jobs move, they are the requests: a row of a queue is the row of a route, and a duration is a latency.

    Raises: golive.slo.table.SloError with every fault of the table.
    """
    read = _want_of_jobs if moves == "jobs" else _want
    return [read(row.for_phase("canary"), routes, bounds) for row in parse_table(slo).values()]


def _want(row: Row, routes: Sequence[str], bounds: Sequence[float]) -> Want:
    kind = INDICATOR_KINDS.get(row.indicator, "own")
    if kind == "errors" and row.queue is None:
        return _errors(row, row.route, routes)
    if kind == "latency" and row.route is None:
        return _latency(row, bounds)
    return _own(row)


def _want_of_jobs(row: Row, routes: Sequence[str], bounds: Sequence[float]) -> Want:
    if row.route is not None or row.indicator == "latency":
        return Want(row, "own", 0.0, unjudgeable="this rollout moves jobs, and no requests")
    if row.indicator == "job_duration" and row.queue is None:
        return _latency(row, bounds)
    if INDICATOR_KINDS.get(row.indicator) == "errors":
        return _errors(row, row.queue, routes)
    return _own(row)


def _own(row: Row) -> Want:
    """A row with its own measurement; of durations, also those of one route, *share* is what may be too slow."""
    limit = (row.alert_if or row.target).value
    share = 1.0 - row.quantile if row.quantile is not None else 0.0
    return Want(row, "own", share, limit if row.indicator in ("job_duration", "latency") else 0.0)


def _errors(row: Row, route: str | None, routes: Sequence[str]) -> Want:
    promised = row.target.value if row.indicator == "error_rate" else 1.0 - row.target.value
    share = min(max(promised, SHARE_MIN), 0.9)
    if route is None:
        return Want(row, "errors", share)
    if route not in routes:
        return Want(row, "errors", share, unjudgeable=f"the evidence does not tell {route} apart")
    return Want(row, "errors", share, route=list(routes).index(route))


def _latency(row: Row, bounds: Sequence[float]) -> Want:
    limit = (row.alert_if or row.target).value
    assert row.quantile is not None, "a latency row names its quantile"
    why = "" if bounds else "the evidence has no latency"
    return Want(row, "latency", 1.0 - row.quantile, limit, limit_cut(bounds, limit), unjudgeable=why)
