"""Argo Rollouts' rules, as its code has them."""

from __future__ import annotations

import json

import pytest

from golive.errors import ConfigError
from golive.rollout.semantics.argo import ArgoRules, Metric, Options, Phase, assess_measurement

SLO = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}
PLAN = (0.1, 0.5, 1.0)


def rules(**options: object) -> ArgoRules:
    settings = {"initial_delay_s": 60.0, "conditions": "target", **options}
    return ArgoRules(PLAN, SLO, 10.0, (), ("*",), **settings)


def add(phases: str, **options: object) -> Metric:
    """A metric after measurements, one letter each: S, F, I, E."""
    metric, made = Metric(), Options(**options)  # type: ignore[arg-type]
    for letter in phases:
        metric.add({"S": Phase.SUCCESSFUL, "F": Phase.FAILED, "I": Phase.INCONCLUSIVE, "E": Phase.ERROR}[letter], made)
    return metric


def test_failure_limit_3_fails_on_the_fourth_failure():
    """The documentation says "after three"; the code needs four (TestAssessMetricStatusFailureLimit)."""
    assert add("FFF", failure_limit=3, count=None).phase == "Running"
    assert add("FFFF", failure_limit=3, count=None).phase == "Failed"


def test_limits_are_looked_at_in_order_and_a_later_one_overrides():
    """assessMetricFailureInconclusiveOrError: failed, then inconclusive, then errors; each overwrites the phase."""
    assert Metric(failed=1).assess(Options()) == "Failed"
    assert Metric(failed=1, inconclusive=1).assess(Options()) == "Inconclusive"
    assert Metric(failed=1, inconclusive=1, errors_in_a_row=5).assess(Options()) == "Error"


def test_an_error_ends_a_row_of_successes():
    """runMeasurements: AnalysisPhaseError sets ConsecutiveSuccess to 0."""
    assert add("SSES", consecutive_success_limit=3, count=10).phase == "Running"
    assert add("SSESSS", consecutive_success_limit=3, count=10).phase == "Successful"


def test_failures_are_cumulative_and_successes_do_not_forgive():
    """analysis.go, assessMetricFailureInconclusiveOrError: result.Failed > failureLimit, whatever is between."""
    assert add("FSSSSFSSSF", failure_limit=2, count=None).phase == "Failed"


def test_failure_limit_minus_one_never_fails():
    """The same: a negative failureLimit "isn't applicable"."""
    assert add("F" * 50, failure_limit=-1, count=None).phase == "Running"


def test_the_fifth_error_in_a_row_is_an_error_and_a_success_starts_over():
    """defaults.go, GetConsecutiveErrorLimitOrDefault: 4; runMeasurements: any other measurement resets the count."""
    assert add("EEEE", count=None).phase == "Running"
    assert add("EEEESEEEE", count=None).phase == "Running"
    assert add("EEEEE", count=None).phase == "Error"


def test_errors_do_not_count_as_measurements():
    """analysis.go, runMeasurements: an Error adds to Error and ConsecutiveError, not to Count."""
    assert add("SESES", count=5).phase == "Running"
    assert add("SESES", count=3).phase == "Successful"


@pytest.mark.parametrize(
    ("phases", "options", "expected"),
    [
        ("SSS", {"consecutive_success_limit": 3, "count": 10}, "Successful"),
        ("SSFSS", {"consecutive_success_limit": 3, "count": 5, "failure_limit": 3}, "Inconclusive"),
        ("SSFSS", {"consecutive_success_limit": 3, "count": 5, "failure_limit": -1}, "Failed"),
        ("FFS", {"count": 3, "failure_limit": 3}, "Successful"),
        ("S", {"count": None, "interval_s": None}, "Successful"),
        ("I", {}, "Inconclusive"),
        ("II", {"inconclusive_limit": 2}, "Running"),
    ],
)
def test_a_metric_completes_as_the_code_says(phases, options, expected):
    """Count reached, both limits unmet: Inconclusive; only the success limit: Failed; else Successful."""
    assert add(phases, **options).phase == expected


