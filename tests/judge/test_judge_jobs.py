"""Worker canaries: the weight splits jobs, alone or together with requests."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from golive.errors import ConfigError
from golive.jobs.tally import BOUNDS_SECONDS, RunEnd, RunTally
from golive.rollout import Judge
from golive.rollout.judge.jobs import DEAD, FAULTS, JOB_BOUNDS, NOT_RUNS, job_counts
from golive.slo.row import Verdict

SLO = {
    "success_rate": {"target": "> 99%", "alert_if": "< 98%", "queue": "reports"},
    "job_duration_p95": {"target": "< 90s", "alert_if": "> 120s"},
    "dead_letters": {"target": "== 0", "alert_if": ">= 1"},
    "cost_per_job": {"target": "< $0.01", "alert_if": "> $0.05"},
}
PLAN = (0.1, 0.5, 1.0)
USUAL = {"succeeded": 0.996, "retried": 0.003, "rejected": 0.001}
BROKEN_ENDS = {"succeeded": 0.6, "failed": 0.4}
SECOND, MINUTES = 10, 18  # buckets of about one second and about three minutes


class Workers:
    """Both versions' job counts, ticked by hand; shares of a run's ends add up to 1."""

    def __init__(self, moves: str = "jobs") -> None:
        self.epoch = ""
        self.moves, self.t, self.stage, self.weight, self.stage_age = moves, -600.0, -1, 0.0, 0.0
        self.jobs: Any = [{}, {}]
        self.requests, self.errors = [[0.0], [0.0]], [[0.0], [0.0]]
        self.latency = [[0.0, 0.0], [0.0, 0.0]]

    def start(self) -> None:
        self.t, self.stage, self.weight, self.stage_age = 0.0, 0, PLAN[0], 0.0

    def step(self, ends: dict[str, float] | None = None, slow: float = 0.0, over_cost: float = 0.0) -> Workers:
        """Ten seconds of twenty jobs and a hundred requests a second; *ends*, *slow*, *over_cost*: of the canary."""
        self.t += 10.0
        self.stage_age += 10.0 if self.stage >= 0 else 0.0
        for version, share in enumerate((1 - self.weight, self.weight)):
            canary = version == 1
            runs = 200.0 * share
            held = self.jobs[version].setdefault(
                "reports", {"ends": {}, "histogram": [0.0] * (len(JOB_BOUNDS) + 1), "over_cost": 0.0}
            )
            for end, part in (ends if canary and ends else USUAL).items():
                held["ends"][end] = held["ends"].get(end, 0.0) + runs * part
            held["histogram"][SECOND] += runs * (1 - slow * canary)
            held["histogram"][MINUTES] += runs * slow * canary
            held["over_cost"] += runs * over_cost * canary
            self.requests[version][0] += 1000 * share
            self.latency[version][0] += 1000 * share
        return self


def make_judge(**settings: Any) -> Judge:
    return Judge(**{"plan": PLAN, "slo": SLO, "routes": ("reports", "*"), "moves": "jobs", **settings})


def learn(judge: Judge, workers: Workers) -> None:
    """Ten minutes of stable alone."""
    while workers.t < 0:
        judge.observe(workers)
        workers.step()
    judge.observe(workers)
    workers.start()


def end_of(judge: Judge, workers: Workers, step: Callable[[], Any], ticks: int = 200) -> Any:
    """The last decision."""
    for _ in range(ticks):
        step()
        decision = judge.observe(workers)
        if decision.action == "rollback" or (decision.action == "promote" and workers.stage == len(PLAN) - 1):
            break
        if decision.action == "promote":
            workers.stage, workers.weight, workers.stage_age = workers.stage + 1, PLAN[workers.stage + 1], 0.0
    return decision


@pytest.mark.parametrize("moves", ["jobs", "both"])
def test_jobs_that_failed_while_the_gateways_counters_began_anew_are_counted(moves: str) -> None:
    """The store kept them: what it says about the canary is as bad as if nobody had taken over."""
    looks = []
    for ends, after in ((USUAL, "first"), (BROKEN_ENDS, "first"), (BROKEN_ENDS, "second")):
        judge = make_judge(moves=moves, histogram_bounds=(1.0,), **({"routes": ("*",)} if moves == "both" else {}))
        workers = Workers(moves)
        workers.epoch = "first"
        learn(judge, workers)
        for _ in range(3):
            judge.observe(workers.step())
        seen = copy.deepcopy((workers.requests, workers.latency))
        workers.step(ends=ends)
        workers.requests, workers.latency = seen
        workers.epoch = after
        looks.append(judge.observe(workers))
    healthy, undisturbed, taken_over = looks
    assert undisturbed.evidence > healthy.evidence
    assert undisturbed.harm_bound > healthy.harm_bound
    for what in ("action", "evidence", "harm_bound", "confidence"):
        assert getattr(taken_over, what) == getattr(undisturbed, what)
    assert [row.verdict for row in taken_over.rows] == [row.verdict for row in undisturbed.rows]


@pytest.mark.parametrize("moves", ["jobs", "both"])
def test_a_takeover_leaves_requests_uncounted_and_never_jobs(moves: str) -> None:
    """Where jobs are what moves, the gateway's counters say nothing; where both do, its requests are missing once."""
    judge = make_judge(moves=moves, histogram_bounds=(1.0,), **({"routes": ("*",)} if moves == "both" else {}))
    workers = Workers(moves)
    workers.epoch = "first"
    learn(judge, workers)
    judge.observe(workers.step())
    seen = copy.deepcopy((workers.requests, workers.latency))
    workers.step()
    workers.requests, workers.latency = seen
    workers.epoch = "second"
    assert ("no requests are counted yet" in judge.observe(workers).reason) is (moves == "both")
    assert "counted yet" not in judge.observe(workers.step()).reason


