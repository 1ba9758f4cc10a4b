"""
Which counts are compared: all failed requests, those of each route, and requests slower than frozen thresholds.

The thresholds are frozen once, when the canary gets its first traffic, from stable's history alone; nothing the canary
does can move the bar it is measured with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from golive.rollout.judge.options import Options
from golive.rollout.judge.reading import CANARY, STABLE, Tick
from golive.rollout.judge.table import Want
from golive.slo.tails import HISTORY_MIN, quantile_cut, slower_tail_ratio, tail

QUANTILES = (0.75, 0.90, 0.95, 0.99)
NONINFERIORITY_QUANTILE = 0.95
ROUTES_MAX = 50
"""Routes judged by themselves; the others still count in the total."""
TAIL_RATIO_MIN, WORSE_RATIO_MIN, WORSE_EXCESS_MIN = 1.02, 1.1, 0.01
"""Where hardly anything is slow (all within one bucket), a ratio says nothing: one in a hundred more is too much."""
RATIO_UNKNOWN, WORSE_RATIO_UNKNOWN, WORSE_EXCESS_UNKNOWN = 1.25, 2.0, 0.02
"""Without history the shape of the tail is unknown: a quarter more slow requests is tolerated; twice as many, and at
least two in a hundred more, is too much."""


@dataclass(frozen=True, slots=True)
class Line:
    """
    One pair of counts that is compared.

    Attributes:
        kind: ``errors`` (all routes, or units), ``route``, or ``tail``.
        label: for sentences, e.g. "failed requests of GET /a" or "requests slower than 0.25 s".
        index: the route, or the first slow bucket.
        tolerated: the rate ratio up to which the canary is not worse.
        worse: the rate ratio that is too much (tails only).
        worse_excess: for a limit that stable hardly ever reaches, the least excess share that is too much.
    """

    kind: Literal["errors", "route", "tail"]
    label: str
    index: int
    tolerated: float
    worse: float = 0.0
    worse_excess: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; ``Line(**line.to_dict())`` is the line."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of one line in one tick: events and exposure on canary (c of n_c) and stable (b of n_s)."""

    c: float
    n_c: float
    b: float
    n_s: float


def make_lines(
    options: Options,
    wants: Sequence[Want],
    routes: Sequence[str],
    bounds: Sequence[float],
    history: Sequence[float],
    noun: str = "requests",
) -> list[Line]:
    """The lines of a rollout; *history* is stable's latency histogram before the start, (buckets,)."""
    tolerated = options.tolerated_error_factor
    lines = [Line("errors", f"failed {noun}", 0, tolerated)]
    if len(routes) > 1:
        lines += [Line("route", f"failed {noun} of {name}", i, tolerated) for i, name in enumerate(routes[:ROUTES_MAX])]
    return lines + [_tail_line(options, bounds, history, cut, noun) for cut in _cuts(wants, bounds, history)]


def noninferiority_line(lines: Sequence[Line], bounds: Sequence[float], history: Sequence[float]) -> int | None:
    """Index of the tail whose excess must be refuted before promotion; None without latency rows."""
    tails = [i for i, line in enumerate(lines) if line.kind == "tail"]
    if not tails:
        return None
    if sum(history) < HISTORY_MIN:
        return tails[0]
    cut = quantile_cut(history, NONINFERIORITY_QUANTILE)
    return next(i for i in tails if lines[i].index == cut)


def count(lines: Sequence[Line], tick: Tick) -> list[Counts]:
    """The counts of every line in *tick*. More errors than requests (read a moment later) are not believed."""
    return [_count(line, tick) for line in lines]


def _count(line: Line, tick: Tick) -> Counts:
    if line.kind == "tail":
        c, b = (tail(tick.latency[version], line.index) for version in (CANARY, STABLE))
        return Counts(c, sum(tick.latency[CANARY]), b, sum(tick.latency[STABLE]))
    if line.kind == "route":
        (c, n_c), (b, n_s) = ((tick.errors[v][line.index], tick.requests[v][line.index]) for v in (CANARY, STABLE))
    elif tick.units is not None:
        (n_s, b), (n_c, c) = tick.units
    else:
        (c, n_c), (b, n_s) = ((sum(tick.errors[v]), sum(tick.requests[v])) for v in (CANARY, STABLE))
    return Counts(min(c, n_c), n_c, min(b, n_s), n_s)


def _cuts(wants: Sequence[Want], bounds: Sequence[float], history: Sequence[float]) -> list[int]:
    if not bounds:
        return []
    cuts = [quantile_cut(history, q) for q in QUANTILES] if sum(history) >= HISTORY_MIN else []
    cuts += [want.cut for want in wants if want.kind == "latency" and not want.unjudgeable]
    return sorted(set(cuts))


def _tail_line(options: Options, bounds: Sequence[float], history: Sequence[float], cut: int, noun: str) -> Line:
    label = f"{noun} slower than {bounds[cut - 1]:g} s"
    if sum(history) < HISTORY_MIN:
        return Line("tail", label, cut, RATIO_UNKNOWN, WORSE_RATIO_UNKNOWN, WORSE_EXCESS_UNKNOWN)
    tolerated = slower_tail_ratio(history, bounds, cut, options.tolerated_latency_factor)
    worse = slower_tail_ratio(history, bounds, cut, options.latency_margin)
    return Line("tail", label, cut, max(tolerated, TAIL_RATIO_MIN), max(worse, WORSE_RATIO_MIN), WORSE_EXCESS_MIN)