@pytest.mark.parametrize(
    ("success", "failure", "expected"),
    [
        (True, True, "Failed"),
        (True, False, "Successful"),
        (False, False, "Inconclusive"),
        (False, True, "Failed"),
        (True, None, "Successful"),
        (False, None, "Failed"),
        (None, True, "Failed"),
        (None, False, "Successful"),
        (None, None, "Successful"),
    ],
)
def test_conditions_of_a_measurement(success, failure, expected):
    """Both conditions true is Failed."""
    assert assess_measurement(success, failure) == expected


def test_one_bad_minute_rolls_back_with_the_default_limit(minute):
    """failureLimit 0: the first missed measurement fails the run, and it is measured after the delay only."""
    judge = rules()
    decision = minute(judge, canary=0.03)
    assert decision.action == "rollback"
    assert "error_rate is Failed, 3% (target <= 1%" in decision.reason


def test_the_initial_delay_is_waited_for(hand):
    """Nothing is measured before it, and the interval counts from the first measurement."""
    judge = rules(initial_delay_s=30.0)
    actions = [str(judge.observe(hand.step(0.5)).action) for _ in range(3)]
    assert actions == ["hold", "hold", "rollback"]


def test_a_stage_is_promoted_after_count_measurements_and_the_last_one_at_once(hand, minute):
    """Two measurements a stage; at 100 % nothing is looked at any more."""
    judge = rules(count=2)
    assert [minute(judge).action, minute(judge).action] == ["hold", "promote"]
    hand.promote(0.5)
    assert [minute(judge).action, minute(judge).action] == ["hold", "promote"]
    hand.promote(1.0)
    assert judge.observe(hand.step(1.0)).action == "promote"


def test_between_target_and_alert_a_person_is_asked(minute):
    """Neither condition true: Inconclusive pauses the rollout."""
    decision = minute(rules(conditions="both"), canary=0.015)
    assert (decision.action, decision.needs_human) == ("hold", True)


def test_no_requests_miss_a_success_condition_and_meet_no_failure_condition(minute):
    """NaN makes every comparison false: the trap of argo#1905."""
    assert minute(rules(), requests=0.0).action == "rollback"
    assert minute(rules(conditions="alert_if", count=1), requests=0.0).action == "promote"


def test_an_unreadable_provider_errs_every_ten_seconds_until_the_fifth(hand):
    """The retry does not wait for the interval; 40 s after the first error the canary goes."""
    judge = rules()
    for _ in range(5):
        judge.observe(hand.step())
    hand.errors = None
    actions = []
    for _ in range(5):
        hand.t += 10
        actions.append(str(judge.observe(hand).action))
    assert actions == ["hold"] * 4 + ["rollback"]


def test_beside_the_stages_the_analysis_goes_on_until_the_end(hand, minute):
    """Without a count failures of different stages add up, and a stage lasts its pause."""
    judge = rules(count=None, pause_s=120.0, failure_limit=1)
    assert [minute(judge, 0.03).action, minute(judge).action] == ["hold", "promote"]
    hand.promote(0.5)
    assert minute(judge, 0.03).action == "rollback"


def test_a_stored_judge_goes_on_with_the_same_decisions(hand):
    """Through JSON at every look."""
    judge, twin = rules(failure_limit=2, count=9), rules(failure_limit=2, count=9)
    for k in range(40):
        hand.step(0.03 if k % 7 == 0 else 0.0)
        twin = ArgoRules.from_dict(json.loads(json.dumps(twin.to_dict())))
        assert twin.observe(hand) == judge.observe(hand)


def test_every_wrong_option_is_named():
    """Unknown names come with a suggestion."""
    with pytest.raises(ConfigError) as error:
        rules(failurelimit=1, inconclusive_limit=-1)
    assert "did you mean" in error.value.faults[0]
    assert error.value.faults[1] == "argo.inconclusive_limit: expected a whole number, 0 or more, got -1."