def test_the_contract_speaks_the_words_of_the_job_room() -> None:
    """Ends and duration buckets are those the stores count by; one that is renamed there is noticed here."""
    assert JOB_BOUNDS == BOUNDS_SECONDS
    assert set(RunEnd) >= {*FAULTS, DEAD, *NOT_RUNS}


def test_counts_are_made_from_the_tallies_of_the_job_stores() -> None:
    """By version and queue; kinds of one queue add up."""
    histogram = (0,) * 9 + (5,) + (0,) * 13
    tallies = [
        RunTally("v2", kind, end, 5, 5.0, histogram)
        for kind, end in (("pdf", RunEnd.SUCCEEDED), ("csv", RunEnd.SUCCEEDED), ("csv", RunEnd.LOST))
    ]
    counts = job_counts(tallies, "v2", {"pdf": "reports", "csv": "reports"})
    assert counts["reports"]["ends"] == {"succeeded": 10, "lost": 5}
    assert counts["reports"]["histogram"][9] == 15
    assert job_counts(tallies, "v1") == {}


@pytest.mark.parametrize("moves", ["jobs", "both"])
def test_healthy_workers_are_promoted_to_the_end(moves: str) -> None:
    """On jobs alone, without a single request, and on both together."""
    judge, workers = make_judge(moves=moves, histogram_bounds=(1.0,)), Workers()
    if moves == "jobs":
        workers.requests = workers.errors = workers.latency = None  # type: ignore[assignment]
        workers.step = lambda **_: _without_requests(workers)  # type: ignore[method-assign]
    else:
        judge = make_judge(moves=moves, histogram_bounds=(1.0,), routes=("*",))
    learn(judge, workers)
    decision = end_of(judge, workers, workers.step)
    assert (decision.action, workers.stage) == ("promote", 2), decision.reason
    assert decision.confidence >= 95
    assert {row.name: row.verdict for row in decision.rows}["job_duration_p95"] is Verdict.PASS


def _without_requests(workers: Workers) -> Workers:
    workers.requests, workers.errors, workers.latency = [[0.0], [0.0]], [[0.0], [0.0]], [[0.0, 0.0], [0.0, 0.0]]
    Workers.step(workers)
    workers.requests = workers.errors = workers.latency = None  # type: ignore[assignment]
    return workers


