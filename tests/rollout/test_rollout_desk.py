"""What people are answered, and when: nothing waits for a release that is being made, and nothing meant for one rollout
reaches another."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from golive.cli.inbox import ANSWER_SECONDS
from golive.cli.rollback import aim
from golive.cli.ship import PATIENCE_SECONDS
from golive.errors import ExitCode, RefusedError
from golive.rollout import events as ev
from golive.rollout.machine import Phase
from golive.rollout.plan import Plan
from golive.rollout.ports import FencedError
from golive.testing.simulated_world import NEW, OLD, SERVICE, Faults
from golive.testing.simulator import small_plan

NEXT = "v3"
MAKING_SECONDS = 45


def _next(plan: Plan, **body: Any) -> dict[str, Any]:
    return {"version": NEXT, "plan": msgspec.to_builtins(plan), "at_once": True, **body}


def _slow_to_make(stage: Any, version: str = NEXT) -> list[str]:
    """The release of *version* takes its time; the versions whose release was begun."""
    begun: list[str] = []

    async def prepare(asked: str) -> None:
        begun.append(asked)
        if asked == version:
            await asyncio.sleep(MAKING_SECONDS)

    stage.life.prepare = prepare
    return begun


def _rollouts(stage: Any) -> list[tuple[str, Phase]]:
    return [(state.candidate, state.phase) for state in stage.world.journal.rollouts(SERVICE)]


@pytest.mark.parametrize("busy", ["refuse", "supersede"])
@pytest.mark.parametrize("phase", [Phase.SOAKING, Phase.WATCHING])
def test_an_abort_does_not_wait_for_the_next_versions_release(
    play: Any, long_plan: Plan, phase: Phase, busy: str
) -> None:
    """It is answered at the next look, about the rollout that whoever asked has seen, and the traffic is back."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(phase)
        begun = _slow_to_make(stage)
        stage.request("ship", **_next(long_plan, when_busy=busy))
        await asyncio.sleep(2)
        assert begun == ([] if (phase, busy) == (Phase.SOAKING, "refuse") else [NEXT])
        asked_at = stage.world.now()
        assert await stage.ask("abort", "grace", rollout="web-1") == (0, "rollout web-1: taking all traffic back to v1")
        await stage.until(lambda: stage.world.split.weight == 0 and stage.world.split.stable == OLD)
        assert stage.world.now() - asked_at <= 2
        await stage.until(lambda: (NEW, Phase.ROLLED_BACK) in _rollouts(stage))
        assert stage.world.journal.rollout("web-1").ended_by == "grace"

    play(act)


def test_an_abort_calls_off_what_is_still_being_made(play: Any, long_plan: Plan) -> None:
    """Nobody has seen it yet: whoever shipped it is told, and it does not begin once it is made."""

    async def act(stage: Any) -> None:
        begun = _slow_to_make(stage)
        ship = stage.request("ship", **_next(long_plan))
        await stage.until(lambda: begun == [NEXT])
        assert await stage.ask("abort", "grace") == (0, "v3: called off before it began. Traffic is v1=100.")
        told = "v3: grace called it off before it began. Traffic is v1=100."
        assert stage.world.journal.answer_to(ship) == (ExitCode.REFUSED, told)
        await asyncio.sleep(2 * MAKING_SECONDS)
        assert _rollouts(stage) == []
        code, text = await stage.ask("abort", "grace")
        assert (code, text) == (ExitCode.REFUSED, "no rollout is in progress. Traffic is v1=100.")

    play(act)


