"""Short simulated days: the long table is benchmarks/simulate_judge.py."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")

from golive.rollout import Judge
from golive.testing.traffic import BOUNDS, PLAN, ROUTES, SLO, bad_days, healthy_days, ship


@pytest.mark.slow
@pytest.mark.parametrize("name", list(healthy_days(1, 0)))
def test_a_healthy_release_is_not_taken_back(name: str) -> None:
    """Two seeded rollouts of every kind of day at 100 requests a second."""
    for seed in (1, 2):
        judge = Judge(PLAN, SLO, 10.0, BOUNDS, ROUTES)
        outcome = ship(judge, healthy_days(100, seed)[name], seed)
        assert outcome.ending != "rolled_back", outcome.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", list(bad_days(1)))
def test_a_bad_release_is_taken_back(name: str) -> None:
    """One seeded rollout of every kind of fault at 100 requests a second."""
    outcome = ship(Judge(PLAN, SLO, 10.0, BOUNDS, ROUTES), bad_days(100)[name], 5)
    assert outcome.ending == "rolled_back", outcome.reason


def test_f8_a_broken_build_at_five_requests_a_second_costs_a_handful() -> None:
    """Half fails at 10 % of 5 rps, thirty times: median within 15 s, nearly all within 30 s and ten failed requests."""
    day = bad_days(5)["half_fails"]
    outcomes = [ship(Judge((0.1, 1.0), SLO, 5.0, BOUNDS, ROUTES), day, seed, plan=(0.1, 1.0), tick_s=5.0, horizon_s=120)
                for seed in range(30)]  # fmt: skip
    assert {outcome.ending for outcome in outcomes} == {"rolled_back"}
    times = sorted(outcome.t for outcome in outcomes)
    assert times[14] <= 15
    assert times[27] <= 30
    assert sorted(outcome.failed for outcome in outcomes)[28] <= 10


def test_the_demo_pace_ships_in_half_a_minute_and_stops_a_broken_build_in_seconds() -> None:
    """200 requests a second, looks every second, 1-10-50-100."""
    plan = (0.01, 0.1, 0.5, 1.0)

    def outcome(name: str) -> object:
        day = {**healthy_days(200, 3), **bad_days(200)}[name]
        judge = Judge(plan, SLO, 1.0, BOUNDS, ROUTES, pace="demo")
        return ship(judge, day, 3, plan=plan, tick_s=1.0, history_s=10.0, horizon_s=120.0)

    good, bad = outcome("steady"), outcome("half_fails")
    assert (good.ending, good.t <= 60) == ("live", True), good
    assert (bad.ending, bad.t <= 10) == ("rolled_back", True), bad
