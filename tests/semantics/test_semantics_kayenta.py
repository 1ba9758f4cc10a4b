"""Kayenta's judge: published cases, and the test against a slower version that is obviously right."""

from __future__ import annotations

import json
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.errors import ConfigError
from golive.rollout.semantics.kayenta import (
    Classified,
    KayentaRules,
    Label,
    Options,
    classify,
    effect_size,
    group_score,
    score,
    without_outliers,
)
from golive.rollout.semantics.mann_whitney import location_shift, midranks

SLO = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}
NAN = math.nan


def label(control: list[float], experiment: list[float], direction: str = "either", **options: object) -> str:
    return str(classify(control, experiment, Options(**options), direction=direction).label)  # type: ignore[arg-type]


def test_sparse_errors_against_none_pass():
    """kayenta#426: the weakness that hides a real incident is kept."""
    assert label([0.0] * 6, [0, 1, 2, 1, 0, 0]) == "Pass"


def test_half_of_the_points_bad_against_none_pass():
    """spinnaker/spinnaker#5622: five of ten not zero, a real missed incident."""
    assert label([0.0] * 10, [0, 3, 0, 1, 2, 0, 0, 4, 1, 0]) == "Pass"


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [0.0] * 5, [7.0]])
def test_identical_data_pass(values):
    """Without any test."""
    assert label(values, list(values)) == "Pass"


def test_a_clear_shift_is_high_or_low_by_direction():
    """Ten points each, wholly apart."""
    low, high = [10.0 + k for k in range(10)], [30.0 + k for k in range(10)]
    assert label(low, high) == "High"
    assert label(high, low) == "Low"
    assert label(low, high, "decrease") == label(high, low, "increase") == "Pass"


def test_two_constants_are_compared_without_random_noise():
    """The limit of Kayenta's noise, the same every time; against 0 there is no effect, which is then ignored."""
    assert label([1.0] * 5, [1.5] * 5) == "High"
    assert label([0.0] * 5, [1.0] * 5) == "High"
    assert label([2.0] * 5, [1.0] * 5) == "Low"


def test_an_effect_that_is_allowed_passes():
    """Twice as much, and 2.5 times is allowed."""
    control, experiment = [10.0 + k / 10 for k in range(10)], [20.0 + k / 10 for k in range(10)]
    assert label(control, experiment, allowed_increase=1.5) == "High"
    assert label(control, experiment, allowed_increase=2.5) == "Pass"
    assert label(control, experiment, effect_size="cles", allowed_increase=0.9) == "High"


def test_without_data_it_depends_on_the_strategy():
    """remove: Nodata, or a failure where data must be; replace: an empty series passes, NaN becomes 0."""
    assert label([1.0], []) == label([NAN], [1.0]) == "Nodata"
    assert label([], [1.0], nan_strategy="replace") == "Pass"
    must = classify([1.0], [], Options(must_have_data=("errors",)), row="errors")
    assert must.label is Label.NODATA_FAIL
    assert label([1.0, 1.1, 1.2, 1.3, 1.4, 1.5], [NAN] * 6, nan_strategy="replace") == "Low"


def test_nan_points_are_removed():
    """What is left decides."""
    low, high = [10.0 + k for k in range(10)], [30.0 + k for k in range(10)]
    assert label([*low, NAN], [NAN, *high, NAN]) == "High"


def test_effect_sizes():
    """A mean of 0 has no ratio."""
    assert effect_size([1, 3], [4, 4], "meanRatio") == 2.0
    assert math.isnan(effect_size([0, 0], [1, 1], "meanRatio"))
    assert math.isnan(effect_size([1, 1], [0, 0], "meanRatio"))  # EffectSizes.meanRatio: either mean
    assert effect_size([1, 2], [2, 3], "cles") == 0.875


def test_outliers_beyond_three_interquartile_ranges_go():
    """IQRDetector.detect with reduceSensitivity: the fences are at least the 1st and the 99th percentile."""
    assert without_outliers([1.0, 2, 3, 4, 1000]) == [1.0, 2, 3, 4]
    many = [float(k % 10) for k in range(300)]
    assert without_outliers([*many, 1e6]) == many


def marks(*labels: str) -> dict[str, Classified]:
    return {f"row{k}": Classified(Label(each)) for k, each in enumerate(labels)}


def test_scores_of_groups_and_their_weights():
    """Unlisted groups share what is left of 100; no data does not count in a group; two decimals."""
    assert group_score([Label.PASS, Label.HIGH, Label.NODATA]) == 50.0
    assert group_score([Label.NODATA]) == 100.0
    assert score(marks("Pass", "Pass", "High"), Options()) == 66.67
    grouped = Options(groups={"row0": "a", "row1": "b", "row2": "c"}, group_weights={"a": 60.0})
    assert score(marks("Pass", "High", "Pass"), grouped) == 80.0


def test_critical_misses_and_too_little_data_score_nothing():
    """Half without data is too much; muted rows do not count at all."""
    assert score({"a": Classified(Label.HIGH, critical=True), **marks("Pass", "Pass")}, Options()) == 0.0
    assert score(marks("Pass", "Nodata"), Options()) == 0.0
    assert score(marks("Pass", "Pass", "Nodata"), Options()) == 100.0
    assert score(marks("Pass", "High"), Options(muted=("row1",))) == 100.0


