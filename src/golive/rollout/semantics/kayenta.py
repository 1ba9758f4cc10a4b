"""
Kayenta (NetflixACAJudge-v1.0): both versions' metrics as series, compared by Mann-Whitney U; a score from 0 to 100.

    interval -> one point per row and version -> every analysis: each row Pass, High, Low or Nodata -> group scores
    -> weighted score -> stop at once at or below ``marginal``; the last analysis of a stage needs ``pass_score``

- High: the 98 % interval of the shift lies above a quarter of the estimated shift, and the effect is large enough.
- Where Kayenta adds random noise (both series constant), this takes the limit: see :mod:`.mann_whitney`.

Compared line by line with Kayenta at a69573b (NetflixACAJudge, MannWhitneyClassifier, EffectSizes, IQRDetector,
WeightedSumScorer, MonitorCanaryTask, GenerateCanaryAnalysisResultTask); the tests name the function each rule is from.
Left out: several groups per metric, and the label Error for a comparison that throws.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from statistics import fmean
from typing import Any

from golive.errors import ConfigError
from golive.rollout.judge.decision import Action, Decision
from golive.rollout.judge.reading import CANARY, STABLE
from golive.rollout.judge.table import Want
from golive.rollout.semantics.mann_whitney import location_shift
from golive.rollout.semantics.rules import EPSILON_S, Moment, Rules, number_fault
from golive.slo.row import Verdict

CONFIDENCE, TOLERANCE = 0.98, 0.25
"""Written into Kayenta's code; its settings of the same name are never read."""
OUTLIER_FACTOR, NODATA_SHARE_MAX = 3.0, 0.5
POINTS_MAX = 10_000
"""Points kept per row: a week of minutes. Older ones are forgotten."""
EFFECT_DEFAULTS = {"meanRatio": 1.0, "cles": 0.5}
DEFAULT_GROUP = "metrics"


class Label(enum.StrEnum):
    """Of one row in one analysis."""

    PASS = "Pass"  # noqa: S105 (a label, not a password)
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL = "NodataFailMetric"


