"""
What is normal for the stable version: its pooled rates, and whether it is in trouble of its own right now.

A pool forgets slowly (half an hour), so that it follows the day; while an incident runs it learns nothing. An incident
of stable is a reason to hold and to page, never one to take the canary back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

MEMORY_S = 2000.0
"""Time constant of the pool: evidence this old counts 1/e."""
WINDOW_TICKS = 6
"""An incident is looked for in the last six ticks: long enough for a count, short enough to be in time."""
SIGMAS, SLACK_EVENTS, FACTOR = 4.0, 2.0, 2.0
"""Trouble is twice the usual rate, and more than chance: four sigma and two events."""
NEW_NORMAL_S = 600.0
"""Latency that is worse for ten minutes is what the day is like now. Errors never are: somebody has to mend those."""
CAUTION = 0.5
"""Standard errors added to a rate that the canary is held against: an estimate too low would blame the canary."""
RATE_MIN = 0.0005
"""Rates below this are not told apart from none: nobody should be rolled back over one request in two thousand."""


class Baseline:
    """Pooled event rates of stable for several rows, and the incident watch. All counts are of stable alone."""

    def __init__(self, rows: int) -> None:
        self.exposure = [0.0] * rows
        self.events = [0.0] * rows
        self.trouble_s = [0.0] * rows
        self.window: list[list[list[float]]] = []

    def rate(self, row: int) -> float:
        """The plain estimate of the rate of *row*, 0..1, drawn towards 0.1 % when little is known."""
        return (self.events[row] + 0.5) / (self.exposure[row] + 500.0)

    def cautious_rate(self, row: int) -> float:
        """Half a standard error above the plain estimate and at least :data:`RATE_MIN`; 0.9 % when nothing is known."""
        s = self.events[row] + 0.5
        return max((s + CAUTION * math.sqrt(s)) / (self.exposure[row] + 100.0), RATE_MIN)

    def look(self, events: Sequence[float], exposure: Sequence[float]) -> None:
        """Put the newest tick into the incident window. Call before :meth:`incident`, and :meth:`learn` after."""
        self.window = [*self.window, [list(events), list(exposure)]][-WINDOW_TICKS:]

    def incident(self, row: int, phi: float) -> bool:
        """Whether stable's last ticks lie above twice its own pool, by more than four sigma and two events."""
        events = sum(tick[0][row] for tick in self.window)
        expected = self.rate(row) * sum(tick[1][row] for tick in self.window)
        return events > max(expected * FACTOR, expected + SIGMAS * math.sqrt(phi * expected)) + SLACK_EVENTS

    def learn(self, events: Sequence[float], exposure: Sequence[float], seconds: float, calm: Sequence[bool]) -> None:
        """Pool the tick into the rows that are *calm*."""
        keep = math.exp(-seconds / MEMORY_S)
        for row, is_calm in enumerate(calm):
            self.trouble_s[row] = 0.0 if is_calm else self.trouble_s[row] + seconds
            if is_calm:
                self.exposure[row] = keep * self.exposure[row] + exposure[row]
                self.events[row] = keep * self.events[row] + events[row]

    def accept(self, rows: Iterable[int]) -> None:
        """Take the last ticks as normal for those of *rows* that have been in trouble for :data:`NEW_NORMAL_S`."""
        for row in rows:
            if self.trouble_s[row] >= NEW_NORMAL_S:
                self.events[row] = sum(tick[0][row] for tick in self.window)
                self.exposure[row] = sum(tick[1][row] for tick in self.window)
                self.trouble_s[row] = 0.0

    def to_dict(self) -> dict[str, object]:
        """The state, as plain JSON."""
        return {
            "exposure": self.exposure,
            "events": self.events,
            "trouble_s": self.trouble_s,
            "window": self.window,
        }

    def restore(self, state: dict[str, object]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.__dict__.update(state)
