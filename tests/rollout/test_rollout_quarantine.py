"""Which versions may not be had again, and where a rollback goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from golive.rollout import events as ev
from golive.rollout.machine import Phase, State, begin
from golive.rollout.plan import Stage, make_plan
from golive.rollout.quarantine import quarantined_by, version_before

T0 = datetime(2026, 1, 5, tzinfo=UTC)
PLAN = make_plan([Stage(1000, timedelta(0)), Stage(10_000, timedelta(0))])


def rollout(
    stable: str, candidate: str, phase: Phase, *, by: str | None = None, stage: int = 1, judged: bool = True
) -> State:
    started = ev.Started(
        at=T0, id="web-1", service="web", stable=stable, candidate=candidate, plan=replace(PLAN, judged=judged)
    )
    return replace(begin(started)[0], phase=phase, ended_by=by, stage=stage)


LIVE, BACK = Phase.LIVE, Phase.ROLLED_BACK


def test_a_version_golive_took_back_is_in_quarantine_until_it_has_served() -> None:
    """Newest first: what happened later counts."""
    failed = rollout("v1", "v2", BACK, by="golive")
    assert quarantined_by([failed], "v2") is failed
    assert quarantined_by([rollout("v1", "v2", LIVE), failed], "v2") is None
    assert quarantined_by([failed], "v1") is None


def test_a_version_a_person_took_back_is_in_quarantine_too() -> None:
    """A pipeline that ships it again is not that person."""
    aborted = rollout("v1", "v2", BACK, by="ada")
    assert quarantined_by([aborted], "v2") is aborted
    assert quarantined_by([rollout("v1", "v2", LIVE), aborted], "v2") is None


def test_what_never_had_traffic_or_made_room_may_be_tried_again() -> None:
    """Nobody was harmed, or nothing was said against it."""
    assert quarantined_by([rollout("v1", "v2", BACK, by="golive", stage=-1)], "v2") is None
    assert quarantined_by([rollout("v1", "v2", BACK, by="ada", stage=-1)], "v2") is None
    superseded = replace(rollout("v1", "v2", BACK, by="ada"), superseded_by="v3")
    assert quarantined_by([superseded], "v2") is None


def test_a_version_somebody_returned_from_is_in_quarantine() -> None:
    """It was live, and somebody went back from it on purpose."""
    returned = rollout("v2", "v1", LIVE, judged=False)
    assert quarantined_by([returned, rollout("v1", "v2", LIVE)], "v2") is returned


def test_rolling_back_twice_goes_further_back_not_to_the_bad_version() -> None:
    """After v3 -> v2 the version before v2 is v1; v3 is what was left."""
    history = [rollout("v3", "v2", LIVE, judged=False), rollout("v2", "v3", LIVE), rollout("v1", "v2", LIVE)]
    assert version_before(history, "v2", "v3") == "v1"
    assert version_before(history[1:], "v3", "v2") == "v2"
    assert version_before([rollout("v1", "v2", BACK, by="golive")], "v1", None) is None
    assert version_before([], "v2", "v1") == "v1"
