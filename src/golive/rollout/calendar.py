"""
When traffic may move: freeze windows and allowed windows, as people write them. Pure; the instant arrives as data.

    Fri 15:00 - Mon 08:00 Europe/Paris      every week, over the weekend
    Tue-Thu 09:00 - 16:00 Europe/Paris      on each of these days
    2026-12-20 - 2027-01-03 Europe/Paris    these days, the last one included

Times are those of a wall clock in the zone (UTC when none is named), so a window of an hour may last two or none on the
day the clocks change. A time the clocks jump over is read with the offset before the jump, one they show twice is the
first of the two (RFC 5545, 3.3.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from golive.errors import ConfigError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOPS_MAX = 1000
"""Windows looked through for the end of a freeze; who has more of them in a row is frozen for ever."""

_DAY, _TIME, _DATE = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)", r"(\d\d:\d\d)", r"(\d{4}-\d\d-\d\d)"
_ZONE = r"(?:\s+([A-Za-z][\w+\-/]*))?"
_WEEKLY = re.compile(rf"{_DAY} {_TIME} - {_DAY} {_TIME}{_ZONE}")
_DAILY = re.compile(rf"{_DAY}(?:-{_DAY})? {_TIME} - {_TIME}{_ZONE}")
_DATES = re.compile(rf"{_DATE} - {_DATE}{_ZONE}")
_WEEK = 7

Span = tuple[datetime, datetime]
"""From, included, until, not included; both UTC."""


class Window(msgspec.Struct, frozen=True):
    """
    One window. Use :func:`parse_window`.

    Attributes:
        days: weekdays on which it begins, 0 is Monday; empty for dates.
        begins, ends: wall-clock times.
        length_days: midnights between begin and end.
        first: the first day of a window of dates.
    """

    text: str
    zone: str
    days: tuple[int, ...]
    begins: time
    ends: time
    length_days: int
    first: date | None = None

    def spans(self, at: datetime) -> Iterator[Span]:
        """The occurrences around *at*, in order: the one that holds it, and the next, are among them."""
        zone = ZoneInfo(self.zone)
        if self.first is not None:
            yield self._span(self.first, zone)
            return
        today = at.astimezone(zone).date()
        for offset in range(-_WEEK - 1, _WEEK + 2):
            day = today + timedelta(days=offset)
            if day.weekday() in self.days:
                yield self._span(day, zone)

    def _span(self, day: date, zone: ZoneInfo) -> Span:
        return _instant(day, self.begins, zone), _instant(day + timedelta(days=self.length_days), self.ends, zone)


def _instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, zone).astimezone(UTC)


def parse_window(text: str, place: str = "rollout.freeze") -> Window:
    """
    A window as written.

    Raises: ConfigError for anything else, an unknown zone, an end before its beginning.
    """
    try:
        window = _weekly(text) or _daily(text) or _dates(text)
    except ValueError as error:
        raise ConfigError(f'{place}: "{text}" has {error}.') from None
    if window is None:
        raise ConfigError(
            f'{place}: expected a window such as "Fri 15:00 - Mon 08:00 Europe/Paris", "Tue-Thu 09:00 - 16:00" or '
            f'"2026-12-20 - 2027-01-03", got {text!r}.'
        )
    try:
        ZoneInfo(window.zone)
    except (KeyError, OSError, ValueError):
        raise ConfigError(f'{place}: unknown time zone "{window.zone}". Write one such as Europe/Paris.') from None
    return window


def _weekly(text: str) -> Window | None:
    found = _WEEKLY.fullmatch(text.strip())
    if found is None:
        return None
    day, begins, last, ends, zone = found.groups()
    first, begin, end = DAYS.index(day), _time(begins), _time(ends)
    length = (DAYS.index(last) - first) % _WEEK
    if length == 0 and end <= begin:
        length = _WEEK
    return Window(text, zone or "UTC", (first,), begin, end, length)


def _daily(text: str) -> Window | None:
    found = _DAILY.fullmatch(text.strip())
    if found is None:
        return None
    day, last, begins, ends, zone = found.groups()
    first = DAYS.index(day)
    days = tuple((first + n) % _WEEK for n in range((DAYS.index(last or day) - first) % _WEEK + 1))
    begin, end = _time(begins), _time(ends)
    return Window(text, zone or "UTC", days, begin, end, 0 if end > begin else 1)


def _dates(text: str) -> Window | None:
    found = _DATES.fullmatch(text.strip())
    if found is None:
        return None
    first, last = date.fromisoformat(found[1]), date.fromisoformat(found[2])
    if last < first:
        raise ValueError("its end before its beginning")
    return Window(text, found[3] or "UTC", (), time(0), time(0), (last - first).days + 1, first)


def _time(text: str) -> time:
    return time.fromisoformat(text)


def closed_until(freeze: Iterable[str], allowed: Sequence[str], at: datetime) -> datetime | None:
    """
    When traffic may rise again: None when it may rise *at*.

    Args:
        freeze: windows in which it may not.
        allowed: when there are any, it may only rise inside one of them.
    """
    frozen, allowing = [parse_window(text) for text in freeze], [parse_window(text) for text in allowed]
    instant = at
    for _ in range(HOPS_MAX):
        later = _after(frozen, allowing, instant)
        if later is None:
            return instant if instant > at else None
        instant = later
    return instant


def _after(frozen: Sequence[Window], allowing: Sequence[Window], at: datetime) -> datetime | None:
    """A later instant to look at, when *at* is closed; None when it is open."""
    for window in frozen:
        for begin, end in window.spans(at):
            if begin <= at < end:
                return end
    if not allowing:
        return None
    spans = [span for window in allowing for span in window.spans(at)]
    if any(begin <= at < end for begin, end in spans):
        return None
    return min((begin for begin, _ in spans if begin > at), default=at + timedelta(days=365))