def test_a_critical_row_is_critical_from_the_critical_increase_on_and_no_other_row_ever():
    """MannWhitneyClassifier.classify: criticalHighFailure needs isCriticalMetric; without an effect it is not asked."""
    control, experiment = [10.0 + k / 10 for k in range(10)], [20.0 + k / 10 for k in range(10)]

    def critical(row: str, **options: float) -> bool:
        return classify(control, experiment, Options(critical=("errors",), **options), row=row).critical

    assert critical("errors")
    assert critical("errors", critical_increase=1.5)
    assert not critical("errors", critical_increase=5.0)
    assert not critical("latency", critical_increase=1.5)
    zeros = Options(critical=("errors",), critical_increase=5.0)
    assert classify([0.0] * 10, [1.0 + k for k in range(10)], zeros, row="errors").critical


def test_the_same_points_in_another_order_are_identical():
    """MannWhitneyClassifier.classify: experiment.values.sorted.sameElements(control.values.sorted)."""
    assert classify([1.0, 2.0, 9.0], [9.0, 1.0, 2.0], Options()).label == "Pass"


def test_outliers_are_fenced_by_percentiles_of_type_seven():
    """DescriptiveStatistics.percentile: EstimationType.R_7; of 1..4 and 10 the quartiles are 2 and 4, the 99th 9.76."""
    assert without_outliers([1.0, 2.0, 3.0, 4.0, 9.9]) == [1.0, 2.0, 3.0, 4.0, 9.9]  # within 4 + 3 * 2
    assert without_outliers([1.0, 2.0, 3.0, 4.0, 10.1]) == [1.0, 2.0, 3.0, 4.0]


def test_scores_are_rounded_half_up():
    """WeightedSumScorer.calculateSummaryScore: Precision.round(summaryScore, 2); one of 32 misses: 96.875."""
    assert score(marks(*["Pass"] * 31, "High"), Options()) == 96.88


VALUES = st.lists(st.integers(0, 1000), min_size=3, max_size=12, unique=True)


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES)
def test_the_estimate_is_the_median_of_all_differences(x, y):
    """Hodges and Lehmann's definition, spelled out; between the two middle ones when they are even in number."""
    differences = sorted(a - b for a in x for b in y)
    low, high = statistics.median_low(differences), statistics.median_high(differences)
    found = location_shift([float(v) for v in x], [float(v) for v in y], 0.98)
    assert low - 1e-6 <= found.estimate <= high + 1e-6
    assert found.low <= found.estimate + 1e-6 <= found.high + 2e-6


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES, st.integers(-500, 500))
def test_shifting_one_sample_shifts_interval_and_estimate(x, y, by):
    """The meaning of a location shift."""
    before = location_shift([float(v) for v in x], [float(v) for v in y], 0.98)
    after = location_shift([float(v + by) for v in x], [float(v) for v in y], 0.98)
    assert (after.low, after.high) == pytest.approx((before.low + by, before.high + by), abs=1e-6)


def test_ranks_share_their_mean():
    """Two groups of two: 2 * (8 - 2)."""
    assert midranks([5, 1, 5, 9, 1]) == ([3.5, 1.5, 3.5, 5.0, 1.5], 12.0)


def rules(**options: object) -> KayentaRules:
    return KayentaRules((0.1, 1.0), SLO, 10.0, (), ("*",), lifetime_s=600.0, **options)


def run(judge: KayentaRules, hand, rates) -> list[str]:
    return [str(judge.observe(hand.step(rate, stable=0.001 * (k % 3))).action) for k, rate in enumerate(rates)]


def test_a_healthy_canary_is_promoted_at_the_end_of_the_lifetime(hand):
    """Ten points of a minute each, one analysis."""
    judge = rules()
    assert run(judge, hand, [0.001 * (k % 3) for k in range(60)]) == ["hold"] * 59 + ["promote"]
    assert judge.score == 100.0


def test_a_bad_canary_is_taken_back_at_the_first_analysis(hand):
    """With an analysis every five minutes: at five minutes, not before."""
    actions = run(rules(analysis_s=300.0), hand, [0.05 + 0.001 * (k % 5) for k in range(30)])
    assert actions == ["hold"] * 29 + ["rollback"]


def test_no_requests_at_all_score_nothing(hand):
    """Nodata on half of the rows is a score of 0."""
    judge = rules()
    decisions = [judge.observe(hand.step(requests=0.0)) for _ in range(60)]
    assert decisions[-1].action == "rollback"
    assert "error_rate is Nodata" in decisions[-1].reason


def test_a_stored_judge_goes_on_with_the_same_decisions(hand):
    """Through JSON at every look, with points that are NaN."""
    judge, twin = rules(), rules()
    for k in range(60):
        hand.step(0.01 * (k % 4), requests=0.0 if k < 12 else 100.0)
        twin = KayentaRules.from_dict(json.loads(json.dumps(twin.to_dict(), allow_nan=False)))
        assert twin.observe(hand) == judge.observe(hand)


def test_a_row_that_is_not_in_the_table_is_refused():
    """Instead of never being critical."""
    with pytest.raises(ConfigError, match=r'kayenta\.critical: there is no row "latency"'):
        rules(critical=("latency",))
