"""
How bad can it still be? E-processes against "the canary is worse by at least delta", for a ladder of deltas.

Every rung is a bet that the excess failure rate is below its delta, made in two forms: *shared*, given the total of the
tick (blind to everything both versions suffer), and *pooled*, against stable's known rate (stronger, stopped while
stable is in trouble). Each since the start and since this stage, and restarted every minute with a part of the stake,
so that a bad beginning can be outlived. Delta is refuted at level beta when its wealth reaches 1/beta.
Source: Waudby-Smith, Ramdas; Johari et al., "Always valid inference" (a one-sided always-valid bound by inversion).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from golive.slo.evalue import late_reserve, late_stake, log_add, rate_gain, shared_gain

SHARED, POOLED, LATE = 0.2, 0.5, 0.3
"""Parts of the stake: the two forms, and the restarts (half for each form)."""
RATIO_MIN = 0.1
"""A bet on "not worse by delta" is a bet on a tenth of delta: the best guess of a good canary that is not perfect."""
DELTAS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 0.95)


def ladder_of(margin: float) -> tuple[float, ...]:
    """The excess rates tested, ascending, from *margin* (0..1) up."""
    return (margin, *(delta for delta in DELTAS if delta > margin))


class Refutation:
    """The wealth against one set of claims "worse by h" (rungs), since one beginning. Gains and values in nats."""

    def __init__(self, rungs: int) -> None:
        self.shared = [math.log(SHARED)] * rungs
        self.pooled = [math.log(POOLED)] * rungs
        self.minutes = 0

    def bet(self, shared: Sequence[float], pooled: Sequence[float]) -> None:
        """Add one tick's gains for every rung."""
        self.shared = [wealth + gain for wealth, gain in zip(self.shared, shared, strict=True)]
        self.pooled = [wealth + gain for wealth, gain in zip(self.pooled, pooled, strict=True)]

    def start_late(self) -> None:
        """A minute began: put the next part of the reserve on "not worse from now on"."""
        self.minutes += 1
        stake = math.log(LATE * late_stake(self.minutes) / 2)
        self.shared = [log_add(wealth, stake) for wealth in self.shared]
        self.pooled = [log_add(wealth, stake) for wealth in self.pooled]

    def value(self, rung: int) -> float:
        """Log wealth of one rung; *log(1/beta)* refutes it."""
        cash = math.log(LATE * late_reserve(self.minutes))
        return log_add(log_add(self.shared[rung], self.pooled[rung]), cash)

    def to_dict(self) -> dict[str, object]:
        """The state, as plain JSON."""
        return {"shared": self.shared, "pooled": self.pooled, "minutes": self.minutes}

    def restore(self, state: dict[str, object]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.__dict__.update(state)


def excess_gains(
    c: float, b: float, n_c: float, n_s: float, p: float, deltas: Sequence[float]
) -> tuple[list[float], list[float]]:
    """
    One tick's gains against "the canary fails at least delta more often than stable", in both forms.

    Args:
        c, b, n_c, n_s: events and exposure of canary and stable in the tick.
        p: stable's pooled rate before this tick, 0..1.
        deltas: excess rates, 0..1.
    """
    shared, pooled = [], []
    for delta in deltas:
        worse, good = min(p + delta, 0.999), min(p + RATIO_MIN * delta, 0.99)
        shared.append(shared_gain(c, b, n_c, n_s, worse / p, good / p))
        pooled.append(rate_gain(c, n_c, worse, good))
    return shared, pooled


def factor_gains(
    c: float, b: float, n_c: float, n_s: float, p: float, ratio: float, excess_min: float = 0.0
) -> tuple[list[float], list[float]]:
    """
    One tick's gains against "the canary has *ratio* times stable's slow requests" (one rung), in both forms.

    Args:
        ratio: > 1.
        excess_min: the claim is at least this much above *p*, for limits that stable hardly ever reaches.
    """
    worse = min(max(ratio * p, p + excess_min), 0.98)
    good = min(p + RATIO_MIN * (worse - p), 0.97)
    return [shared_gain(c, b, n_c, n_s, worse / p, good / p)], [rate_gain(c, n_c, worse, good)]