def test_a_release_that_is_made_too_late_changes_nothing_of_what_happened_meanwhile(play: Any, long_plan: Plan) -> None:
    """Paused while it was made: the watch goes on, and whoever shipped is told."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.WATCHING)
        _slow_to_make(stage)
        number = stage.request("ship", **_next(long_plan))
        await asyncio.sleep(2)
        await stage.ask("pause", "grace")
        await stage.until(lambda: stage.world.journal.answer_to(number) is not None, 60)
        code, told = stage.world.journal.answer_to(number)
        assert code == ExitCode.REFUSED
        assert "its watch of v2 was paused by grace" in told
        await stage.stays(lambda: stage.state.phase is Phase.WATCHING, 300)

    play(act)


def test_a_ship_that_was_withdrawn_while_its_release_was_made_ends_no_watch(play: Any) -> None:
    """The watch is there for the version that has all the traffic; nobody wants another one any more."""
    plan = small_plan((10, 100), watch=timedelta(seconds=4 * MAKING_SECONDS))

    async def act(stage: Any) -> None:
        await stage.ship(plan)
        await stage.until_phase(Phase.WATCHING)
        _slow_to_make(stage)
        number = stage.request("ship", **_next(plan))
        await asyncio.sleep(2)
        assert stage.world.journal.withdraw(number)
        await stage.stays(lambda: stage.state.phase is Phase.WATCHING, MAKING_SECONDS * 2)
        assert not stage.events(ev.WatchEnded)

    play(act)


def test_releases_are_made_one_after_the_other(play: Any, long_plan: Plan) -> None:
    """The second ship is looked at when the first is through, and then a rollout is in progress."""

    async def act(stage: Any) -> None:
        begun = _slow_to_make(stage, NEW)
        first = stage.request("ship", version=NEW, plan=msgspec.to_builtins(long_plan), at_once=True)
        second = stage.request("ship", **_next(long_plan))
        await stage.until(lambda: stage.world.journal.answer_to(second) is not None, 100)
        assert stage.world.journal.answer_to(first) == (0, "web-1")
        assert stage.world.journal.answer_to(second)[0] == ExitCode.REFUSED
        assert begun == [NEW]

    play(act)


@pytest.mark.parametrize("verb", ["abort", "approve", "reject", "pause", "resume", "retry"])
def test_what_is_asked_about_another_rollout_is_refused(play: Any, long_plan: Plan, verb: str) -> None:
    """It was over before the request was read; the one in progress is nobody's target."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.LIVE)
        await stage.ship(long_plan, version=NEXT)
        before = stage.state
        code, told = await stage.ask(verb, rollout="web-1")
        assert code == ExitCode.REFUSED
        assert told.startswith("rollout web-1: it is not in progress; web-2 is: v3 is ")
        assert (stage.state.paused_by, stage.state.ended_by) == (None, None)
        assert stage.state.id == before.id

    play(act)


UNREADABLE: dict[str, Any] = {
    "a plan without stages": {"version": NEXT, "plan": {"bad": 1}},
    "a plan that is none": {"version": NEXT, "plan": 7},
    "judging that is none": {"version": NEXT, "plan": msgspec.to_builtins(small_plan()), "judging": ["x"]},
    "a body that is none": ["version", NEXT],
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=list(UNREADABLE))
@pytest.mark.parametrize("watching", [False, True])
def test_a_request_that_cannot_be_read_is_answered_and_the_desk_goes_on(
    play: Any, long_plan: Plan, body: Any, watching: bool
) -> None:
    """It came from a command line of another version; whoever else asks is answered as ever."""

    async def act(stage: Any) -> None:
        if watching:
            await stage.ship(long_plan)
            await stage.until_phase(Phase.WATCHING)
        number = stage.world.journal.ask(SERVICE, "ada", "ship", body, stage.world.clock.now())
        await stage.until(lambda: stage.world.journal.answer_to(number) is not None, 60)
        code, told = stage.world.journal.answer_to(number)
        assert not watching or stage.state.phase is Phase.WATCHING
        assert code == ExitCode.USAGE
        assert "cannot be read (" in told
        assert told.endswith("; command line and controller differ in version.")
        wrong = stage.world.journal.ask(SERVICE, "ada", "abort", ["now"], stage.world.clock.now())  # type: ignore[arg-type]
        await stage.until(lambda: stage.world.journal.answer_to(wrong) is not None, 60)
        assert stage.world.journal.answer_to(wrong)[0] == ExitCode.USAGE
        assert (await stage.ask("ship", **_next(long_plan)))[0] == 0

    play(act)


