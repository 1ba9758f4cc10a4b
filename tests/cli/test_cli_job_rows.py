"""Jobs and levels in the terminal: what `explain` and the live view show of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from golive.cli.evidence_view import Ledger, measured
from golive.cli.explain_view import _arm_json, _did
from golive.cli.job_tally import between, counts_of, measured_jobs, plus, runs_of
from golive.cli.story import Story
from golive.rollout import events as ev
from golive.rollout.judge.jobs import JOB_BOUNDS
from golive.rollout.machine import State, begin
from golive.rollout.plan import preset
from golive.rollout.session import Snapshot
from golive.slo.table import parse_table

T0 = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SLO = {
    "error_rate": {"target": "<= 1%", "alert_if": "> 2%", "queue": "reports"},
    "job_duration_p95": {"target": "< 1s", "alert_if": "> 2s"},
    "dead_letters": {"target": "== 0", "alert_if": ">= 1", "queue": "reports"},
    "cost_per_job": {"target": "< $0.01"},
    "memory_ratio": {"target": "< 80%"},
}
ROWS = parse_table(SLO)


def queue(succeeded: int, failed: int = 0, bucket: int = 8, cost: float | None = None) -> dict[str, Any]:
    histogram = [0] * (len(JOB_BOUNDS) + 1)
    histogram[bucket] = succeeded + failed
    return {"ends": {"succeeded": succeeded, "failed": failed, "cancelled": 3}, "histogram": histogram, "cost": cost}


def told(
    moves: str, *looks: tuple[dict[str, Any], dict[str, Any]], routes: tuple[str, ...] = ("reports", "*")
) -> Ledger:
    """A ledger that heard of so many looks, ten seconds apart."""
    ledger = Ledger()
    settings = {"histogram_bounds": list(JOB_BOUNDS), "routes": list(routes), "moves": moves}
    ledger.add(ev.Taught(at=T0, session={"judge": {"settings": settings}}))
    empty = tuple([0] * len(routes) for _ in (0, 1))
    latency = tuple([0] * (len(JOB_BOUNDS) + 1) for _ in (0, 1))
    for number, jobs in enumerate(looks):
        values = ({"memory_ratio": 0.5}, {"memory_ratio": 0.9})
        look = Snapshot(number * 10.0, 0, 0.1, 0.0, empty, empty, latency, "jobs", jobs=jobs, values=values)  # type: ignore[arg-type]
        ledger.add(ev.Verdict(at=T0 + timedelta(seconds=10 * number), stage=0, action="hold", confidence=0, reason="",
                              evidence=msgspec.to_builtins(look)))  # fmt: skip
    return ledger


def state(**judging: Any) -> State:
    started = ev.Started(at=T0, id="r-1", service="r", stable="v1", candidate="v2", plan=preset("demo"),
                         judging={"slo": SLO, **judging})  # fmt: skip
    return begin(started)[0]


LOOKS = (
    ({"reports": queue(100), "mail": queue(10)}, {}),
    ({"reports": queue(190, 10), "mail": queue(20)}, {"reports": queue(15, 5, bucket=11)}),
)


def test_where_jobs_move_alone_they_are_the_requests():
    """By queue as by route; cancelled runs are none; the total of the others stands under the last name."""
    ledger = told("jobs", *LOOKS)
    stable, canary = ledger.totals
    assert (stable.requests, stable.errors) == ((100, 10), (10, 0))
    assert (canary.requests, canary.errors) == ((20, 0), (5, 0))
    assert sum(canary.latency) == 20
    assert measured(ROWS["error_rate"], canary, ledger) == 0.25
    assert measured(ROWS["dead_letters"], stable, ledger) == 10
    assert 1.0 < (measured(ROWS["job_duration_p95"], canary, ledger) or 0) <= 2.048
    assert measured(ROWS["memory_ratio"], canary, ledger) == 0.9
    assert measured(ROWS["cost_per_job"], canary, ledger) is None
    assert _did(canary, Story(state(), ledger)).startswith("5 of 20 failed (25%), P95 job duration")


def test_where_both_move_jobs_stand_beside_the_requests():
    """And rows of jobs have values as well; JSON names the queues."""
    ledger = told("both", *LOOKS, routes=("*",))
    canary = ledger.totals[1]
    assert sum(canary.requests) == 0
    assert measured(ROWS["error_rate"], canary, ledger) == 0.25
    assert _did(canary, Story(state(), ledger)).startswith("no requests; jobs: 5 of 20 failed (25%)")
    assert _arm_json(canary) == {"requests": 0, "failed": 0, "jobs": {"reports": {"runs": 20, "failed": 5}}}


def test_costs_add_up_and_one_unknown_makes_the_mean_unknown():
    """A mean over runs whose cost somebody counted."""
    row = ROWS["cost_per_job"]
    assert measured_jobs(row, {"a": queue(10, cost=1.0), "b": queue(10, cost=2.0)}) == pytest.approx(0.15)
    assert measured_jobs(row, {"a": queue(10, cost=1.0), "b": queue(10)}) is None
    both = plus({"a": queue(10, cost=1.0)}, {"a": queue(5, 5, cost=0.5), "b": queue(1)})
    assert (both["a"]["cost"], runs_of(both, "a"), runs_of(both)) == (1.5, (20, 5), (21, 5))


@pytest.mark.parametrize("jobs", [None, 7, [{"a": {"ends": {"succeeded": float("nan")}}}, {}], [{"a": 1}]])
def test_what_is_no_count_is_nothing_here(jobs: Any):
    """The judge says what was wrong with it; a picture of it would be a lie."""
    assert between(counts_of([{}, {}]), counts_of(jobs)) == ({}, {})


def test_counters_that_went_down_show_nothing():
    """Never a negative number of jobs."""
    assert between(counts_of([{"a": queue(9)}, {}]), counts_of([{"a": queue(3)}, {}])) == ({}, {})
