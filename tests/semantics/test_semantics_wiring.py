"""``[rollout] semantics`` chooses whose rules judge."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from golive.errors import ConfigError
from golive.planning import make_judge
from golive.rollout import Judge
from golive.rollout.plan import preset

SLO = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}


def state(**judging: Any) -> Any:
    return SimpleNamespace(plan=preset("progressive"), judging={"slo": SLO, **judging})


@pytest.mark.parametrize("semantics", ["argo", "flagger", "kayenta"])
def test_the_rules_are_made_and_come_back_from_the_store(semantics):
    """What was stored says whose rules it is; today's file does not matter."""
    rules = make_judge(state(semantics=semantics, options={"interval_s": 30.0}), None)
    assert rules.name == semantics
    assert rules.options.interval_s == 30
    again = make_judge(state(), json.loads(json.dumps(rules.to_dict())))
    assert again.to_dict() == rules.to_dict()


def test_whole_numbers_of_the_file_are_whole_numbers():
    """The file's numbers are floats; a failureLimit of 3.0 is 3, and 2.5 is refused."""
    assert make_judge(state(semantics="argo", options={"failure_limit": 3.0}), None).options.failure_limit == 3
    with pytest.raises(ConfigError, match=r"argo\.failure_limit: expected a whole number"):
        make_judge(state(semantics="argo", options={"failure_limit": 2.5}), None)


def test_without_a_word_it_is_golives_own_judge():
    """Journals from before the setting say nothing."""
    judge = make_judge(state(), None)
    assert isinstance(judge, Judge)
    assert isinstance(make_judge(state(), judge.to_dict()), Judge)
