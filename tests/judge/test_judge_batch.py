"""The batch form of the simulations is the judge: every look of every rollout, to the last digits."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("numpy")

import numpy as np

from golive.rollout import Judge
from golive.testing.judge_batch import JudgeBatch
from golive.testing.traffic import BOUNDS, PLAN, ROUTES, SLO, Traffic, bad_days, healthy_days

TICK_S, HISTORY = 10.0, 60
DAYS = [("clustered", 10.0), ("outage", 100.0), ("noisy_pod", 100.0), ("cold_start", 100.0), ("high_base", 10.0),
        ("errors_0.1_to_1%", 100.0), ("half_fails", 5.0), ("latency_+50%", 3.0), ("capacity_errors", 1000.0),
        ("late_at_15min", 100.0), ("bursty", 1.0), ("errors_0.1_to_10%", 10.0)]  # fmt: skip


class Rollout:
    """One scalar judge and the counters it sees."""

    def __init__(self, name: str, rps: float, seed: int, plan: tuple[float, ...], pace: str) -> None:
        self.plan, self.judge = plan, Judge(plan, SLO, TICK_S, BOUNDS, ROUTES, pace=pace)
        self.traffic = Traffic({**healthy_days(rps, seed), **bad_days(rps)}[name], seed, TICK_S)
        self.stage, self.entered, self.history = 0, 0.0, []
        self.judge.observe(self.traffic.snapshot(-HISTORY * TICK_S, -1, 0.0, 0.0))
        for k in range(HISTORY - 1, -1, -1):
            self.history.append([each[0] for each in self.tick(-k * TICK_S, 0.0, 0.0)])
            self.judge.observe(self.traffic.snapshot(-k * TICK_S, -1, 0.0, 0.0))

    def tick(self, t: float, weight: float, age: float) -> list[object]:
        """What was counted in one tick."""
        counters = self.traffic.requests, self.traffic.errors, self.traffic.latency
        before = [each.copy() for each in counters]
        self.traffic.tick(t, weight, age)
        return [now - old for now, old in zip(counters, before, strict=True)]

    def look(self, t: float) -> tuple[object, list[object], tuple[float, float, float]]:
        weight, age = self.plan[self.stage], t - self.entered
        counts = self.tick(t, weight, age)
        decision = self.judge.observe(self.traffic.snapshot(t, self.stage, weight, age))
        return decision, counts, (self.stage, weight, age)


@pytest.mark.parametrize("pace", ["careful", "fast"])
def test_a_thousand_rollouts_at_once_decide_as_one_does(pace: str) -> None:
    """
    Twelve kinds of days side by side through all stages: action, evidence, confidence and bound are equal each time.

    Rollouts that end are dropped from the batch, as in the long simulation.
    """
    rollouts = [Rollout(name, rps, seed, PLAN, pace) for seed, (name, rps) in enumerate(DAYS)]
    history = [
        np.stack([np.stack([r.history[k][part] for r in rollouts]) for k in range(HISTORY)]) for part in range(3)
    ]
    batch = JudgeBatch(Judge(PLAN, SLO, TICK_S, BOUNDS, ROUTES, pace=pace), *history)
    looks = 0
    for k in range(1, 361):
        seen = [rollout.look(k * TICK_S) for rollout in rollouts]
        stage, weight, age = (np.array(column) for column in zip(*(place for _, _, place in seen), strict=True))
        counts = [np.stack([c[part] for _, c, _ in seen], axis=1) for part in range(3)]
        batched = batch.observe(k * TICK_S, stage, weight, age, *counts)
        ended = np.zeros(len(rollouts), dtype=bool)
        for i, (rollout, (decision, _, _)) in enumerate(zip(rollouts, seen, strict=True)):
            looks += 1
            where = f"{rollout.traffic.day.name} at {k * TICK_S:g} s: {decision.reason}"
            action = "rollback" if batched.rollback[i] else "promote" if batched.promote[i] else "hold"
            assert action == decision.action, where
            assert bool(batched.incident[i]) == decision.incident, where
            assert math.isclose(batched.evidence[i], decision.evidence, rel_tol=1e-6, abs_tol=1e-6), where
            assert math.isclose(batched.confidence[i], decision.confidence, rel_tol=1e-6, abs_tol=1e-6), where
            assert batched.harm_bound[i] == decision.harm_bound, where
            if action == "promote" and rollout.stage < len(PLAN) - 1:
                rollout.stage, rollout.entered = rollout.stage + 1, k * TICK_S
            elif action != "hold":
                ended[i] = True
        batch.keep(~ended)
        rollouts = [rollout for rollout, over in zip(rollouts, ended.tolist(), strict=True) if not over]
        if not rollouts:
            break
    assert looks > 500
