"""
Flagger: every interval one check of the canary against fixed ranges; failed checks add up and are never forgiven.

One tick, every ``interval_s``, in this order:

1. failed checks >= ``threshold``: take the canary back. So a rollback comes one tick *after* the last failing check.
2. every metric in range? A metric outside, or without data, is one more failed check and halts this tick.
3. all in range: the next weight. The plan's weights are the ``stepWeights``.

Left out: webhooks and readiness, which golive has as gates and probes of its own.
Compared line by line with Flagger at 15bd6ad (advanceCanary and runMetricChecks); the tests name the function each rule
is from. A ``thresholdRange`` has its ends inside: a value equal to the limit is in range, whatever the row writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from golive.rollout.judge.decision import Action, Decision
from golive.rollout.judge.table import Want
from golive.rollout.judge.words import duration
from golive.rollout.semantics.rules import EPSILON_S, Moment, Rules, number_fault
from golive.slo.condition import Condition
from golive.slo.row import Verdict

INTERVAL_MIN_S = 10.0
"""Shorter intervals are raised to this, as Flagger does."""
LIMITS = ("target", "alert_if")


@dataclass(frozen=True, slots=True)
class Options:
    """
    The fields of ``analysis``.

    Attributes:
        interval_s: between two checks, seconds; at least 10.
        threshold: failed checks, over the whole rollout, that take the canary back.
        limit: which limit of a row is its ``thresholdRange``: "target" or "alert_if" (the target where there is none).
    """

    interval_s: float = 60.0
    threshold: int = 1
    limit: str = "target"

    def faults(self) -> list[str]:
        """What is wrong with them."""
        faults = [
            *number_fault("interval_s", self.interval_s, 0),
            *number_fault("threshold", self.threshold, 1, whole=True),
        ]
        if self.limit not in LIMITS:
            faults.append(f"limit: expected one of {', '.join(LIMITS)}, got {self.limit!r}.")
        return faults


class FlaggerRules(Rules):
    """Judges one rollout as Flagger does. See :class:`Options`."""

    name = "flagger"
    options_class = Options
    options: Options

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.failed_checks = 0
        self.due = 0.0

    @property
    def interval_s(self) -> float:
        """The interval that counts."""
        return max(self.options.interval_s, INTERVAL_MIN_S)

    def enter(self, t: float, *, first: bool) -> None:
        """A new weight: the ticks go on, and so do the failed checks."""
        if first:
            self.begin_interval()
            self.due = t + self.interval_s

    def look(self, moment: Moment) -> Decision:
        """One tick when the interval is over."""
        if moment.t < self.due - EPSILON_S:
            return self.hold(f"{self._standing()}; next check in {duration(self.due - moment.t)}")
        self.due += self.interval_s * max(1, math.floor((moment.t - self.due + EPSILON_S) / self.interval_s) + 1)
        if self.failed_checks >= self.options.threshold:
            return self.decision(Action.ROLLBACK, f"{self._standing()}: {self._why()}.")
        return self._check()

    def _check(self) -> Decision:
        values = self.measure()
        failing = next((want for want in self.judged if not self._in_range(want, values[want.name])), None)
        if failing is None:
            return self.decision(Action.PROMOTE, f"every metric is in range; {self._standing()}.")
        self.failed_checks += 1
        return self.hold(f"{self._standing()}: {failing.name}: {self.rows[failing.name][1]}")

    def _in_range(self, want: Want, value: float) -> bool:
        """Whether the metric passes; no data does not."""
        if math.isnan(value):
            self.note(want.name, Verdict.FAIL, f"no values found, which counts as a failure ({want.bar})")
            return False
        alert = want.row.alert_if
        use_alert = self.options.limit == "alert_if" and alert is not None
        passed = not _beyond(alert, value) if use_alert and alert else _within(want.row.target, value)
        self.note(want.name, Verdict.PASS if passed else Verdict.FAIL, f"{want.row.target.shown(value)} ({want.bar})")
        return passed

    def _standing(self) -> str:
        return f"{self.failed_checks} failed checks of {self.options.threshold}"

    def _why(self) -> str:
        bad = [f"{name}: {sentence}" for name, (verdict, sentence) in self.rows.items() if verdict == Verdict.FAIL]
        return "; ".join(bad) or "the last checks passed, but failed checks are never forgiven"

    def kept(self) -> dict[str, Any]:
        """Failed checks and the next tick."""
        return {"failed_checks": self.failed_checks, "due": self.due}

    def keep(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`kept` gave."""
        self.failed_checks, self.due = state["failed_checks"], state["due"]


def _within(target: Condition, value: float) -> bool:
    """Whether *value* is in the range a target draws: from its limit on, or up to it."""
    return target.holds(value) or value == target.value


def _beyond(alert: Condition, value: float) -> bool:
    """Whether *value* is outside the range an alarm draws; the limit itself is in it."""
    return alert.holds(value) and value != alert.value
