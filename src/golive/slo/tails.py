"""
Latency as counts: requests slower than thresholds that were frozen from stable's history.

"Slower than stable's 95th percentile was" is an event like an error, so latency is judged by the same bets as errors.
The thresholds are bucket edges of the gateway's histogram; nothing finer is known, and nothing is interpolated between
what is compared. Only the translation of "20 % slower" into "so many times more slow requests" reads between the edges.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

HISTORY_MIN = 500
"""Below this many requests a quantile of the history is a guess; only the limits of the SLO table are used then."""


def cumulative_shares(histogram: Sequence[float]) -> list[float]:
    """Share of requests at or below each edge, ending in 1.0. *histogram*: (buckets,), not cumulated, not all zero."""
    total = sum(histogram)
    return [running / total for running in itertools.accumulate(histogram)]


def quantile_cut(histogram: Sequence[float], q: float) -> int:
    """
    The first bucket that is slow when "slow" means above the quantile *q*: at most ``1 - q`` of history lies in it or
    above. The last bucket at most, so that something can be slow at all.
    """
    below = sum(share < q for share in cumulative_shares(histogram))
    return min(below + 1, len(histogram) - 1)


def limit_cut(bounds: Sequence[float], limit_s: float) -> int:
    """The first bucket wholly above *limit_s* (seconds): the edge at or next above the limit begins it."""
    return next((i + 1 for i, edge in enumerate(bounds) if edge >= limit_s - 1e-12), len(bounds))


def tail(histogram: Sequence[float], cut: int) -> float:
    """Requests in bucket *cut* and above."""
    return float(sum(histogram[cut:]))


def slower_tail_ratio(histogram: Sequence[float], bounds: Sequence[float], cut: int, factor: float) -> float:
    """
    How many times more requests are slow (bucket *cut* and above) in a version that is *factor* times slower.

    The tail of a slower version at x is the tail of stable at x/factor, read from the histogram log-log between edges.

    Args:
        histogram: (buckets,) counts of stable's history, not all zero.
        bounds: (buckets - 1,) upper edges in seconds, ascending.
        cut: as from :func:`quantile_cut`, 1..buckets-1.
        factor: > 1.

    Returns: a ratio >= 1.
    """
    total = sum(histogram)
    above = [1.0, *(1.0 - share for share in cumulative_shares(histogram))]
    edges = [math.log(bounds[0] * 0.5), *(math.log(edge) for edge in bounds)]
    tails = [math.log(max(above[i], 0.5 / total)) for i in range(len(edges))]
    here = _interpolate(edges[cut] - math.log(factor), edges, tails)
    return math.exp(max(here - tails[cut], 0.0))


def quantile_estimate(histogram: Sequence[float], bounds: Sequence[float], q: float) -> float:
    """The quantile *q* in seconds, linear within its bucket; the last edge when it lies above all edges."""
    wanted, running = q * sum(histogram), 0.0
    lower = 0.0
    for count, upper in zip(histogram, bounds, strict=False):
        if running + count >= wanted and count > 0:
            return lower + (upper - lower) * (wanted - running) / count
        running += count
        lower = upper
    return bounds[-1]


def _interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    if x <= xs[0]:
        return ys[0]
    for (x_0, y_0), (x_1, y_1) in itertools.pairwise(zip(xs, ys, strict=True)):
        if x <= x_1:
            return y_0 + (y_1 - y_0) * (x - x_0) / (x_1 - x_0)
    return ys[-1]
