"""
The Mann-Whitney U test as Kayenta uses it: an interval of the location shift, and its Hodges-Lehmann estimate.

The normal approximation with ties and continuity correction, turned around: those shifts are in the interval at which
the shifted samples would not be told apart. Plain Python; samples here are tens of points.
Source: R's ``wilcox.test(conf.int = TRUE, exact = FALSE)``, which Kayenta's ``MannWhitney.scala`` follows.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Shift:
    """How much the first sample lies above the second, in their unit."""

    low: float
    high: float
    estimate: float


def location_shift(x: Sequence[float], y: Sequence[float], confidence: float) -> Shift:
    """
    The shift of *x* against *y*.

    Args:
        x, y: (n,) and (m,) values, not empty, finite.
        confidence: of the interval, 0..1.

    Two samples that are constant each have no ranks to speak of; Kayenta adds random noise to them. Here it is the
    limit of ever smaller noise, so that the same data always give the same answer: interval and estimate are the shift.
    """
    if len(set(x)) == 1 and len(set(y)) == 1:
        return Shift(*[x[0] - y[0]] * 3)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    steps = sorted({a - b for a in x for b in y})

    def crossing(quantile: float, *, correct: bool) -> float:
        return _crossing(lambda shift: _statistic(x, y, shift, correct=correct) - quantile, steps)

    return Shift(crossing(z, correct=True), crossing(-z, correct=True), crossing(0.0, correct=False))


def _statistic(x: Sequence[float], y: Sequence[float], shift: float, *, correct: bool) -> float:
    """The standardised rank sum of *x* - *shift* among both; falls as the shift grows."""
    moved = [value - shift for value in x]
    n, m = len(x), len(y)
    ranks, ties = midranks([*moved, *y])
    off = sum(ranks[:n]) - n * (n + 1) / 2 - n * m / 2
    correction = math.copysign(0.5, off) if correct and off else 0.0
    variance = n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))
    return (off - correction) / math.sqrt(variance) if variance > 0 else 0.0


def midranks(values: Sequence[float]) -> tuple[list[float], float]:
    """The rank of every value, 1.., equal ones sharing their mean; and the sum of t^3 - t over groups of t equals."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, ties, begin = [0.0] * len(values), 0.0, 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for place in order[begin:end]:
            ranks[place] = (begin + 1 + end) / 2
        ties += (end - begin) ** 3 - (end - begin)
        begin = end
    return ranks, ties


def _crossing(f: Callable[[float], float], steps: Sequence[float]) -> float:
    """
    Where the falling function *f* crosses zero, an end when it does not; the middle where it is zero over a gap.

    It is flat between two differences of the samples (*steps*, ascending), so that the crossing is exact. A root finder
    stops somewhere within its tolerance, and on sparse data that alone would decide.
    """
    if f(steps[0]) <= 0:
        return steps[0]
    if f(steps[-1]) >= 0:
        return steps[-1]
    gaps = [(low + high) / 2 for low, high in itertools.pairwise(steps)]
    place = bisect.bisect_left(gaps, True, key=lambda gap: f(gap) <= 0)
    if place == len(gaps):
        return steps[-1]
    return gaps[place] if f(gaps[place]) == 0 else steps[place]
