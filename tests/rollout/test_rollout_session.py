"""Samples become snapshots: routes, clients, counters that begin again, and evidence that changes its kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from golive.rollout import events as ev
from golive.rollout.machine import State, begin
from golive.rollout.plan import preset
from golive.rollout.ports import ArmSample, JobCounts, Sample
from golive.rollout.session import Session
from golive.testing.simulator import SimpleJudge

T0 = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ROUTES = ("POST /work", "*")


def _state() -> State:
    started = ev.Started(at=T0, id="web-1", service="web", stable="v1", candidate="v2", plan=preset("progressive"))
    state, _ = begin(started)
    return msgspec.structs.replace(state, stage=0, weight=100)


def _session() -> Session:
    return Session(SimpleJudge(), T0, ROUTES, bounds=(1.0,))


def _sample(second: int, count: int, *, epoch: str = "a", units: int | None = None, **arms: Any) -> Sample:
    arm = ArmSample(
        {"POST /work": count, "*": count}, {"POST /work": 1}, [count, 0], units=units, bad_units=units and 1
    )
    return Sample(T0 + timedelta(seconds=second), epoch, arms or {"v1": arm, "v2": arm})


def test_every_request_is_in_one_route():
    """What belongs to no route of the judge is in the count of all the others."""
    arm = ArmSample({"POST /work": 5, "GET /new": 3, "*": 2}, {"GET /new": 1}, [10, 0])
    seen = _session().snapshot(_state(), Sample(T0, "a", {"v1": arm, "v2": arm}))
    assert (seen.requests, seen.errors) == (((5, 5), (5, 5)), ((0, 1), (0, 1)))


def test_clients_reach_the_judge_where_they_are_counted():
    """Units and bad units per version; None where the evidence knows none."""
    state, session = _state(), _session()
    assert session.fits(state, _sample(1, 10, units=7))
    assert (session.snapshot(state, _sample(1, 10, units=7)).units) == (7, 7)
    plain = _session()
    assert plain.fits(state, _sample(1, 10))
    assert (plain.snapshot(state, _sample(1, 10)).units, plain.snapshot(state, _sample(2, 10)).bad_units) == (
        None,
        None,
    )


def test_counters_go_on_over_a_restart_of_whoever_counts():
    """Never subtracted across epochs, in either direction; stored and restored with the session."""
    state, session = _state(), _session()
    totals = []
    for second, count, epoch in (
        (1, 100, "a"),
        (2, 110, "a"),
        (3, 5, "b"),
        (4, 25, "b"),
        (5, 9000, "c"),
        (6, 9001, "c"),
    ):
        seen = session.snapshot(state, _sample(second, count, epoch=epoch))
        totals.append(seen.requests[1][0])
        session = Session.restore(
            msgspec.json.decode(msgspec.json.encode(session.to_dict())), state, SimpleJudge.make, ROUTES, (1.0,)
        )
    assert totals == [100, 110, 110, 130, 130, 131]


def test_evidence_that_changes_its_kind_needs_a_new_judge():
    """Failed clients and failed requests are never compared with each other."""
    state, session = _state(), _session()
    assert session.fits(state, _sample(1, 10, units=7))
    assert not session.fits(state, _sample(2, 20))


def test_a_version_without_counts_is_named_and_not_judged():
    """One arm missing is no data, not zero requests."""
    arm = ArmSample({"*": 1}, {}, [1, 0])
    assert "v2" in _session().missing(_state(), _sample(1, 1, v1=arm))
    assert _session().missing(_state(), _sample(1, 1)) == ""


def test_jobs_reach_the_judge_and_what_the_candidate_did_before_is_no_news():
    """A version shipped once more has counts from the last time: they are there from the history on."""
    state, session = _state(), _session()
    stable = ArmSample({}, {}, [0, 0], jobs={"q": JobCounts({"succeeded": 9})})
    again = ArmSample({}, {}, [0, 0], jobs={"q": JobCounts({"failed": 7})})
    before = session.snapshot(state, Sample(T0, "a", {"v1": stable, "v2": again}), before=True)
    assert before.jobs is not None
    assert [counts["q"]["ends"] for counts in before.jobs if counts] == [{"succeeded": 9}, {"failed": 7}]
    fresh = session.snapshot(state, Sample(T0, "a", {"v1": stable}), before=True)
    assert fresh.jobs is not None
    assert fresh.jobs[1] == {}
    lost = session.snapshot(state, Sample(T0, "a", {"v1": stable, "v2": ArmSample({}, {}, [0, 0])}))
    assert lost.jobs is not None
    assert lost.jobs[1] is None
    assert session.snapshot(state, _sample(1, 10)).jobs is None


def test_levels_reach_the_judge_under_the_names_of_the_rows():
    """A row asks for an indicator; one nobody asks for is left out, and a version without has none."""
    rows = {"worker_memory_ratio": {"target": "< 80%"}, "error_rate": {"target": "<= 1%"}}
    state = msgspec.structs.replace(_state(), judging={"slo": rows})
    arms = {
        "v1": ArmSample({}, {}, [0, 0], levels={"memory_ratio": 0.5, "cpu_ratio": 0.1}),
        "v2": ArmSample({}, {}, [0, 0]),
    }
    assert _session().snapshot(state, Sample(T0, "a", arms)).values == ({"worker_memory_ratio": 0.5}, {})
    assert _session().snapshot(_state(), Sample(T0, "a", arms)).values is None


ORDERS = {"orders_latency_p95": {"target": "< 500ms", "alert_if": "> 1s", "route": "POST /work"}}


def _timed(fast: int, slow: int) -> ArmSample:
    return ArmSample({"POST /work": fast + slow}, {}, [fast, slow], latency_by_route={"POST /work": [fast, slow]})


def test_the_latency_of_a_route_reaches_the_judge_as_slow_ones_of_all():
    """Under the name of the row; a version without a request there has none; over restarts it goes on."""
    state = msgspec.structs.replace(_state(), judging={"slo": ORDERS})
    session = _session()
    first = session.snapshot(state, Sample(T0, "a", {"v1": _timed(90, 10), "v2": ArmSample({}, {}, [0, 0])}))
    assert first.values == ({"orders_latency_p95": [10, 100]}, {})
    session.snapshot(state, Sample(T0, "b", {"v1": _timed(5, 1), "v2": _timed(0, 0)}))
    after = session.snapshot(state, Sample(T0, "b", {"v1": _timed(7, 2), "v2": _timed(3, 0)}))
    assert after.values == ({"orders_latency_p95": [11, 103]}, {"orders_latency_p95": [0, 3]})


def test_a_thread_stored_before_there_were_such_rows_goes_on():
    """A controller of a newer golive takes over in the middle: what is new begins then, the rest is as it was."""
    state, old = _state(), _session()
    arms = {"v1": _timed(90, 10), "v2": _timed(9, 1)}
    old.snapshot(state, Sample(T0, "a", arms))
    stored = old.to_dict()
    newer = msgspec.structs.replace(state, judging={"slo": ORDERS})
    session = Session.restore(stored, newer, lambda _state, _stored: SimpleJudge(), ROUTES, (1.0,))
    again = {"v1": _timed(93, 11), "v2": _timed(9, 1)}
    seen = session.snapshot(newer, Sample(T0, "a", arms))
    assert (seen.requests, seen.values) == (((100, 0), (10, 0)), None)
    seen = session.snapshot(newer, Sample(T0, "a", again))
    assert (seen.requests, seen.values) == (((104, 0), (10, 0)), ({"orders_latency_p95": [1, 4]}, {}))
