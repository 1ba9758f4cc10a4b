"""
Argo Rollouts: an analysis run in every stage, thresholds on the canary alone, limits on how often they may be missed.

    target -> successCondition, alert_if -> failureCondition; one metric per row of the SLO table

- A measurement: both conditions true is Failed, neither is Inconclusive, an unreadable provider is Error. NaN makes
  every comparison false, so "no requests" misses a successCondition and meets no failureCondition.
- A metric: *more than* ``failure_limit`` failures fail it (3 fails on the 4th); likewise inconclusive ones and errors
  in a row. An Error is measured again after 10 s whatever the interval.
- The run is as good as its worst metric. Failed and Error take the canary back, Inconclusive waits for a person.

Compared line by line with Argo Rollouts at 9f8d111 (analysis/analysis.go, utils/evaluate, utils/analysis); the tests
name the function each rule is from.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from golive.rollout.judge.decision import Action, Decision
from golive.rollout.judge.table import Want
from golive.rollout.semantics.rules import EPSILON_S, Moment, Rules, number_fault
from golive.slo.row import Verdict

ERROR_RETRY_S = 10.0
"""``DefaultErrorRetryInterval``."""
CONDITIONS = ("both", "target", "alert_if")


class Phase(enum.StrEnum):
    """Of a measurement, a metric or a run; a later one is worse."""

    SUCCESSFUL = "Successful"
    RUNNING = "Running"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"
    FAILED = "Failed"


_WORSE = list(Phase)
_VERDICTS = {
    Phase.SUCCESSFUL: Verdict.PASS,
    Phase.FAILED: Verdict.FAIL,
    Phase.ERROR: Verdict.INCONCLUSIVE,
    Phase.INCONCLUSIVE: Verdict.INCONCLUSIVE,
}


@dataclass(frozen=True, slots=True)
class Options:
    """
    The fields of an analysis metric, with Argo's defaults where it has them.

    Attributes:
        interval_s: between two measurements, seconds; None together with *count* None: one measurement.
        count: measurements until the analysis of a stage is complete; None: it runs beside the stages until the end.
        initial_delay_s: before the first measurement, seconds. Argo's 0 measures at once, whatever little there is.
        failure_limit: failed measurements allowed; -1 disables.
        inconclusive_limit: inconclusive measurements allowed.
        consecutive_error_limit: errors in a row allowed.
        consecutive_success_limit: this many successes in a row complete the metric early; 0 disables.
        pause_s: how long a stage lasts when the analysis runs beside it, seconds.
        conditions: which limits of a row count: "target" (successCondition), "alert_if" (failureCondition) or "both".
    """

    interval_s: float | None = 60.0
    count: int | None = 5
    initial_delay_s: float = 0.0
    failure_limit: int = 0
    inconclusive_limit: int = 0
    consecutive_error_limit: int = 4
    consecutive_success_limit: int = 0
    pause_s: float = 300.0
    conditions: str = "both"

    def faults(self) -> list[str]:
        """What is wrong with them."""
        faults = [
            *number_fault("interval_s", self.interval_s, 1, none=True),
            *number_fault("count", self.count, 1, whole=True, none=True),
            *number_fault("initial_delay_s", self.initial_delay_s, 0),
            *number_fault("failure_limit", self.failure_limit, -1, whole=True),
            *number_fault("inconclusive_limit", self.inconclusive_limit, 0, whole=True),
            *number_fault("consecutive_error_limit", self.consecutive_error_limit, 0, whole=True),
            *number_fault("consecutive_success_limit", self.consecutive_success_limit, 0, whole=True),
            *number_fault("pause_s", self.pause_s, 0),
        ]
        if self.interval_s is None and (self.count or 1) > 1:
            faults.append(f"interval_s: expected seconds, because count is {self.count}, got None.")
        if self.conditions not in CONDITIONS:
            faults.append(f"conditions: expected one of {', '.join(CONDITIONS)}, got {self.conditions!r}.")
        return faults

    @property
    def count_effective(self) -> int | None:
        """Without interval and count there is one measurement."""
        return 1 if self.count is None and self.interval_s is None else self.count


@dataclass(slots=True)
class Metric:
    """
    The counters of one metric in one analysis run.

    Attributes:
        due: when it is measured next, seconds since the canary first had traffic.
        measured: measurements that did not end in an error; only they count towards ``count``.
    """

    due: float = 0.0
    phase: str = Phase.RUNNING
    measured: int = 0
    failed: int = 0
    inconclusive: int = 0
    errors_in_a_row: int = 0
    successes_in_a_row: int = 0

    def add(self, measurement: Phase, options: Options) -> None:
        """Count one measurement and assess the metric anew; a completed metric stays what it is."""
        error = measurement is Phase.ERROR
        self.errors_in_a_row = self.errors_in_a_row + 1 if error else 0
        self.successes_in_a_row = self.successes_in_a_row + 1 if measurement is Phase.SUCCESSFUL else 0
        self.measured += not error
        self.failed += measurement is Phase.FAILED
        self.inconclusive += measurement is Phase.INCONCLUSIVE
        self.phase = self.assess(options)

    def assess(self, options: Options) -> Phase:
        """The phase of the metric. The three limits are looked at in this order, and a later one overrides."""
        phase = Phase.RUNNING
        if 0 <= options.failure_limit < self.failed:
            phase = Phase.FAILED
        if self.inconclusive > options.inconclusive_limit:
            phase = Phase.INCONCLUSIVE
        if self.errors_in_a_row > options.consecutive_error_limit:
            phase = Phase.ERROR
        return self._completed(options) if phase is Phase.RUNNING else phase

    def _completed(self, options: Options) -> Phase:
        wanted = options.consecutive_success_limit
        if 0 < wanted <= self.successes_in_a_row:
            return Phase.SUCCESSFUL
        if options.count_effective is None or self.measured < options.count_effective:
            return Phase.RUNNING
        if wanted > 0:
            return Phase.INCONCLUSIVE if options.failure_limit >= 0 else Phase.FAILED
        return Phase.SUCCESSFUL


def assess_measurement(success: bool | None, failure: bool | None) -> Phase:
    """
    The phase of one measurement from its conditions; None for a condition that is not written.

    None written is Successful, as in the code (the documentation says Inconclusive).
    """
    if failure:
        return Phase.FAILED
    if success is None:
        return Phase.SUCCESSFUL
    if success:
        return Phase.SUCCESSFUL
    return Phase.FAILED if failure is None else Phase.INCONCLUSIVE


class ArgoRules(Rules):
    """Judges one rollout as Argo Rollouts does. See :class:`Options`."""

    name = "argo"
    options_class = Options
    options: Options

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.metrics: dict[str, Metric] = {}
        self.entered = 0.0

    def enter(self, t: float, *, first: bool) -> None:
        """A new stage: a new analysis run, unless one runs beside the stages."""
        self.entered = t
        if first or self.options.count_effective is not None:
            self.begin_interval()
            self.metrics = {want.name: Metric(due=t + self.options.initial_delay_s) for want in self.judged}

    def look(self, moment: Moment) -> Decision:
        """Measure what is due, then assess the run."""
        due = [name for name, metric in self.metrics.items() if self._is_due(metric, moment.t)]
        if due and not self._stopped():
            self._measure(due, moment)
        return self._assess_run(moment)

    def _is_due(self, metric: Metric, t: float) -> bool:
        return metric.phase == Phase.RUNNING and t >= metric.due - EPSILON_S

    def _stopped(self) -> bool:
        """A metric that failed, erred or is inconclusive ends the measuring of all."""
        return self._worst() in (Phase.FAILED, Phase.ERROR, Phase.INCONCLUSIVE)

    def _measure(self, due: list[str], moment: Moment) -> None:
        if moment.fault:
            for name in due:
                self._count(name, Phase.ERROR, f"error: {moment.fault}")
                self.metrics[name].due = moment.t + ERROR_RETRY_S
            return
        values = self.measure()
        for want in self.judged:
            if want.name in due:
                value = values[want.name]
                self._count(want.name, self._conditions(want, value), f"{want.row.target.shown(value)} ({want.bar})")
                self.metrics[want.name].due = moment.t + (self.options.interval_s or 0.0)

    def _conditions(self, want: Want, value: float) -> Phase:
        use, alert = self.options.conditions, want.row.alert_if
        success = want.row.target.holds(value) if use != "alert_if" or alert is None else None
        failure = alert.holds(value) if alert is not None and use != "target" else None
        return assess_measurement(success, failure)

    def _count(self, name: str, measurement: Phase, what: str) -> None:
        metric = self.metrics[name]
        metric.add(measurement, self.options)
        limit = self.options.failure_limit
        fails = f"fails on number {limit + 1}" if limit >= 0 else "failures are not limited"
        counts = f"{metric.measured} measured, {metric.failed} failed ({fails})"
        self.note(name, _VERDICTS[measurement], f"{what}: {measurement}; {counts}")

    # ------------------------------------------------------------------ the run

    def _worst(self) -> Phase:
        return max((Phase(metric.phase) for metric in self.metrics.values()), key=_WORSE.index, default=Phase.RUNNING)

    def _assess_run(self, moment: Moment) -> Decision:
        worst = self._worst()
        why = "; ".join(
            f"{name} is {metric.phase}, {self.rows[name][1]}"
            for name, metric in self.metrics.items()
            if metric.phase == worst and name in self.rows
        )
        if worst in (Phase.FAILED, Phase.ERROR):
            return self.decision(Action.ROLLBACK, f"{why}.")
        if worst is Phase.INCONCLUSIVE:
            return self.hold(f"{why}; a person has to decide", needs_human=True)
        if worst is Phase.SUCCESSFUL:
            return self.decision(Action.PROMOTE, f"{why}.")
        if self.options.count_effective is None and moment.t - self.entered >= self.options.pause_s - EPSILON_S:
            return self.decision(Action.PROMOTE, f"the pause of {self.options.pause_s:g} s is over.")
        return self.hold(moment.fault or "the analysis is running")

    # ------------------------------------------------------------------ state

    def kept(self) -> dict[str, Any]:
        """The metrics of the run."""
        return {"metrics": {name: asdict(metric) for name, metric in self.metrics.items()}, "entered": self.entered}

    def keep(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`kept` gave."""
        self.metrics = {name: Metric(**metric) for name, metric in state["metrics"].items()}
        self.entered = state["entered"]
