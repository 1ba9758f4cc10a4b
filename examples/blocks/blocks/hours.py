"""
Opening hours: when a venue is open, since when, and until when. Pure.

A week is a circle of 10,080 minutes that starts on Monday at 00:00, and a venue is a few arcs on it. A night that ends
at 02:00 is one arc across midnight, and Sunday night one across the seam of the week, so neither is a special case.
Times are the city's wall clock; the hour that daylight saving skips or repeats is left out on purpose.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime

DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
ALWAYS = ((0, WEEK_MINUTES),)

_SPAN = re.compile(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Openness:
    """
    The state of a venue at one minute.

    Attributes:
        is_open: whether the doors are open.
        minutes_to_change: until it closes (when open) or opens (when closed); None when that never happens.
        minutes_since_change: since it opened or closed; None when that never happened.
    """

    is_open: bool
    minutes_to_change: int | None
    minutes_since_change: int | None


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """
    The arcs of the week during which a venue is open.

    Attributes:
        arcs: ``(opens, length)`` in minutes, ``0 <= opens < 10080``, disjoint, not touching, sorted. Empty: never open.
    """

    arcs: tuple[tuple[int, int], ...]

    def at(self, moment: datetime) -> Openness:
        """The state at *moment*, the wall clock of the venue's city; an offset is ignored."""
        if not self.arcs or self.arcs == ALWAYS:
            return Openness(bool(self.arcs), None, None)
        minute = week_minute(moment)
        latest = bisect_right(self.arcs, (minute, WEEK_MINUTES)) - 1  # before the first one: -1, last week's last
        opens, length = self.arcs[latest]
        elapsed = (minute - opens) % WEEK_MINUTES
        if elapsed < length:
            return Openness(True, length - elapsed, elapsed)
        following, _ = self.arcs[(latest + 1) % len(self.arcs)]
        return Openness(False, (following - minute) % WEEK_MINUTES, elapsed - length)


def week_minute(moment: datetime) -> int:
    """Minutes since Monday 00:00 on the clock that *moment* shows, 0..10079."""
    return moment.weekday() * DAY_MINUTES + moment.hour * 60 + moment.minute


def parse_opening_hours(text: str) -> OpeningHours:
    """
    Reads the common subset of OpenStreetMap's ``opening_hours``: ``Tu-Th 17:00-22:30; Fr,Sa 17:00-02:00``, or ``24/7``.

    An end at or before its start lies on the next day; ``24:00`` is the midnight that ends the day. Spans that touch or
    overlap become one. A day that no rule names is closed.

    Raises: ValueError naming the rule that cannot be read.
    Source: https://wiki.openstreetmap.org/wiki/Key:opening_hours
    """
    if text.strip() == "24/7":
        return OpeningHours(ALWAYS)
    arcs = [arc for rule in text.split(";") if rule.strip() for arc in _rule_arcs(rule.strip())]
    return OpeningHours(_merge(arcs))


def _rule_arcs(rule: str) -> list[tuple[int, int]]:
    days, _, spans = rule.partition(" ")
    lengths = [_span(part.strip(), rule) for part in spans.split(",")]
    return [(day * DAY_MINUTES + start, length) for day in _days(days, rule) for start, length in lengths]


def _days(text: str, rule: str) -> list[int]:
    days: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f'opening hours {rule!r}: expected days such as "Mo-Fr" or "Sa,Su", got {part!r}.')
        start, end = DAYS.index(first), DAYS.index(last or first)
        days += [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]
    return days


def _span(text: str, rule: str) -> tuple[int, int]:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f'opening hours {rule!r}: expected a span such as "17:00-02:00", got {text!r}.')
    start_hour, start_minute, end_hour, end_minute = map(int, match.groups())
    start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
    if start >= DAY_MINUTES or end > DAY_MINUTES:
        raise ValueError(f"opening hours {rule!r}: expected times from 00:00 to 24:00, got {text!r}.")
    return start, end - start if end > start else end + DAY_MINUTES - start


def _merge(arcs: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Joins arcs that touch or overlap, also across the seam between Sunday and Monday."""
    merged: list[tuple[int, int]] = []
    for opens, length in sorted(arcs):
        if merged and opens <= sum(merged[-1]):
            first, reach = merged[-1]
            merged[-1] = (first, max(reach, opens + length - first))
        else:
            merged.append((opens, length))
    while len(merged) > 1 and sum(merged[-1]) - WEEK_MINUTES >= merged[0][0]:
        opens, length = merged.pop(0)
        last, reach = merged[-1]
        merged[-1] = (last, max(reach, opens + WEEK_MINUTES + length - last))
    whole_week = len(merged) == 1 and merged[0][1] >= WEEK_MINUTES
    return ALWAYS if whole_week else tuple(merged)
