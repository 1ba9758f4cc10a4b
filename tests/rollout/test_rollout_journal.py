"""The journal and the lease: written before acting, by one holder, whole for ever."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from golive.errors import RefusedError, StateError
from golive.rollout import events as ev
from golive.rollout.journal import Answer, Journal, WithdrawnError
from golive.rollout.lease import LEASE_FOR, Holder, Lease, birth, current_holder
from golive.rollout.machine import State, begin, decide
from golive.rollout.plan import Stage, make_plan
from golive.rollout.ports import FencedError, Split

T0 = datetime(2026, 1, 5, tzinfo=UTC)
PLAN = make_plan([Stage(1000, timedelta(0)), Stage(10_000, timedelta(0))])
ELSEWHERE = Holder("another-host", 1, "then")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal on disk."""
    return Journal(tmp_path / "golive.db")


def started(journal: Journal, fence: int) -> State:
    """A rollout of two entries."""
    event = ev.Started(
        at=T0, id=journal.next_id("web"), service="web", stable="v1", candidate="v2", plan=PLAN, judging={"slo": {}}
    )
    state, _ = begin(event)
    journal.append(event, state, None, fence=fence)
    deployed = ev.Deployed(at=T0, version="v2")
    state, _ = decide(state, deployed)
    journal.append(deployed, state, {"judge": [1.5, None]}, fence=fence)
    return state


def test_what_was_written_is_read_back_also_by_another_process(journal: Journal, tmp_path: Path) -> None:
    """State, judge and entries survive; numbers go on."""
    fence = Lease(journal.connection, "web").acquire(T0)
    state = started(journal, fence)
    other = Journal(tmp_path / "golive.db")
    assert other.active("web") == (state, {"judge": [1.5, None]})
    assert [type(entry.event).__name__ for entry in other.entries(state.id)] == ["Started", "Deployed"]
    assert other.next_id("web") == "web-2"
    assert other.verify(state.id) == []


def test_an_altered_entry_is_found_and_altering_is_hard(journal: Journal) -> None:
    """The table refuses changes; who removes the guard is found by the chain."""
    fence = Lease(journal.connection, "web").acquire(T0)
    state = started(journal, fence)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        journal.connection.execute("update journal set body = replace(body, 'v2', 'v9')")
    journal.connection.execute("drop trigger journal_is_append_only_update")
    journal.connection.execute("update journal set body = replace(body, 'v2', 'v9') where seq = 1")
    assert journal.verify(state.id) == ["entry 1: its content does not match its hash"]


def test_a_removed_entry_breaks_the_chain(journal: Journal) -> None:
    """The next one no longer follows."""
    fence = Lease(journal.connection, "web").acquire(T0)
    state = started(journal, fence)
    journal.connection.execute("drop trigger journal_is_append_only_delete")
    journal.connection.execute("delete from journal where seq = 1")
    assert "expected to follow" in journal.verify(state.id)[0]


def test_an_older_token_writes_nothing(journal: Journal) -> None:
    """A controller that lost its lease is refused inside the transaction."""
    first = Lease(journal.connection, "web", ELSEWHERE)
    old = first.acquire(T0)
    state = started(journal, old)
    Lease(journal.connection, "web").acquire(T0 + 2 * LEASE_FOR)
    with pytest.raises(FencedError, match="stepped down"):
        journal.append(ev.Ticked(at=T0), state, None, fence=old)
    with pytest.raises(FencedError):
        first.renew(T0 + 2 * LEASE_FOR)
    assert len(list(journal.entries(state.id))) == 2


def test_one_controller_at_a_time(journal: Journal) -> None:
    """A living holder is named; an expired one is replaced and the token grows."""
    lease = Lease(journal.connection, "web", ELSEWHERE)
    first = lease.acquire(T0)
    second = Lease(journal.connection, "web")
    with pytest.raises(RefusedError, match="process 1 on another-host"):
        second.acquire(T0 + timedelta(seconds=1))
    assert current_holder(journal.connection, "web", T0) == ELSEWHERE
    assert second.acquire(T0 + 2 * LEASE_FOR) > first


