"""The latency of one route: slow requests of all, by the name of its row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from golive.rollout import Judge

PLAN = (0.1, 0.5, 1.0)
SLO = {
    "error_rate": {"target": "<= 1%", "alert_if": "> 2%"},
    "orders_latency_p95": {"target": "< 500ms", "alert_if": "> 1s", "route": "POST /orders"},
}
BOUNDS = (0.1, 0.5, 1.0)


def play(slow: float, ticks: int = 120) -> tuple[Any, float]:
    """Ten minutes of stable, then the canary at 10 %; of its orders a share is *slow*; the last decision and its t."""
    judge = Judge(plan=PLAN, slo=SLO, tick_s=10.0, histogram_bounds=BOUNDS, routes=("POST /orders", "*"))
    requests, orders, late = [[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0], [0.0, 0.0]
    for tick in range(-60, ticks):
        weight = 0.0 if tick < 0 else PLAN[0]
        for version, share in enumerate((1 - weight, weight)):
            orders[version] += 200 * share
            late[version] += 200 * share * (slow if version else 0.01)
            requests[version] = [orders[version], requests[version][1] + 1800 * share]
        values = [{"orders_latency_p95": [late[v], orders[v]]} if orders[v] else {} for v in (0, 1)]
        decision = judge.observe(
            SimpleNamespace(
                t=tick * 10.0, stage=-1 if tick < 0 else 0, weight=weight, stage_age=max(tick, 0) * 10.0,
                requests=[list(each) for each in requests], errors=[[0.0, 0.0], [0.0, 0.0]],
                latency=[[sum(each), 0.0, 0.0, 0.0] for each in requests], values=values,
            )
        )  # fmt: skip
        if decision.action == "rollback":
            return decision, tick * 10.0
    return decision, ticks * 10.0


def row_of(decision: Any) -> Any:
    return next(row for row in decision.rows if row.name == "orders_latency_p95")


def test_a_route_that_became_slow_takes_the_canary_back_and_says_which():
    """A tenth of the traffic, as fast as ever everywhere else: the total would hide it."""
    decision, after = play(slow=0.3)
    assert (decision.action, after < 600) == ("rollback", True)
    assert "orders_latency_p95" in decision.reason
    assert row_of(decision).verdict == "FAIL"


def test_a_route_as_fast_as_stables_passes_with_its_figures():
    """What is slow, of how many, against which bar."""
    decision, _ = play(slow=0.01)
    assert decision.action != "rollback"
    row = row_of(decision)
    assert row.verdict == "PASS"
    assert "slower than 1 s: canary 1%" in row.sentence
    assert "(target < 500ms, alert if > 1s)" in row.sentence


def test_a_route_nobody_used_is_inconclusive():
    """Neither passes nor fails."""
    judge = Judge(plan=PLAN, slo=SLO, tick_s=10.0, histogram_bounds=BOUNDS, routes=("POST /orders", "*"))
    decision = judge.observe(SimpleNamespace(t=-10.0, stage=-1))
    assert row_of(decision).verdict == "INCONCLUSIVE"