@pytest.mark.parametrize("moves", ["jobs", "both", "requests"])
@pytest.mark.parametrize(
    ("row", "bad"),
    [
        ("success_rate", {"ends": {"succeeded": 0.9, "retried": 0.1}}),
        ("success_rate", {"ends": {"succeeded": 0.9, "lost": 0.1}}),
        ("dead_letters", {"ends": {"succeeded": 0.97, "failed": 0.03}}),
        ("job_duration_p95", {"slow": 0.2}),
        ("cost_per_job", {"over_cost": 0.2}),
    ],
)
def test_workers_that_fail_die_or_take_too_much_are_taken_back(moves: str, row: str, bad: dict[str, Any]) -> None:
    """Failed, dead, over time, over cost: against stable's jobs of the same tick, whatever the weight splits."""
    judge, workers = make_judge(moves=moves, histogram_bounds=(1.0,)), Workers()
    if moves != "jobs":
        judge = make_judge(moves=moves, histogram_bounds=(1.0,), routes=("*",))
    learn(judge, workers)
    decision = end_of(judge, workers, lambda: workers.step(**bad))
    assert decision.action == "rollback", decision.reason
    verdicts = {each.name: each.verdict for each in decision.rows}
    failed = {name for name, verdict in verdicts.items() if verdict is Verdict.FAIL}
    assert failed, verdicts
    assert row in failed or failed & {"failed jobs", "success_rate"}, verdicts


def test_rejected_and_cancelled_jobs_do_not_speak_against_the_version() -> None:
    """Bad payloads and people who change their mind are nobody's regression."""
    judge, workers = make_judge(), Workers()
    learn(judge, workers)
    ends = {"succeeded": 0.697, "retried": 0.003, "rejected": 0.2, "cancelled": 0.1}
    assert end_of(judge, workers, lambda: workers.step(ends=ends)).action == "promote"


def test_jobs_are_named_in_the_sentences() -> None:
    """A person on call reads jobs where jobs are meant."""
    judge, workers = make_judge(), Workers()
    learn(judge, workers)
    assert "more jobs on the canary" in judge.observe(workers.step()).rows[0].sentence
    reason = end_of(judge, workers, lambda: workers.step(ends={"failed": 1.0})).reason
    assert "requests" not in reason


@pytest.mark.parametrize("moves", ["jobs", "both"])
@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        (None, "no data: the snapshot has no jobs"),
        ([{}, None], "no data for canary: its jobs are missing"),
        ([None, {}], "no data for stable: its jobs are missing"),
        (7, "not a pair of counts"),
        ([{"reports": {"ends": {"failed": math.nan}}}, {}], "no count"),
        ([{"reports": {"ends": {"failed": -1}}}, {}], "no count"),
        ([{"reports": {"ends": {}, "histogram": [1, 2]}}, {}], "no count"),
        ([{"reports": {}}, {}], "no count"),
        ([{"reports": {"ends": {"succeeded": 1}}}, {}], "began again"),
    ],
)
def test_f6_job_counts_that_cannot_be_read_hold_with_the_reason(moves: str, jobs: Any, reason: str) -> None:
    """Never a pass, never a fail."""
    judge = make_judge(moves=moves, routes=("*",), histogram_bounds=(1.0,))
    workers = Workers()
    learn(judge, workers)
    judge.observe(workers.step())
    broken = SimpleNamespace(**{**vars(workers.step()), "jobs": jobs})
    decision = judge.observe(broken)
    assert decision.action == "hold"
    assert reason in decision.reason
    assert {row.verdict for row in decision.rows} == {Verdict.INCONCLUSIVE}


def test_a_judge_of_jobs_restores_from_its_state() -> None:
    """Through JSON and back: the same decisions."""
    for moves in ("jobs", "both"):
        judge, workers = make_judge(moves=moves, routes=("*",), histogram_bounds=(1.0,)), Workers()
        learn(judge, workers)
        judge.observe(workers.step())
        twin = Judge.from_dict(json.loads(json.dumps(judge.to_dict())))
        for _ in range(30):
            workers.step()
            assert judge.observe(workers) == twin.observe(workers)


def test_an_unknown_thing_to_move_is_refused() -> None:
    """The three it can be are named."""
    with pytest.raises(
        ConfigError, match='judge.moves: expected "requests", "jobs" or "both", got "mail"'.replace('"mail"', "'mail'")
    ):
        make_judge(moves="mail")
