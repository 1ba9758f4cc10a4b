"""
Rows that are a level and not a count (memory, CPU, cost per job): four bad looks of the last five, and stable was fine.

A level has no denominator, so there is nothing to bet on; N-of-M with hysteresis is what such rows get everywhere.
"""

from __future__ import annotations

from golive.rollout.judge.reading import CANARY, STABLE
from golive.slo.row import Row, Verdict

LOOKS, BAD_LOOKS, STABLE_BAD_LOOKS = 5, 4, 1


class Gauges:
    """The last looks at every level."""

    def __init__(self) -> None:
        self.looks: dict[str, list[list[bool]]] = {}
        self.last: dict[str, list[float | None]] = {}

    def look(self, row: Row, levels: list[float | None]) -> None:
        """Note the *levels* of stable and canary; a missing one neither passes nor fails and is not a look."""
        self.last[row.name] = levels
        if levels[CANARY] is None:
            return
        bad = [level is not None and row.judge(level).verdict is Verdict.FAIL for level in levels]
        self.looks[row.name] = [*self.looks.get(row.name, []), bad][-LOOKS:]

    def verdict(self, row: Row) -> tuple[Verdict, str]:
        """FAIL when the canary, and not stable, was beyond the alarm in four of five looks."""
        looks = self.looks.get(row.name, [])
        levels = self.last.get(row.name, [None, None])
        bad = sum(look[CANARY] for look in looks)
        judgement = row.judge(levels[CANARY])
        if bad >= BAD_LOOKS and sum(look[STABLE] for look in looks) <= STABLE_BAD_LOOKS:
            return Verdict.FAIL, f"{judgement.sentence}: {bad} of the last {len(looks)} looks, stable was within it."
        if judgement.verdict is Verdict.FAIL:
            why = "stable too" if bad >= BAD_LOOKS else f"fails at {BAD_LOOKS} of {LOOKS}"
            return Verdict.INCONCLUSIVE, f"{judgement.sentence}: {bad} of the last {len(looks)} looks, {why}."
        return judgement.verdict, f"{judgement.sentence}."

    def to_dict(self) -> dict[str, object]:
        """The state, as plain JSON."""
        return {"looks": self.looks, "last": self.last}

    def restore(self, state: dict[str, object]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.__dict__.update(state)
