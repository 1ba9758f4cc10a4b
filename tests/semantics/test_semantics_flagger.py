"""Flagger's rules, as its scheduler has them."""

from __future__ import annotations

import json

import pytest

from golive.errors import ConfigError
from golive.rollout.semantics.flagger import FlaggerRules

SLO = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}
PLAN = (0.1, 0.5, 1.0)


def rules(**options: object) -> FlaggerRules:
    return FlaggerRules(PLAN, SLO, 10.0, (), ("*",), **options)


def test_every_check_in_range_is_the_next_weight(hand, minute):
    """interval x steps; nothing between two ticks."""
    judge = rules()
    assert [str(judge.observe(hand.step()).action) for _ in range(6)] == ["hold"] * 5 + ["promote"]
    hand.promote(0.5)
    assert minute(judge).action == "promote"
    hand.promote(1.0)
    assert judge.observe(hand.step(1.0)).action == "promote"


def test_the_threshold_acts_one_tick_after_the_failing_check(minute):
    """scheduler.go, advanceCanary: FailedChecks >= GetAnalysisThreshold() is asked before runAnalysis."""
    judge = rules(threshold=2)
    assert [minute(judge, 0.03).action for _ in range(3)] == ["hold", "hold", "rollback"]


def test_failed_checks_never_decay_and_outlive_the_stage(hand, minute):
    """advanceCanary: SetStatusFailedChecks(FailedChecks + 1), and nothing takes one off: a recovered one goes too."""
    judge = rules(threshold=2)
    assert minute(judge, 0.03).action == "hold"
    assert minute(judge).action == "promote"
    hand.promote(0.5)
    assert minute(judge, 0.03).action == "hold"
    decision = minute(judge, 0.0)
    assert decision.action == "rollback"
    assert "2 failed checks of 2" in decision.reason


def test_no_data_is_a_failed_check(minute):
    """runMetricChecks returns false on ErrNoValuesFound: a quiet night rolls back (flagger#1035)."""
    judge = rules(threshold=1)
    assert [minute(judge, requests=0.0).action for _ in range(2)] == ["hold", "rollback"]


def test_a_provider_that_is_gone_is_a_failed_check_too(hand):
    """runMetricChecks returns false on any other error of the query as well."""
    judge = rules(threshold=1)
    judge.observe(hand.step())
    hand.requests = None
    actions = []
    for _ in range(12):
        hand.t += 10
        actions.append(str(judge.observe(hand).action))
    assert actions.index("rollback") == 10


def test_intervals_below_ten_seconds_are_ten_seconds(hand):
    """canary.go, GetAnalysisInterval."""
    assert rules(interval_s=1.0).interval_s == 10.0


@pytest.mark.parametrize(("target", "ends"), [("< 1%", "promote"), ("<= 1%", "promote")])
def test_a_value_at_the_end_of_the_range_is_in_it(hand, target, ends):
    """runMetricChecks: val < *tr.Min or val > *tr.Max fails, equality does not."""
    judge = FlaggerRules(PLAN, {"error_rate": {"target": target}}, 10.0, (), ("*",))
    for _ in range(6):
        decision = judge.observe(hand.step(0.01))
    assert decision.action == ends
    assert FlaggerRules(PLAN, SLO, 10.0, (), ("*",)).observe(hand.step(0.011)).action == "hold"


def test_the_range_may_be_the_alarm(minute):
    """1.5 % misses the target and is within the alarm."""
    assert minute(rules(limit="alert_if"), 0.015).action == "promote"
    assert rules(limit="alert_if").options.limit == "alert_if"


def test_a_stored_judge_goes_on_with_the_same_decisions(hand):
    """Through JSON at every look."""
    judge, twin = rules(threshold=3), rules(threshold=3)
    for k in range(40):
        hand.step(0.3 if k % 7 == 0 else 0.0)
        twin = FlaggerRules.from_dict(json.loads(json.dumps(twin.to_dict())))
        assert twin.observe(hand) == judge.observe(hand)


def test_a_threshold_of_zero_is_refused():
    """It would roll back everything."""
    with pytest.raises(ConfigError, match=r"flagger\.threshold: expected a whole number, 1 or more, got 0"):
        rules(threshold=0)
