"""
Rows that are a level and not a count (memory, CPU, cost per job): four bad looks of the last five, and stable was fine.

N-of-M with hysteresis is what such rows get everywhere. That alone has no error rate: the looks in which the canary was
beyond the alarm alone are a bet as well (:mod:`golive.rollout.judge.regression`), and both are needed to take it back.
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

    def look(self, row: Row, levels: list[float | None]) -> bool | None:
        """
        Note the *levels* of stable and canary; when one is missing that neither passes nor fails and is not a look.

        Returns: whether the canary alone was beyond the alarm; None when that cannot be told, or both were.
        """
        self.last[row.name] = levels
        if None in levels:
            return None
        bad = [row.judge(level).verdict is Verdict.FAIL for level in levels]
        self.looks[row.name] = [*self.looks.get(row.name, []), bad][-LOOKS:]
        return None if all(bad) else bad[CANARY]

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
