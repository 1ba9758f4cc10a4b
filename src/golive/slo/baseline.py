"""
What is normal for the stable version: its pooled rates, and whether it is in trouble of its own right now.

A pool forgets slowly (half an hour), so that it follows the day; while an incident runs it learns nothing. An incident
of stable is a reason to hold and to page, never one to take the canary back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MEMORY_S = 2000.0
"""Time constant of the pool: evidence this old counts 1/e."""
WINDOW_TICKS = 6
"""An incident is looked for in the last six ticks: long enough for a count, short enough to be in time."""
SIGMAS, SLACK_EVENTS, FACTOR = 4.0, 2.0, 2.0
"""Trouble is twice the usual rate, and more than chance: four sigma and two events."""
RATE_MIN = 0.0005
"""Rates below this are not told apart from none: nobody should be rolled back over one request in two thousand."""


class Baseline:
    """Pooled event rates of stable for several rows, and the incident watch. All counts are of stable alone."""

    def __init__(self, rows: int) -> None:
        self.exposure = [0.0] * rows
        self.events = [0.0] * rows
        self.window: list[list[list[float]]] = []

    def rate(self, row: int) -> float:
        """The plain estimate of the rate of *row*, 0..1, drawn towards 0.1 % when little is known."""
        return (self.events[row] + 0.5) / (self.exposure[row] + 500.0)

    def cautious_rate(self, row: int) -> float:
        """One standard error above the plain estimate and at least :data:`RATE_MIN`; 1 % when nothing is known."""
        s = self.events[row] + 0.5
        return max((s + math.sqrt(s)) / (self.exposure[row] + 100.0), RATE_MIN)

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
            if is_calm:
                self.exposure[row] = keep * self.exposure[row] + exposure[row]
                self.events[row] = keep * self.events[row] + events[row]

    def to_dict(self) -> dict[str, object]:
        """The state, as plain JSON."""
        return {"exposure": self.exposure, "events": self.events, "window": self.window}

    def restore(self, state: dict[str, object]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.__dict__.update(state)
