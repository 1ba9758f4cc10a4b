"""
One row of the table, and the judgement of one value against it.

Between target and alarm lies room in which nothing is decided: a value there, no value, or NaN is INCONCLUSIVE, which
neither passes nor fails. Left out on purpose: where values come from, and statistics over many of them.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from golive.slo.condition import Condition
from golive.slo.indicators import INDICATORS, Severity
from golive.timing import format_duration

Phase = Literal["gate", "canary", "steady"]


class Verdict(enum.StrEnum):
    """What one look at one row says."""

    PASS = "PASS"  # noqa: S105 (a verdict, not a password)
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the one sentence that says why; command line, console, webhook and report print the same one."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Row:
    """
    One line of the table.

    Attributes:
        name: the key in ``[slo]``, e.g. ``submit_latency_p95``.
        indicator: ``latency``, ``error_rate``, ... or ``custom`` for a row that brings its own query.
        quantile: 0..1 for latencies and durations, else None.
        target: what is promised.
        alert_if: when it is broken. None: the target is the only limit, and missing it is FAIL.
        act_if: when somebody must act at once; a worse case of ``alert_if``.
        window: the look-back over which the indicator is computed, > 0.
        route: only requests of this route (``POST /api/vpr``; without a method: all methods).
        queue: only jobs of this queue.
        severity: ``page`` or ``ticket``.
        baseline: how much worse than the stable version is tolerated, as a signed ratio: ``+20%`` is 0.2.
        query: the user's own measurement; ``$labels`` and ``$window`` are filled in.
        phases: the row as it is in a phase that overrides something; ask :meth:`for_phase`.
    """

    name: str
    indicator: str
    quantile: float | None
    target: Condition
    alert_if: Condition | None
    act_if: Condition | None
    window: timedelta
    route: str | None
    queue: str | None
    severity: Severity
    baseline: float | None
    query: str | None
    phases: Mapping[str, Row] = field(default_factory=dict, hash=False)

    def for_phase(self, phase: Phase) -> Row:
        """The row with the overrides of *phase*; itself when there are none."""
        return self.phases.get(phase, self)

    def judge(self, value: float | None) -> Judgement:
        """
        Judge one measured *value*, in the base unit (share, seconds, dollars, bytes, count); None when there is none.

        PASS when the target is met, FAIL when ``alert_if`` (or ``act_if``) is true, INCONCLUSIVE for everything else.
        """
        unusable = self._why_unusable(value)
        if value is None or unusable:
            return Judgement(Verdict.INCONCLUSIVE, f"{self.name}: {unusable}, which neither passes nor fails")
        if self.target.holds(value):
            return Judgement(Verdict.PASS, f"{self.name} is {self.target.shown(value)} (target {self.target})")
        for word, limit in (("act", self.act_if), ("alert", self.alert_if)):
            if limit and limit.holds(value):
                shown = limit.shown(value)
                return Judgement(Verdict.FAIL, f"{self.name} is {shown} ({word} if {limit}, target {self.target})")
        if self.alert_if is None:
            return Judgement(Verdict.FAIL, f"{self.name} is {self.target.shown(value)} (target {self.target})")
        return Judgement(
            Verdict.INCONCLUSIVE,
            f"{self.name} is {self.target.shown(value)}, between target {self.target} and alert if {self.alert_if}",
        )

    def _why_unusable(self, value: float | None) -> str:
        if value is None:
            return f"no data in the last {format_duration(self.window)}"
        if math.isnan(value):
            return "the measurement is not a number (nothing was counted)"
        built_in = INDICATORS.get(self.indicator)
        if built_in is not None and built_in.share and not 0 <= value <= 1:
            return f"the measurement {value:g} is not a share between 0 and 1"
        return ""
