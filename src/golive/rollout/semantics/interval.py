"""
What the metrics of one interval say: the values those tools would have got from their query.

An interval sums what happened between two measurements. A ratio of nothing is NaN, as 0/0 is in every query language.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from golive.rollout.judge.reading import CANARY, STABLE, Tick
from golive.rollout.judge.table import Want

VERSIONS = (STABLE, CANARY)


class Interval:
    """Counts of both versions since the last measurement."""

    def __init__(self, routes: int, buckets: int) -> None:
        self.requests = [[0.0] * routes, [0.0] * routes]
        self.errors = [[0.0] * routes, [0.0] * routes]
        self.latency = [[0.0] * buckets, [0.0] * buckets]
        self.own: dict[str, list[Any]] = {}

    def add(self, tick: Tick) -> None:
        """Add what happened in *tick*."""
        for sums, counts in ((self.requests, tick.requests), (self.errors, tick.errors), (self.latency, tick.latency)):
            for version in VERSIONS:
                sums[version] = [held + new for held, new in zip(sums[version], counts[version], strict=True)]
        for name, pair in tick.values.items():
            held = self.own.get(name, [None, None])
            self.own[name] = [_joined(held[version], pair[version]) for version in VERSIONS]

    def value(self, want: Want, version: int, bounds: Sequence[float]) -> float:
        """
        The row's metric of *version* in this interval, in the row's base unit; NaN when there was nothing to measure.

        Args:
            bounds: upper edges of the latency buckets, seconds.
        """
        if want.unjudgeable:
            return math.nan
        if want.kind == "errors":
            return self._share(want, version)
        if want.kind == "latency":
            assert want.row.quantile is not None
            return quantile(self.latency[version], bounds, want.row.quantile)
        return _level(self.own.get(want.name, [None, None])[version])

    def _share(self, want: Want, version: int) -> float:
        routes = slice(None) if want.route is None else slice(want.route, want.route + 1)
        failed, all_of_them = sum(self.errors[version][routes]), sum(self.requests[version][routes])
        if all_of_them <= 0:
            return math.nan
        ratio = failed / all_of_them
        return 1.0 - ratio if want.row.indicator == "success_rate" else ratio

    def to_dict(self) -> dict[str, Any]:
        """The state, as plain JSON."""
        return dict(self.__dict__)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.__dict__.update(state)


def quantile(histogram: Sequence[float], bounds: Sequence[float], q: float) -> float:
    """
    The *q* quantile of a histogram, seconds: linear within its bucket, the last edge for what lies beyond all edges.

    Args:
        histogram: (buckets,) counts, not cumulated.
        bounds: (buckets - 1,) upper edges, ascending.

    Returns: NaN for an empty histogram.
    Source: Prometheus, ``histogram_quantile``.
    """
    total = sum(histogram)
    if total <= 0:
        return math.nan
    rank, below = q * total, 0.0
    for bucket, count in enumerate(histogram[: len(bounds)]):
        if count > 0 and below + count >= rank:
            start = bounds[bucket - 1] if bucket else 0.0
            return start + (bounds[bucket] - start) * (rank - below) / count
        below += count
    return bounds[-1]


def _joined(held: Any, new: Any) -> Any:
    """Counts add up, a level is replaced by the newer one."""
    if isinstance(held, list) and isinstance(new, list):
        return [a + b for a, b in zip(held, new, strict=True)]
    return held if new is None else new


def _level(own: Any) -> float:
    if isinstance(own, list):
        return own[0] / own[1] if own[1] > 0 else math.nan
    return math.nan if own is None else float(own)
