"""
Clumping: how much more than by single chance events vary, because one cause makes several of them.

One retrying client makes five errors out of one; a test that counts five is wrong in 21 to 41 % of healthy rollouts.
The factor phi (variance over mean) is learned from the stable version, and every log likelihood ratio is divided by it.
Not needed, and left at 1, when real units are counted (a client is bad at most once per stage).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

PHI_MAX = 50.0
"""Beyond this, counts say next to nothing; a larger factor would only hide a fault in the evidence."""
RATIO_MAX = 2 * PHI_MAX
"""The most one pair of intervals may say. A stall makes every request of a second slow: that is an incident, not the
way in which events usually come."""
WEIGHT_MAX = 2.0
"""A pair weighs at most so many times a usual one, or one stall would outvote an hour of quiet."""
PRIOR_PHI = 1.0
PRIOR_EVENTS = 20.0
"""Before stable has shown anything: single events, worth as much as twenty observed ones."""
PHI_NOISE = 1.2
"""Up to here an estimate is what single events give by chance; dividing by it would only cost time."""


class Clumping:
    """
    phi for several rows at once, from successive differences of stable's counts.

    Differences of neighbouring intervals, scaled to equal exposure, have the variance of the noise and hardly any of
    slow drift, so that daily load does not pass for clumping (von Neumann's successive-difference estimator):

        phi = (20 + sum w d^2 / e) / (20 + sum w),   e = events of both intervals, d^2 / e <= 100, w = e limited

    Both limits make it a robust estimator (Huber): clumps that come again and again move it as before, one outlier does
    not.
    """

    def __init__(self, rows: int, interval_s: float) -> None:
        """*rows* counts watched together; *interval_s*: bursts shorter than this are seen as one clump."""
        self.interval_s = interval_s
        self.squares = [0.0] * rows
        self.events = [0.0] * rows
        self.pairs = [0] * rows
        self.before: list[list[float]] | None = None
        self.now: list[list[float]] = [[0.0] * rows, [0.0] * rows]
        self.age_s = 0.0

    def learn(self, events: Sequence[float], exposure: Sequence[float], seconds: float) -> None:
        """Add stable's counts of one tick of *seconds*, in the order of the rows."""
        self._add(events, exposure)
        self.age_s += seconds
        if self.age_s >= self.interval_s - 1e-9:
            self._close()

    def factor(self, row: int) -> float:
        """phi of *row*, 1..:data:`PHI_MAX`."""
        phi = (PRIOR_EVENTS * PRIOR_PHI + self.squares[row]) / (PRIOR_EVENTS + self.events[row])
        return min(phi, PHI_MAX) if phi > PHI_NOISE else 1.0

    def cautious_factor(self, row: int) -> float:
        """
        Two standard errors above :meth:`factor` where there are clumps: blame has to survive an estimate too low.

        Of e events in clumps of phi some e / phi are seen, and a variance over mean from m of them errs by sqrt(2 / m).
        Below 2, where there may be no clumps at all, only a part of that is added.
        """
        phi = self.factor(row)
        error = phi * math.sqrt(2 * phi / (PRIOR_EVENTS + self.events[row]))
        return min(phi + 2 * error * min(phi - 1.0, 1.0), PHI_MAX)

    def _add(self, events: Sequence[float], exposure: Sequence[float]) -> None:
        self.now[0] = [held + new for held, new in zip(self.now[0], events, strict=True)]
        self.now[1] = [held + new for held, new in zip(self.now[1], exposure, strict=True)]

    def _close(self) -> None:
        if self.before is not None:
            self._compare(self.before, self.now)
        rows = len(self.squares)
        self.before, self.now, self.age_s = self.now, [[0.0] * rows, [0.0] * rows], 0.0

    def _compare(self, before: list[list[float]], now: list[list[float]]) -> None:
        for row, (b_0, n_0, b_1, n_1) in enumerate(zip(*before, *now, strict=True)):
            if n_0 > 0 and n_1 > 0 and b_0 + b_1 > 0:
                scale = math.sqrt(n_0 / n_1)
                self._learn_pair(row, (b_1 * scale - b_0 / scale) ** 2, b_0 + b_1)

    def _learn_pair(self, row: int, square: float, events: float) -> None:
        usual = (PRIOR_EVENTS + self.events[row]) / (1 + self.pairs[row])
        weight = min(events, WEIGHT_MAX * usual)
        self.squares[row] += weight * min(square / events, RATIO_MAX)
        self.events[row] += weight
        self.pairs[row] += 1

    def to_dict(self) -> dict[str, object]:
        """The state, as plain JSON."""
        return {
            "squares": self.squares,
            "events": self.events,
            "pairs": self.pairs,
            "before": self.before,
            "now": self.now,
            "age_s": self.age_s,
        }

    def restore(self, state: dict[str, object]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.__dict__.update(state)
