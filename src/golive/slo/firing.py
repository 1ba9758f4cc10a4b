"""
When a row would have fired: its alarm held against a series of values, point by point. Pure.

The plain semantics of an alarm: true or not at each point, an episode lasts from the first point at which it is true to
the last one before it is not. No value, or NaN, ends nothing and begins nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from golive.slo.row import Row, Verdict

Point = tuple[float, float | None]
"""Seconds since the epoch, and a value in the row's base unit; None where nothing was measured."""


@dataclass(frozen=True)
class Episode:
    """One stretch of time in which the alarm was on; *worst* is the value farthest beyond it."""

    began: float
    ended: float
    points: int
    worst: float

    @property
    def seconds(self) -> float:
        """From the first point to the last one that was beyond the alarm."""
        return self.ended - self.began


@dataclass(frozen=True)
class Firing:
    """
    What a series said about a row.

    Attributes:
        points: that had a value; *unusable* had none, NaN, or one that cannot be (a share of 140 %).
        passed: points at which the target was met.
        worst, worst_at: the value nearest to, or farthest beyond the alarm; None without any.
    """

    row: Row
    episodes: tuple[Episode, ...]
    points: int
    unusable: int
    passed: int
    worst: float | None
    worst_at: float | None


def firing(row: Row, series: Iterable[Point]) -> Firing:
    """Hold *series*, in order of time, against the alarm of *row*."""
    episodes: list[Episode] = []
    open_: list[tuple[float, float]] = []
    counted = unusable = passed = 0
    worst: tuple[float, float] | None = None
    for at, value in series:
        judgement = row.judge(value)
        if value is None or math.isnan(value) or "is not a share" in judgement.sentence:
            unusable += 1
            continue
        counted += 1
        passed += judgement.verdict is Verdict.PASS
        worst = _worse(row, worst, (value, at))
        if judgement.verdict is Verdict.FAIL:
            open_.append((at, value))
        elif open_:
            episodes.append(_episode(row, open_))
            open_ = []
    if open_:
        episodes.append(_episode(row, open_))
    farthest = worst or (None, None)
    return Firing(row, tuple(episodes), counted, unusable, passed, farthest[0], farthest[1])


def _episode(row: Row, beyond: list[tuple[float, float]]) -> Episode:
    worst = beyond[0][1]
    for _, value in beyond:
        worst = _worse(row, (worst, 0.0), (value, 0.0))[0]
    return Episode(beyond[0][0], beyond[-1][0], len(beyond), worst)


def _worse(row: Row, one: tuple[float, float] | None, other: tuple[float, float]) -> tuple[float, float]:
    if one is None:
        return other
    high_is_bad = not row.target.op.startswith(">")
    return max(one, other, key=lambda each: each[0] if high_is_bad else -each[0])
