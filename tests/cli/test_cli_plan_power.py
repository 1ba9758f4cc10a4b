"""What `golive plan` says a plan can detect, held against simulated traffic in front of the real judge."""

from __future__ import annotations

import itertools
import statistics

import pytest

from golive.rollout.judge import Judge
from golive.rollout.plan import preset
from golive.rollout.power import Traffic, latency_shape, power_of, unjudged
from golive.testing import traffic as days


class Planned:
    """A preset with its judge, and rollouts of it on simulated days."""

    def __init__(self, name, tick_s, pace, slo=days.SLO):
        self.plan, self.tick_s, self.pace, self.slo = preset(name), tick_s, pace, slo
        self.floors = [stage.floor.total_seconds() for stage in self.plan.stages]
        self.ceilings = [floor + 3600 for floor in self.floors]

    def judge(self):
        return Judge(
            plan=self.plan.weights, slo=self.slo, tick_s=self.tick_s, histogram_bounds=days.BOUNDS,
            routes=days.ROUTES, pace=self.pace, floor_s=self.floors, ceiling_s=self.ceilings,
        )  # fmt: skip

    def power(self, rate, error_ratio=0.001):
        return power_of(self.judge, self.floors, self.ceilings, Traffic(rate, error_ratio))

    def play(self, rate, ratio, seed):
        """A rollout that stays in every stage for its floor: (stage, seconds, failed) of the rollback, or None."""
        traffic = days.Traffic(days.Day("", False, rate, errors=lambda t, weight: ratio), seed, self.tick_s)
        judge, start = self.judge(), 0.0
        for k in range(-120, 1):
            traffic.tick(k * self.tick_s, 0, 0) if k < 0 else None
            judge.observe(traffic.snapshot(k * self.tick_s, -1, 0, 0))
        for stage, weight in enumerate(self.plan.weights[:-1]):
            for k in range(1, round(self.floors[stage] / self.tick_s) + 1):
                age = k * self.tick_s
                traffic.tick(start + age, weight, age)
                if judge.observe(traffic.snapshot(start + age, stage, weight, age)).action == "rollback":
                    return stage, start + age, traffic.errors[1].sum()
            start += self.floors[stage]
        return None

    def found(self, rate, ratio, stage, seeds=40):
        """The share of rollouts in which a candidate failing at *ratio* is taken back by the end of *stage*."""
        played = [self.play(rate, ratio, seed) for seed in range(seeds)]
        return sum(each is not None and each[0] <= stage for each in played) / seeds


DEMO = Planned("demo", 1.0, "demo")
PROGRESSIVE = Planned("progressive", 5.0, "careful")


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_what_a_stage_finds_is_found_in_four_of_five_simulated_rollouts(stage):
    """At the promised share most rollouts are taken back in time, and at half of it clearly fewer."""
    finds = DEMO.power(100).stages[stage].finds
    assert DEMO.found(100, finds, stage) >= 0.6
    assert DEMO.found(100, finds / 2.5, stage) <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "stage"), [(5, 1), (5, 2), (50, 0), (50, 1)])
def test_the_careful_pace_finds_what_its_plan_says(rate, stage):
    """The same for the production preset, at a small team's traffic and at ten times that."""
    finds = PROGRESSIVE.power(rate).stages[stage].finds
    assert PROGRESSIVE.found(rate, finds, stage, seeds=25) >= 0.55
    assert PROGRESSIVE.found(rate, finds / 2.5, stage, seeds=25) <= 0.5


@pytest.mark.parametrize(("planned", "rate"), [(DEMO, 100), (PROGRESSIVE, 5), (PROGRESSIVE, 50)])
def test_a_broken_build_costs_about_what_the_plan_says(planned, rate):
    """Seconds and failed requests of a build of which half fails, against the median of simulated ones."""
    broken = planned.power(rate).broken
    played = [each for each in (planned.play(rate, 0.5, seed) for seed in range(15)) if each]
    assert len(played) >= 12
    assert 0.4 * broken.seconds <= statistics.median(each[1] for each in played) <= 2 * broken.seconds
    assert 0.3 * broken.failed <= statistics.median(each[2] for each in played) <= 3 * broken.failed


def test_a_good_release_takes_about_as_long_as_expected():
    """The expected time to 100 % lies within a factor of two of simulated good releases at a low rate."""
    expected = PROGRESSIVE.power(5).stages[-1].done_s
    ships = [
        days.ship(PROGRESSIVE.judge(), days.Day("", True, 5), seed, tick_s=5.0, horizon_s=7200) for seed in range(5)
    ]
    assert {each.ending for each in ships} == {"live"}
    assert expected / 2 <= statistics.median(each.t for each in ships) <= expected * 2


def test_more_traffic_never_finds_less():
    """Ten times the requests find the same or smaller regressions in every stage, and sooner."""
    powers = [PROGRESSIVE.power(rate) for rate in (0.5, 5, 50)]
    for less, more in itertools.pairwise(powers):
        for a, b in zip(less.stages[:-1], more.stages[:-1], strict=True):
            assert (b.finds or 9) <= (a.finds or 9)
        assert more.broken.seconds <= less.broken.seconds
        assert (more.stages[-1].done_s or 1e9) <= (less.stages[-1].done_s or 1e9)


def test_later_stages_find_at_least_what_earlier_ones_did():
    """Evidence adds up: what is found by the end of a stage is found by the end of the next."""
    finds = [stage.finds or 9 for stage in PROGRESSIVE.power(5).stages[:-1]]
    assert finds == sorted(finds, reverse=True)


def test_without_traffic_to_speak_of_nothing_is_promised():
    """A request every ten minutes: no stage finds anything, and a good release stays undecided."""
    power = PROGRESSIVE.power(1 / 600)
    assert [stage.finds for stage in power.stages] == [None] * 6
    assert power.broken is None
    assert power.stages[-1].done_s is None


def test_a_days_soak_is_reckoned_in_a_blink_and_ends_at_its_floor():
    """Long stages take no more looks than they need, and the good release passes exactly when it may."""
    day = Planned("canary-10-50-100", 5.0, "careful")
    assert day.power(20).stages[0].done_s == pytest.approx(86_400)


def test_the_usual_latency_adds_up():
    """The shape given to latency is a distribution for any buckets, and none without."""
    assert sum(latency_shape(days.BOUNDS)) == pytest.approx(1)
    assert min(latency_shape((0.001, 100.0))) >= 0
    assert latency_shape(()) == []


def test_rows_that_no_evidence_reaches_are_named():
    """A row for an unknown route and one the gateway does not count are listed with the reason."""
    slo = {
        "error_rate": {"target": "<= 1%", "route": "GET /nowhere"},
        "dead_letters": {"target": "== 0", "alert_if": ">= 1"},
        "latency_p95": {"target": "< 1s"},
    }
    rows = dict(unjudged(Planned("demo", 1.0, "demo", slo).judge()))
    assert set(rows) == {"error_rate", "dead_letters"}
    assert "GET /nowhere" in rows["error_rate"]