@dataclass(frozen=True, slots=True)
class Options:
    """
    The fields of a canary config and of its execution.

    Attributes:
        interval_s: length of one point of the series, seconds.
        lifetime_s: how long a stage is analysed, seconds. Kayenta's guidance is three hours and 50 points.
        analysis_s: between two analyses, seconds; None: one, at the end of the lifetime.
        marginal, pass_score: scores; at or below *marginal* the analysis stops, the last one needs *pass_score*.
        nan_strategy: "remove" or "replace" (by 0).
        outliers: "keep" or "remove".
        effect_size: "meanRatio" or "cles".
        allowed_increase, allowed_decrease: effects that still count as none; None: 1.0, with cles 0.5.
        critical, must_have_data, muted: names of rows. A critical row that does not pass makes the score 0.
        critical_increase: effect from which on a *critical* row that is High makes the score 0; None: as for
            *allowed_increase*. *critical_decrease*: Low.
        groups: row -> group. *group_weights*: group -> weight; those not listed share what is left of 100.
    """

    interval_s: float = 60.0
    lifetime_s: float = 3600.0
    analysis_s: float | None = None
    marginal: float = 75.0
    pass_score: float = 95.0
    nan_strategy: str = "remove"
    outliers: str = "keep"
    effect_size: str = "meanRatio"
    allowed_increase: float | None = None
    allowed_decrease: float | None = None
    critical: Sequence[str] = ()
    must_have_data: Sequence[str] = ()
    muted: Sequence[str] = ()
    critical_increase: float | None = None
    critical_decrease: float | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    group_weights: Mapping[str, float] = field(default_factory=dict)

    def faults(self) -> list[str]:
        """What is wrong with them."""
        faults = [
            *number_fault("interval_s", self.interval_s, 1),
            *number_fault("lifetime_s", self.lifetime_s, 1),
            *number_fault("analysis_s", self.analysis_s, 1, none=True),
            *number_fault("marginal", self.marginal, 0),
            *number_fault("pass_score", self.pass_score, 0),
        ]
        for name in ("allowed_increase", "allowed_decrease", "critical_increase", "critical_decrease"):
            faults += number_fault(name, getattr(self, name), 0, none=True)
        choices = {
            "nan_strategy": ("remove", "replace"),
            "outliers": ("keep", "remove"),
            "effect_size": ("meanRatio", "cles"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                faults.append(f"{name}: expected {' or '.join(known)}, got {getattr(self, name)!r}.")
        if not faults and not self.marginal <= self.pass_score <= 100:
            faults.append(f"pass_score: expected {self.marginal:g} (marginal) to 100, got {self.pass_score:g}.")
        if sum(self.group_weights.values()) > 100:
            faults.append(f"group_weights: expected a sum up to 100, got {sum(self.group_weights.values()):g}.")
        return faults

    def allowed(self, label: Label) -> float:
        """The effect from which on High or Low is believed."""
        return self._effect(self.allowed_increase if label is Label.HIGH else self.allowed_decrease)

    def critical_from(self, label: Label) -> float:
        """The effect from which on a critical row that is High or Low fails everything."""
        return self._effect(self.critical_increase if label is Label.HIGH else self.critical_decrease)

    def _effect(self, given: float | None) -> float:
        return EFFECT_DEFAULTS[self.effect_size] if given is None else given


@dataclass(frozen=True, slots=True)
class Classified:
    """One row of one analysis: its label, whether the miss is critical, and the effect (NaN when it has none)."""

    label: Label
    critical: bool = False
    effect: float = math.nan


class KayentaRules(Rules):
    """Judges one rollout as Kayenta does. See :class:`Options`."""

    name = "kayenta"
    options_class = Options
    options: Options

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._check_rows()
        self.series: dict[str, list[list[float]]] = {}
        self.entered = self.due = self.analysis_due = 0.0
        self.score = 0.0

    def _check_rows(self) -> None:
        """Raises ConfigError when an option names a row the table does not have."""
        known = [want.name for want in self.wants]
        named = {name: getattr(self.options, name) for name in ("critical", "must_have_data", "muted", "groups")}
        faults = [
            f'kayenta.{option}: there is no row "{row}" in the table. Known: {", ".join(known)}.'
            for option, rows in named.items()
            for row in rows
            if row not in known
        ]
        if faults:
            raise ConfigError(*faults)

    def enter(self, t: float, *, first: bool) -> None:
        """A new stage is a new analysis with series of its own."""
        self.begin_interval()
        self.series = {want.name: [[], []] for want in self.judged}
        self.entered, self.due = t, t + self.options.interval_s
        self.analysis_due = t + min(self.options.analysis_s or self.options.lifetime_s, self.options.lifetime_s)

    def look(self, moment: Moment) -> Decision:
        """A point when the interval is over, an analysis when its time has come."""
        if moment.t >= self.due - EPSILON_S:
            self._point(moment.t)
        if moment.t < self.analysis_due - EPSILON_S:
            return self.hold(
                moment.fault or f"collecting points; next analysis in {self.analysis_due - moment.t:.0f} s"
            )
        return self._analyse(last=moment.t >= self.entered + self.options.lifetime_s - EPSILON_S)

    def _point(self, t: float) -> None:
        for want in self.judged:
            for version in (STABLE, CANARY):
                points = self.series[want.name][version]
                points.append(self._interval.value(want, version, self.bounds))
                del points[:-POINTS_MAX]
        self.begin_interval()
        self.due += self.options.interval_s * max(
            1, math.floor((t - self.due + EPSILON_S) / self.options.interval_s) + 1
        )

    def _analyse(self, *, last: bool) -> Decision:
        end = self.entered + self.options.lifetime_s
        self.analysis_due = min(self.analysis_due + (self.options.analysis_s or self.options.lifetime_s), end)
        found = {want.name: self._classify(want) for want in self.judged}
        self.score = score(found, self.options)
        told = f"the score is {self.score:g} (pass {self.options.pass_score:g}, marginal {self.options.marginal:g})"
        if self.score <= self.options.marginal or (last and self.score < self.options.pass_score):
            return self.decision(Action.ROLLBACK, f"{told}: {self._bad(found)}.", confidence=0.0)
        if last:
            return self.decision(Action.PROMOTE, f"{told}.", confidence=self.score)
        return self.hold(told)

    def _classify(self, want: Want) -> Classified:
        stable, canary = self.series[want.name]
        direction = "increase" if want.row.target.op.startswith("<") else "decrease"
        found = classify(stable, canary, self.options, direction=direction, row=want.name)
        verdict = {Label.PASS: Verdict.PASS, Label.NODATA: Verdict.INCONCLUSIVE}.get(found.label, Verdict.FAIL)
        effect = "" if math.isnan(found.effect) else f", effect {found.effect:.3g}"
        self.note(want.name, verdict, f"{found.label} over {len(canary)} points{effect} ({want.bar})")
        return found

    @staticmethod
    def _bad(found: Mapping[str, Classified]) -> str:
        return (
            "; ".join(f"{row} is {each.label}" for row, each in found.items() if each.label is not Label.PASS) or "none"
        )

    def kept(self) -> dict[str, Any]:
        """The series, NaN as null, and when what is due."""
        series = {
            row: [[None if math.isnan(v) else v for v in arm] for arm in arms] for row, arms in self.series.items()
        }
        return {"series": series, "due": [self.entered, self.due, self.analysis_due], "score": self.score}

    def keep(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`kept` gave."""
        self.series = {
            row: [[math.nan if v is None else v for v in arm] for arm in arms] for row, arms in state["series"].items()
        }
        self.entered, self.due, self.analysis_due = state["due"]
        self.score = state["score"]


# ---------------------------------------------------------------------- the judge


def classify(
    control: Sequence[float],
    experiment: Sequence[float],
    options: Options,
    *,
    direction: str = "increase",
    row: str = "",
) -> Classified:
    """
    The label of one row.

    Args:
        control, experiment: points of stable and canary, NaN where there was nothing to measure.
        direction: "increase", "decrease" or "either": which change is bad.
        row: its name, for the options that name rows.
    """
    critical = row in options.critical
    x, y = (_clean(values, options) for values in (experiment, control))
    if not x or not y:
        if options.nan_strategy == "replace":
            return Classified(Label.PASS)
        if row in options.must_have_data and not critical:
            return Classified(Label.NODATA_FAIL)
        return Classified(Label.NODATA, critical)
    if sorted(x) == sorted(y) or len({*x, *y}) == 1:
        return Classified(Label.PASS, effect=1.0)
    effect = effect_size(y, x, options.effect_size)
    label = _compare(x, y, effect, direction, options)
    return Classified(label, critical and _is_critical(label, effect, options), effect)


def _is_critical(label: Label, effect: float, options: Options) -> bool:
    """Whether the miss of a critical row is large enough; an effect that cannot be computed is not asked."""
    if label is Label.PASS:
        return False
    bar = options.critical_from(label)
    return math.isnan(effect) or (effect >= bar if label is Label.HIGH else effect <= bar)


def _compare(x: Sequence[float], y: Sequence[float], effect: float, direction: str, options: Options) -> Label:
    shift = location_shift(x, y, CONFIDENCE)
    bound = TOLERANCE * abs(shift.estimate)
    ignored = math.isnan(effect)
    if direction in ("increase", "either") and shift.low > bound and (ignored or effect >= options.allowed(Label.HIGH)):
        return Label.HIGH
    if (
        direction in ("decrease", "either")
        and shift.high < -bound
        and (ignored or effect <= options.allowed(Label.LOW))
    ):
        return Label.LOW
    return Label.PASS


def effect_size(control: Sequence[float], experiment: Sequence[float], measure: str) -> float:
    """
    "meanRatio": mean of the experiment over mean of the control, NaN when one of them is 0. "cles": the chance that
    a point of the experiment is larger than one of the control, ties half.
    """
    if measure == "meanRatio":
        means = fmean(experiment), fmean(control)
        return means[0] / means[1] if all(means) else math.nan
    larger = sum((x > y) + 0.5 * (x == y) for x in experiment for y in control)
    return larger / (len(experiment) * len(control))


def score(found: Mapping[str, Classified], options: Options) -> float:
    """The score of one analysis, 0..100, two decimals. Muted rows do not count."""
    counted = {row: each for row, each in found.items() if row not in options.muted}
    nodata = sum(each.label is Label.NODATA for each in counted.values())
    if any(each.critical and each.label is not Label.PASS for each in counted.values()):
        return 0.0
    if counted and nodata >= NODATA_SHARE_MAX * len(counted):
        return 0.0
    groups: dict[str, list[Label]] = {}
    for row, each in counted.items():
        groups.setdefault(options.groups.get(row, DEFAULT_GROUP), []).append(each.label)
    weights = _weights(list(groups), options.group_weights)
    total = sum(weights[group] / 100 * group_score(labels) for group, labels in groups.items())
    return float(Decimal(repr(total)).quantize(Decimal("0.01"), ROUND_HALF_UP))


def group_score(labels: Sequence[Label]) -> float:
    """The share of rows with data that pass, 0..100; 100 when none has data."""
    judged = [label for label in labels if label is not Label.NODATA]
    return 100.0 * sum(label is Label.PASS for label in judged) / len(judged) if judged else 100.0


def _weights(groups: Sequence[str], given: Mapping[str, float]) -> dict[str, float]:
    """Groups that are not listed share what is left of 100 equally."""
    unlisted = [group for group in groups if group not in given]
    left = 100.0 - sum(given.values())
    return {group: given[group] if group in given else left / len(unlisted) for group in groups}


def _clean(values: Sequence[float], options: Options) -> list[float]:
    if options.nan_strategy == "remove":
        clean = [value for value in values if not math.isnan(value)]
    else:
        clean = [0.0 if math.isnan(value) else value for value in values]
    return without_outliers(clean) if options.outliers == "remove" and clean else clean


def without_outliers(values: Sequence[float]) -> list[float]:
    """Only what lies within three interquartile ranges of the quartiles, or within the 1st to 99th percentile."""
    ordered = sorted(values)
    p1, q1, q3, p99 = (_percentile(ordered, p) for p in (1, 25, 75, 99))
    reach = OUTLIER_FACTOR * (q3 - q1)
    low, high = min(p1, q1 - reach), max(p99, q3 + reach)
    return [value for value in values if low <= value <= high]


def _percentile(ordered: Sequence[float], p: float) -> float:
    """The *p* th percentile (0..100) of sorted values, at position p (n - 1) / 100 from 0 (R's type 7)."""
    place = p * (len(ordered) - 1) / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
