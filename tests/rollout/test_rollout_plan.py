"""Plans: what is accepted, and how every fault is named."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.errors import ConfigError
from golive.rollout.plan import PRESETS, Stage, make_plan, preset, weight_of
from golive.rollout.ports import WEIGHT_MAX, Split, percent

S = timedelta(seconds=30)


def stages(*weights: int) -> list[Stage]:
    """Stages of these basis points."""
    return [Stage(weight, S) for weight in weights]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_plan(name: str) -> None:
    """Ascending to 100, with a watch."""
    plan = preset(name)
    assert plan.stages[-1].weight == WEIGHT_MAX
    assert list(plan.weights) == sorted(set(plan.weights))


def test_the_documents_plans_are_the_documents_numbers() -> None:
    """10/50/100 with 24, 24 and 48 hours and two roles; the ladder 1-5-25-50-95-100."""
    gradual = preset("canary-10-50-100")
    assert [(stage.weight, stage.floor, stage.approval) for stage in gradual.stages] == [
        (1000, timedelta(hours=24), None),
        (5000, timedelta(hours=24), "eng-lead"),
        (10000, timedelta(0), "product"),
    ]
    assert gradual.watch == timedelta(hours=48)
    assert [stage.weight for stage in preset("progressive").stages] == [100, 500, 2500, 5000, 9500, 10000]


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    """And with the list."""
    with pytest.raises(ConfigError, match='did you mean "progressive"'):
        preset("progresive")


def test_all_faults_are_named_at_once() -> None:
    """Descending, never ending, and a ceiling below the floor: three lines."""
    wrong = [Stage(5000, S), Stage(1000, S, ceiling=timedelta(seconds=1)), Stage(2000, timedelta(seconds=-1))]
    with pytest.raises(ConfigError) as caught:
        make_plan(wrong)
    said = "\n".join(caught.value.faults)
    assert "rollout.stages/1/weight: expected more than the 50 %" in said
    assert "rollout.stages/2/weight: expected the last stage to be 100" in said
    assert "rollout.stages/1/max_soak" in said
    assert "rollout.stages/2/soak" in said


def test_straight_to_100_has_to_be_meant() -> None:
    """Refused by default, allowed for blue-green."""
    with pytest.raises(ConfigError, match="blue-green"):
        make_plan(stages(WEIGHT_MAX))
    assert make_plan(stages(WEIGHT_MAX), at_once=True).weights == (1.0,)


def test_no_stage_and_too_many_are_no_plans() -> None:
    """Nothing, and a typing error."""
    with pytest.raises(ConfigError, match="at least two stages"):
        make_plan([])
    with pytest.raises(ConfigError, match="at most 50"):
        make_plan(stages(*range(1, 60), WEIGHT_MAX))


@pytest.mark.parametrize("value", [0, -1, 100.01, 0.001, float("nan"), float("inf"), True, "10", None])
def test_a_weight_that_is_none_is_refused(value: object) -> None:
    """More than 0, at most 100, in hundredths."""
    with pytest.raises(ConfigError, match="rollout"):
        weight_of(value, "rollout.stages/0/weight")  # type: ignore[arg-type]


@given(st.integers(min_value=1, max_value=WEIGHT_MAX))
def test_every_hundredth_of_a_percent_survives(weight: int) -> None:
    """As typed, as basis points, as printed."""
    assert weight_of(weight / 100, "here") == weight
    assert round(float(percent(weight)) * 100) == weight


@given(st.lists(st.integers(min_value=1, max_value=WEIGHT_MAX), max_size=8))
def test_a_plan_only_goes_up_and_ends_at_100(weights: list[int]) -> None:
    """Whatever is written: a plan with the promise, or a refusal."""
    try:
        plan = make_plan(stages(*weights), at_once=True)
    except ConfigError:
        assert not weights or weights[-1] != WEIGHT_MAX or weights != sorted(set(weights))
    else:
        assert list(plan.weights) == sorted(set(plan.weights))
        assert plan.weights[-1] == 1.0


def test_a_split_says_what_people_say() -> None:
    """Shares without trailing zeros; one version alone has all of it."""
    assert str(Split("v1", "v2", 50)) == "v1=99.5 v2=0.5"
    assert str(Split("v1")) == "v1=100"
