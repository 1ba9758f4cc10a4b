"""Short simulated days; `make simulate-judge` plays a thousand rollouts of each."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

pytest.importorskip("numpy")

from golive.rollout import Judge
from golive.testing.traffic import BOUNDS, PLAN, ROUTES, SLO, Day, Outcome, bad_days, healthy_days, ship
from golive.testing.traffic_batch import ship_batch


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


# ---------------------------------------------------------------------- the short form of `make simulate-judge`

TEN_PERCENT = (0.1, 0.5, 1.0)


def many(days: list[Day], plan: tuple[float, ...] = PLAN, **settings: Any) -> list[Outcome]:
    """Whole rollouts, one per day, on seed 1."""
    return ship_batch(days, SLO, 1, plan=plan, **settings)


def test_of_four_hundred_healthy_releases_at_ten_requests_a_second_hardly_one_is_taken_back() -> None:
    """Forty rollouts of each kind of day, to the end: at most 1 % together, and no kind of day twice."""
    taken_back = {}
    for name in healthy_days(1, 0):
        ends = [each.ending for each in many([healthy_days(10, k)[name] for k in range(40)])]
        taken_back[name] = ends.count("rolled_back")
    assert sum(taken_back.values()) <= 4, taken_back
    assert max(taken_back.values()) <= 1, taken_back


@pytest.mark.parametrize("tick_s", [2.0, 5.0, 10.0])
def test_a_broken_build_is_taken_back_in_a_median_of_ten_seconds(tick_s: float) -> None:
    """Half fails at 5 requests a second and 10 %: median within 12 s, 95 % within 30 s and ten failed requests."""
    outcomes = many([bad_days(5)["half_fails"]] * 300, TEN_PERCENT, tick_s=tick_s, horizon_s=300.0)
    assert {each.ending for each in outcomes} == {"rolled_back"}
    assert statistics.median(each.t for each in outcomes) <= 12
    assert sorted(each.t for each in outcomes)[284] <= 30
    assert sorted(each.failed for each in outcomes)[284] <= 10


def test_ten_times_the_errors_at_fifty_requests_a_second_are_found_in_a_median_of_45_s() -> None:
    """From 0.3 to 3 % at 10 %, all of them caught."""
    outcomes = many([bad_days(50)["errors_0.3_to_3%"]] * 400, TEN_PERCENT, tick_s=5.0, horizon_s=900.0)
    assert {each.ending for each in outcomes} == {"rolled_back"}
    assert statistics.median(each.t for each in outcomes) <= 45


def test_a_release_that_is_worse_from_the_start_earns_confidence_in_at_most_one_of_twenty() -> None:
    """The calibration, on whole rollouts: 0.31 points worse, just beyond the margin, where it is hardest."""
    worse = Day("worse", False, 30.0, errors=lambda t, weight: 0.0041)
    assert sum(each.confident_at < math.inf for each in many([worse] * 300)) <= 15


def test_a_healthy_release_is_live_twice_as_soon_as_by_fixed_pauses() -> None:
    """Fifty requests a second; five pauses of ten minutes are the fixed plan."""
    live = [each.t for each in many([healthy_days(50, 0)["steady"]] * 40) if each.ending == "live"]
    assert len(live) == 40
    assert statistics.median(live) <= 5 * 600 / 2