def test_a_dead_holder_on_this_host_is_replaced_at_once(journal: Journal) -> None:
    """Its process is gone: no waiting for the lease to run out."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = Lease(journal.connection, "web").holder.host
    first = Lease(journal.connection, "web", Holder(here, child.pid, birth(child.pid))).acquire(T0)
    with pytest.raises(RefusedError):
        Lease(journal.connection, "web").acquire(T0)
    child.kill()
    child.wait()
    assert Lease(journal.connection, "web").acquire(T0) == first + 1


def test_a_released_lease_is_free_and_keeps_counting(journal: Journal) -> None:
    """Giving it back saves the next one the wait; tokens never repeat."""
    lease = Lease(journal.connection, "web", ELSEWHERE)
    first = lease.acquire(T0)
    lease.release(T0)
    assert current_holder(journal.connection, "web", T0) is None
    assert Lease(journal.connection, "web").acquire(T0) == first + 1


def test_a_live_rollout_becomes_the_version_in_production(journal: Journal) -> None:
    """In the same transaction as its last entry."""
    fence = Lease(journal.connection, "web").acquire(T0)
    journal.adopt("web", "v1", T0)
    state = started(journal, fence)
    for event in (
        ev.TrafficConfirmed(at=T0, split=Split("v1", "v2", 1000)),
        ev.Verdict(at=T0, stage=0, action="promote", confidence=99, reason="fine"),
        ev.TrafficConfirmed(at=T0, split=Split("v1", "v2", 10_000)),
        ev.Verdict(at=T0, stage=1, action="promote", confidence=99, reason="fine"),
        ev.WatchEnded(at=T0, actor="ada"),
        ev.TrafficConfirmed(at=T0, split=Split("v2")),
        ev.Removed(at=T0, version="v1"),
    ):
        state, _ = decide(state, event)
        journal.append(event, state, None, fence=fence)
    service = journal.service("web")
    assert service is not None
    assert (service.version, service.previous) == ("v2", "v1")
    assert journal.active("web") is None


def test_requests_are_answered_once_and_can_be_taken_back(journal: Journal) -> None:
    """An open request is seen until it is settled or withdrawn, never both."""
    first = journal.ask("web", "ada", "pause", {"comment": "lunch"}, T0)
    second = journal.ask("web", "ada", "abort", {}, T0)
    assert [request.verb for request in journal.requests("web")] == ["pause", "abort"]
    fence = Lease(journal.connection, "web").acquire(T0)
    journal.answer(Answer(first, 0, "paused"), T0, service="web", fence=fence)
    assert journal.answer_to(first) == (0, "paused")
    assert journal.withdraw(first) is False
    assert journal.withdraw(second) is True
    assert journal.requests("web") == []
    for settled in (first, second):
        with pytest.raises(WithdrawnError, match=f"request {settled}: it was taken back"):
            journal.answer(Answer(settled, 0, "once more"), T0, service="web", fence=fence)


def test_a_request_and_what_follows_from_it_are_one_record(journal: Journal) -> None:
    """Both or neither: not when it was withdrawn meanwhile, and not by a controller that lost its lease."""
    fence = Lease(journal.connection, "web").acquire(T0)
    state = started(journal, fence)
    abort = ev.Aborted(at=T0, actor="ada")
    after, _ = decide(state, abort)
    withdrawn, answered = (journal.ask("web", "ada", "abort", {}, T0) for _ in range(2))
    assert journal.withdraw(withdrawn)
    with pytest.raises(WithdrawnError):
        journal.append(abort, after, None, fence=fence, answer=Answer(withdrawn, 0, "done"))
    with pytest.raises(FencedError):
        journal.append(abort, after, None, fence=fence - 1, answer=Answer(answered, 0, "done"))
    with pytest.raises(FencedError):
        journal.answer(Answer(answered, 6, "refused"), T0, service="web", fence=fence - 1)
    assert journal.rollout(state.id) == state
    assert [request.id for request in journal.requests("web")] == [answered]
    journal.append(abort, after, None, fence=fence, answer=Answer(answered, 0, "done"))
    assert journal.rollout(state.id) == after
    assert journal.answer_to(answered) == (0, "done")


def test_an_unknown_rollout_is_named(journal: Journal) -> None:
    """With the verb that lists those there are."""
    with pytest.raises(StateError, match="golive status"):
        journal.rollout("web-7")