@pytest.mark.parametrize("busy", ["refuse", "queue", "supersede"])
def test_a_watch_that_somebody_paused_makes_no_room(play: Any, long_plan: Plan, busy: str) -> None:
    """A pause holds, also against the next version; who queues waits for it, anybody else is told."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.WATCHING)
        await stage.ask("pause", "grace")
        number = stage.request("ship", **_next(long_plan, when_busy=busy))
        await stage.stays(lambda: stage.state.phase is Phase.WATCHING, 300)
        answer = stage.world.journal.answer_to(number)
        if busy != "queue":
            assert answer == (
                ExitCode.REFUSED,
                "rollout web-1: its watch of v2 was paused by grace. `golive resume` first, or take it back with "
                "`golive abort`.",
            )
            return
        assert answer is None
        await stage.ask("resume", "grace")
        await stage.until(lambda: stage.world.journal.answer_to(number) is not None, 120)
        assert stage.world.journal.answer_to(number) == (0, "web-2")

    play(act)


def test_the_end_of_a_watch_that_was_told_before_a_pause_does_not_come_after_it(play: Any, long_plan: Plan) -> None:
    """The pause is recorded at once, the end of the watch waits in the queue."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.WATCHING)
        await stage.ask("pause", "grace")
        stage.life.controller.tell(ev.WatchEnded(at=stage.world.clock.now(), actor="ada"))
        await stage.stays(lambda: stage.state.phase is Phase.WATCHING, 300)

    play(act)


def test_a_ship_that_finds_the_lease_gone_ends_the_desk(play: Any, long_plan: Plan) -> None:
    """Whoever lost the lease answers nobody, not even that it failed."""

    async def act(stage: Any) -> None:
        async def prepare(_version: str) -> None:
            raise FencedError("another controller has the lease")

        stage.life.prepare = prepare
        number = stage.request("ship", **_next(long_plan))
        desk = stage._tasks[1]
        await asyncio.wait([desk], timeout=10)
        assert isinstance(desk.exception(), FencedError)
        assert stage.world.journal.answer_to(number) is None

    play(act)


@pytest.mark.parametrize("busy", ["refuse", "supersede", "queue"])
def test_a_ship_has_the_patience_for_a_version_that_leaves_slowly(play: Any, long_plan: Plan, busy: str) -> None:
    """It drains for longer than any other request is waited for."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.WATCHING)
        asked_at = stage.world.now()
        assert await stage.ask("ship", **_next(long_plan, when_busy=busy)) == (0, "web-2")
        assert ANSWER_SECONDS < stage.world.now() - asked_at < PATIENCE_SECONDS[busy]

    play(act, Faults(slow=30.0))


# ---- rollback


@pytest.mark.parametrize("phase", [Phase.PROMOTING, Phase.RETIRING])
def test_a_rollback_while_the_old_version_leaves_goes_to_that_one(play: Any, long_plan: Plan, phase: Phase) -> None:
    """Not to the one before it: what is over but for the old version's last requests has v2 before it, not v1."""
    nothing = timedelta(0)
    back = replace(small_plan((100,), floor=nothing, watch=nothing, at_once=True), judged=False)

    async def act(stage: Any) -> None:
        journal = stage.world.journal
        await stage.ship(long_plan)
        await stage.until_phase(Phase.LIVE)
        await stage.ship(long_plan, version=NEXT)
        await stage.until(lambda: stage.state.id == "web-2" and stage.state.phase is phase)
        assert aim(journal, SERVICE, None) == NEW
        assert aim(journal, SERVICE, OLD) == OLD
        body = {"version": NEW, "plan": msgspec.to_builtins(back), "at_once": True, "force": True, "known": True}
        assert await stage.ask("ship", **body) == (0, "web-3")
        await stage.until(lambda: journal.service(SERVICE).version == NEW)

    play(act, Faults(slow=8.0))


def test_a_rollback_during_the_rollout_is_one_write_and_afterwards_it_is_a_ship(play: Any, long_plan: Plan) -> None:
    """None is the one write; to another version than stable the rollout in progress is no way."""

    async def act(stage: Any) -> None:
        journal = stage.world.journal
        with pytest.raises(RefusedError, match="there is no version before this one"):
            aim(journal, SERVICE, None)
        await stage.ship(long_plan)
        await stage.until_phase(Phase.WATCHING)
        assert aim(journal, SERVICE, None) is None
        assert aim(journal, SERVICE, OLD) is None
        assert aim(journal, SERVICE, "v0") == "v0"
        await stage.until_phase(Phase.LIVE)
        assert aim(journal, SERVICE, None) == OLD

    play(act)
