"""Samples become snapshots: routes, clients, counters that begin again, and evidence that changes its kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from golive.rollout import events as ev
from golive.rollout.machine import State, begin
from golive.rollout.plan import preset
from golive.rollout.ports import ArmSample, Sample
from golive.rollout.session import Session
from golive.testing.simulator import SimpleJudge

T0 = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ROUTES = ("POST /work", "*")


def _state() -> State:
    started = ev.Started(at=T0, id="web-1", service="web", stable="v1", candidate="v2", plan=preset("progressive"))
    state, _ = begin(started)
    return msgspec.structs.replace(state, stage=0, weight=100)


def _session() -> Session:
    return Session(SimpleJudge(), T0, ROUTES, bounds=1)


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
            msgspec.json.decode(msgspec.json.encode(session.to_dict())), state, SimpleJudge.make, ROUTES, 1
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
