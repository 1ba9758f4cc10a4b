"""
When a schedule is due. Pure: a moment comes in, moments come out.

A cron expression is read in a time zone, so that "03:00 in Berlin" stays that in winter and in summer: what a change of
clocks skips runs as soon as the gap is over, what it repeats runs once (as Debian's cron does it; from ``cronsim``).
An interval is anchored at the epoch, not at anybody's start, so that all workers mean the same moments.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from golive.errors import ConfigError
from golive.timing import format_duration

#: The most jobs a schedule makes at once for what it missed.
MISSED_MAX = 100
#: An occurrence later than this was missed; it is what a worker may take to start.
LATE_SECONDS = 60.0
SHORTEST = timedelta(seconds=1)


class Missed(enum.StrEnum):
    """What happens to occurrences at which no worker was alive."""

    LATEST = "latest"
    """One job, for the newest of them."""
    ALL = "all"
    """A job for each, the newest hundred at most."""
    SKIP = "skip"
    """None; only what is due now."""


class Cadence(Protocol):
    """The moments of a schedule, in seconds since the epoch. *spec* says them in words."""

    spec: str

    def latest(self, after: float, until: float, limit: int) -> list[float]:
        """The newest *limit* moments in (*after*, *until*], oldest first."""
        ...

    def next(self, after: float) -> float | None:
        """The first moment later than *after*; None if there is none any more."""
        ...


class Every:
    """At whole multiples of *interval* since the epoch."""

    def __init__(self, interval: timedelta) -> None:
        self._seconds = interval.total_seconds()
        self.spec = f"every {format_duration(interval)}"

    def latest(self, after: float, until: float, limit: int) -> list[float]:
        """See :class:`Cadence`."""
        first, last = int(after // self._seconds) + 1, int(until // self._seconds)
        return [number * self._seconds for number in range(max(first, last - limit + 1), last + 1)]

    def next(self, after: float) -> float:
        """See :class:`Cadence`."""
        return (after // self._seconds + 1) * self._seconds


class Cron:
    """
    By a cron expression in *zone*.

    Raises: ConfigError when the expression cannot be read, or the package that reads it is not there.
    """

    def __init__(self, expression: str, zone: ZoneInfo, place: str) -> None:
        try:
            from cronsim import CronSim, CronSimError
        except ImportError as error:
            raise ConfigError(f'{place} needs cronsim, got no such package. pip install "golive[cron]"') from error
        self._simulate: Callable[..., Any] = CronSim
        self._expression, self._zone = expression, zone
        self.spec = f"{expression} {zone.key}"
        try:
            CronSim(expression, datetime(2026, 1, 1, tzinfo=zone))
        except (CronSimError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(
                f'{place}: expected a cron expression such as "0 3 * * *", got {expression!r}: {error or "none"}.'
            ) from error

    def latest(self, after: float, until: float, limit: int) -> list[float]:
        """See :class:`Cadence`."""
        found: list[float] = []
        for moment in self._from(until + 1.0, reverse=True):
            if moment <= after or len(found) == limit:
                break
            if moment <= until:
                found.append(moment)
        return found[::-1]

    def next(self, after: float) -> float | None:
        """See :class:`Cadence`."""
        return next((moment for moment in islice(self._from(after), 2) if moment > after), None)

    def _from(self, at: float, *, reverse: bool = False) -> Any:
        start = datetime.fromtimestamp(at, UTC).astimezone(self._zone)
        return (moment.timestamp() for moment in self._simulate(self._expression, start, reverse=reverse))


@dataclass(frozen=True, kw_only=True)
class Recurring:
    """A schedule as it is declared: jobs of the handler *kind* with *payload*, or what it returns for the moment."""

    name: str
    kind: str
    cadence: Cadence
    payload: Any
    missed: Missed
    tenant: str


def due(recurring: Recurring, after: float, now: float) -> list[float]:
    """
    The occurrences in (*after*, *now*] that become jobs, by what the schedule says of missed ones.

    Those left out are passed over for good, because the next call is asked with a later *after*.
    """
    if recurring.missed is Missed.ALL:
        return recurring.cadence.latest(after, now, MISSED_MAX)
    if recurring.missed is Missed.SKIP:
        after = max(after, now - LATE_SECONDS)
    return recurring.cadence.latest(after, now, 1)
