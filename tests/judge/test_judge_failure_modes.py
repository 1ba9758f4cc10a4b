"""The failure modes of judging, named by their code: sparse errors, shared incidents, clustered errors."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")

from tests.judge.conftest import World

from golive.rollout import Judge
from golive.testing.traffic import BOUNDS, PLAN, ROUTES, SLO, Day, healthy_days, ship

ONE_ROW = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}}


def test_f9_sparse_errors_against_none_never_pass_and_count_up_to_a_rollback(world: World) -> None:
    """0, 1, 2, 1, 0, 0 failures a minute where stable has none: Kayenta passes it. Here nothing is promoted, and as
    the pattern goes on it is taken back."""
    judge = Judge((0.1, 0.5, 1.0), ONE_ROW, 10.0, (0.05, 0.1, 0.2, 0.5, 1.0), ("*",))
    for _ in range(60):
        judge.observe(world.step(5.0, 0.0, 0.0))
    world.start()
    actions = []
    for tick in range(240):
        world.step(5.0, 0.0, 0.0)
        world.errors[1][0] += (0, 1, 2, 1, 0, 0)[tick // 6 % 6] if tick % 6 == 5 else 0
        actions.append(str(judge.observe(world).action))
        if actions[-1] == "rollback":
            break
    assert "promote" not in actions
    assert actions[-1] == "rollback"


@pytest.mark.parametrize("seed", range(3))
def test_f10_what_happens_to_both_versions_is_blamed_on_neither(seed: int) -> None:
    """Weights that rise while errors of both drift up, in which cumulated rates of two arms lie (Simpson), and an
    outage of both, and a cold start."""
    drift = Day("ramp with drift", True, 40.0, shared_errors=lambda t: 0.01 * max(t, 0.0) / 1800)
    for day in (drift, healthy_days(40, seed)["outage"], healthy_days(40, seed)["cold_start"]):
        outcome = ship(Judge(PLAN, SLO, 10.0, BOUNDS, ROUTES), day, seed, horizon_s=1800)
        assert outcome.ending != "rolled_back", f"{day.name}: {outcome.reason}"


@pytest.mark.parametrize("seed", range(3))
def test_f11_ten_errors_of_one_cause_are_not_ten_witnesses(seed: int) -> None:
    """Requests without clients: how failures clump is learned from stable, and the bar rises with it."""
    day = Day("clustered", True, 40.0, clump=10)
    outcome = ship(Judge(PLAN, SLO, 10.0, BOUNDS, ROUTES), day, seed, horizon_s=1800)
    assert outcome.ending != "rolled_back", outcome.reason
