"""
How rollout controllers fail, F1 to F20, and what golive does instead: one test or more per mode, named by its code.

The simulated world is the gateway, the versions and the counters; machine, controller, desk and journal are the real
ones. What needs a real Envoy is in tests/gateway/test_gateway_failure_modes.py, the statistics in
tests/judge/test_judge_failure_modes.py.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from golive.errors import ExitCode, RefusedError, StateError, UnavailableError
from golive.rollout import events as ev
from golive.rollout.hooks import Hook, HookCall
from golive.rollout.journal import Journal
from golive.rollout.lease import LEASE_FOR, Holder, Lease, current_holder
from golive.rollout.machine import Phase, WaitingFor
from golive.rollout.pace import Pace
from golive.rollout.plan import Plan
from golive.rollout.ports import ArmSample, Condition, FencedError, Health, Sample, Split
from golive.rollout.session import EVERY_ROUTE
from golive.rollout.takeover import refuse_to_forget, restore_traffic
from golive.testing.simulated_world import NEW, OLD, PACE, SERVICE, Faults, fresh_counts
from golive.testing.simulator import simulate, small_plan

TICK = PACE.tick.total_seconds()


# ---- F2: two controllers at once (F1, killed at any write: tests/rollout/test_rollout_simulation.py)


def test_f2_a_controller_that_lost_its_lease_changes_neither_journal_nor_gateway(play: Any, long_plan: Plan) -> None:
    """It sleeps through its own lease; when it wakes both refuse its token."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 0)
        sleeper, old = stage.life, stage.life.controller.lease.fence
        await stage.kill()
        stage.begin()
        await stage.until(lambda: stage.life.controller.lease.fence > old)
        await stage.until(lambda: bool(stage.events(ev.ControllerStarted)) and stage.world.fence > old)
        sleeper.dead.clear()
        state, split = stage.state, stage.world.split
        with pytest.raises(FencedError):
            await sleeper.apply(Split(OLD, NEW, 9000), fence=old)
        with pytest.raises(FencedError):
            stage.world.journal.append(ev.Ticked(at=stage.world.clock.now()), state, None, fence=old)
        assert stage.world.split == split

    play(act)


# ---- F3, F4: the gateway is not what it should be


@pytest.mark.parametrize("foreign", [2000, 10_000])
def test_f3_a_weight_somebody_raised_is_taken_back_within_a_tick(play: Any, long_plan: Plan, foreign: int) -> None:
    """A person, a reboot, another tool: more than the plan is never kept, and the journal says who was seen."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 0)
        stage.world.split = Split(OLD, NEW, foreign)
        took = await stage.until(lambda: stage.weight == 1000)
        assert took <= TICK + 1
        assert stage.events(ev.Drifted)[0].split == Split(OLD, NEW, foreign)

    play(act)


def test_f3_a_weight_somebody_lowered_is_never_raised_by_itself(play: Any, long_plan: Plan) -> None:
    """Less is somebody's decision: hold, say so, and wait for a person."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 0)
        stage.world.split = Split(OLD, NEW, 0)
        await stage.until(lambda: stage.state.paused_by == "golive")
        await stage.stays(lambda: stage.weight == 0, 600)
        assert "set to 0 % by somebody else" in stage.state.reason
        await stage.ask("resume")
        await stage.until(lambda: stage.weight == 1000, 20)

    play(act)


def test_f3_a_weight_somebody_lowered_while_no_controller_ran_is_not_raised(play: Any, long_plan: Plan) -> None:
    """Killed, and a person takes the traffic away at the gateway: the next controller leaves it there, and asks."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        await stage.kill()
        stage.world.split = Split(OLD, NEW, 0)
        stage.begin()
        await stage.until(lambda: stage.state.paused_by == "golive")
        await stage.stays(lambda: stage.weight == 0, 60)
        await stage.ask("resume")
        await stage.until(lambda: stage.weight == 5000, 20)

    play(act)


@pytest.mark.parametrize("noticed", [False, True], ids=["while nobody controlled", "before, and it was noticed"])
@pytest.mark.parametrize("left", [0, 2000])
def test_f3_a_weight_somebody_lowered_is_not_raised_because_the_candidate_died_too(
    play: Any, long_plan: Plan, noticed: bool, left: int
) -> None:
    """golive takes what is left as well while it starts the candidate again, and gives nothing back by itself."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        if noticed:
            stage.world.split = Split(OLD, NEW, left)
            await stage.until(lambda: stage.state.paused_by == "golive")
        stage.world.rate = 0.0  # at night: nobody was refused by what was dead
        await stage.kill()
        stage.world.split = Split(OLD, NEW, left)
        stage.world.alive.pop(NEW)
        stage.begin()
        await stage.until(lambda: stage.weight == 0 and stage.world.living(NEW))
        await stage.stays(lambda: stage.weight == 0, 120)
        assert stage.state.paused_by == "golive"
        assert not stage.state.lowered
        await stage.ask("resume")
        await stage.until(lambda: stage.weight == 5000, 20)

    play(act)


def test_f3_the_next_stage_is_not_entered_onto_a_weight_somebody_lowered(play: Any, long_plan: Plan) -> None:
    """The stage was passed, but for its floor, when the controller died; it is over when the next one starts."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        await stage.until(lambda: stage.state.verdict is not None and stage.state.verdict.action == "promote")
        await stage.kill()
        stage.world.split = Split(OLD, NEW, 0)
        await asyncio.sleep(120)
        stage.begin()
        await stage.until(lambda: stage.state.paused_by == "golive")
        await stage.stays(lambda: stage.weight == 0 and stage.state.stage == 1, 120)

    play(act)


def test_f3_what_is_lowered_while_both_versions_are_started_again_stays_lowered(play: Any, long_plan: Plan) -> None:
    """Both had died, so that nothing was lowered by golive; somebody does while they start."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        await stage.kill()
        stage.world.alive.clear()
        stage.begin()
        await stage.until(lambda: stage.world.living(NEW))
        stage.world.split = Split(OLD, NEW, 0)
        await stage.until(lambda: stage.state.paused_by == "golive")
        await stage.stays(lambda: stage.weight == 0, 60)

    play(act)


def test_f3_a_gateway_that_forgot_what_somebody_lowered_sends_everybody_to_stable(play: Any, long_plan: Plan) -> None:
    """How much was left is lost with its memory. Nothing is less than any of it, and nobody is without a version."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        stage.world.split = Split(OLD, NEW, 2000)
        await stage.until(lambda: stage.state.paused_by == "golive")
        await stage.kill()
        stage.begin()
        stage.life.observe = _forgetful(stage)
        await stage.stays(lambda: stage.weight <= 2000, 60)
        assert stage.world.split == Split(OLD)

    play(act)


def _forgetful(stage: Any) -> Any:
    """A gateway that knows nothing until it is told."""
    told, seen = len(stage.world.weight_history), stage.life.observe

    async def observe() -> Split | None:
        return await seen() if len(stage.world.weight_history) > told else None

    return observe


def test_f1_nobody_is_sent_to_a_candidate_that_does_not_come_back(play: Any, long_plan: Plan) -> None:
    """Dead at the start of the next controller, and it never becomes ready: it has no traffic, and is taken back."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        await stage.kill()
        stage.world.alive.pop(NEW)
        stage.world.faults = msgspec.structs.replace(stage.world.faults, candidate_starts=False)
        before = len(stage.world.weight_history)
        stage.begin()
        await stage.until_phase(Phase.ROLLED_BACK)
        assert {weight for _, weight in stage.world.weight_history[before:]} == {0}
        assert "v2 died: not ready after 1m" in stage.state.reason

    play(act)


def test_f1_a_candidate_that_is_gone_again_gets_nothing_back(play: Any, long_plan: Plan) -> None:
    """It was started, and is asked once more right before the write: the probe that says so may still be on its way."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        await stage.end()
        controller, lowered = stage.life.controller, msgspec.structs.replace(stage.state, lowered=True)
        stage.world.split = Split(OLD, NEW, 0)
        stage.world.alive.pop(NEW)
        await restore_traffic(controller.world, lowered)
        assert stage.weight == 0

    play(act)


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.SOAKING, Phase.WATCHING])
@pytest.mark.parametrize("starts", [True, False], ids=["it starts", "it does not"])
def test_f5_an_abort_does_not_wait_for_a_candidate_that_is_started_again(
    play: Any, long_plan: Plan, phase: Phase, starts: bool
) -> None:
    """It died with the controller. The next one takes its traffic at once, and what was aborted gets none back."""

    async def act(stage: Any) -> None:
        if phase is Phase.SHIFTING:
            stage.life.apply = _slow(stage.life.apply, upwards=True)
        await stage.ship(long_plan)
        await stage.until_phase(phase, 0 if phase is Phase.SHIFTING else None)
        await stage.kill()
        stage.world.split = Split(OLD, NEW, stage.state.weight)
        stage.world.alive.pop(NEW)
        stage.world.faults = msgspec.structs.replace(stage.world.faults, candidate_starts=starts)
        before = len(stage.world.weight_history)
        stage.request("abort")
        stage.begin()
        took = await stage.until(lambda: stage.state.ended_by == "ada" and stage.world.split == Split(OLD))
        assert took <= 3
        await stage.until_phase(Phase.ROLLED_BACK)
        assert {weight for _, weight in stage.world.weight_history[before:]} == {0}
        assert not stage.world.living(NEW)

    play(act)


@pytest.mark.parametrize("again", [False, True], ids=["once", "killed again"])
def test_f1_a_candidate_that_died_with_the_controller_gets_its_share_back(
    play: Any, long_plan: Plan, again: bool
) -> None:
    """What golive lowered itself it raises again when the candidate is ready, also when it is killed in between."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        stage.world.rate = 0.0  # at night: nobody was refused by what was dead
        await stage.kill()
        stage.world.alive.pop(NEW)
        stage.begin()
        await stage.until(lambda: stage.weight == 0)
        assert stage.state.lowered
        if again:
            await stage.kill()
            stage.begin()
        await stage.until(lambda: stage.weight == 5000)
        await stage.until(lambda: not stage.state.lowered)
        assert stage.state.paused_by is None
        await stage.until_phase(Phase.LIVE)

    play(act)


def test_f1_a_candidate_that_died_while_its_weight_was_to_rise_gets_it_when_it_is_back(
    play: Any, long_plan: Plan
) -> None:
    """Until then nothing is begun for it: whoever asked how it is would take it back for dead."""

    async def act(stage: Any) -> None:
        stage.world.rate = 0.0
        stage.life.apply = _slow(stage.life.apply, upwards=True)
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SHIFTING, 0)
        await stage.kill()
        stage.world.alive.pop(NEW)
        stage.begin()
        await stage.until(lambda: stage.weight == 1000, 30)
        await stage.until_phase(Phase.LIVE)

    play(act)


def test_f3_waiting_before_the_first_traffic_is_no_drift(play: Any, long_plan: Plan) -> None:
    """Nobody has touched a gateway that knows nothing of the candidate yet."""
    first = msgspec.structs.replace(long_plan.stages[0], approval="owners")
    plan = msgspec.structs.replace(long_plan, stages=(first, *long_plan.stages[1:]))

    async def act(stage: Any) -> None:
        await stage.ship(plan)
        await stage.until_phase(Phase.WAITING)
        await stage.stays(lambda: stage.state.paused_by is None, 120)
        await stage.ask("approve", "grace")
        await stage.until(lambda: stage.weight == 1000, 20)

    play(act)


def test_f4_nothing_goes_back_onto_a_dead_stable(play: Any, long_plan: Plan) -> None:
    """Stable died a moment before the abort, unseen: it is asked right before the write, started, and then served."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 1)
        stage.life.start = _never(stage)
        stage.world.alive.pop(OLD)
        await stage.ask("abort")
        await stage.stays(lambda: stage.weight == 5000, 60)
        del stage.life.start
        await stage.until(lambda: stage.weight == 0)
        assert stage.world.living(OLD)

    play(act)


def _never(stage: Any) -> Any:
    async def start(version: str) -> Any:
        if version == OLD:
            raise UnavailableError("no room on this machine")
        raise AssertionError(version)

    return start


def test_f4_no_weight_rises_onto_a_candidate_that_is_not_ready(play: Any, long_plan: Plan) -> None:
    """It went unready between the verdict and the write."""
    unwell = {"now": False}

    async def act(stage: Any) -> None:
        condition = stage.life.condition

        async def asked(version: str) -> Condition:
            return Condition(Health.UNREADY, "503") if version == NEW and unwell["now"] else await condition(version)

        stage.life.condition = asked
        entries = stage.life.controller.entries

        def watch(entry: Any) -> None:
            unwell["now"] = unwell["now"] or (entry.phase == "shifting" and entry.stage == 1)
            entries(entry)

        stage.life.controller.entries = watch
        await stage.ship(long_plan)
        await stage.until_phase(Phase.ROLLED_BACK)
        assert max(weight for _, weight in stage.world.weight_history) == 1000
        assert "failed 3 probes in a row: 503" in stage.state.reason

    play(act)


# ---- F5: abort

_HOOKS = (Hook("before_stage", ("x",)), Hook("after_stage", ("x",)), Hook("on_rollback", ("x",)))


@pytest.mark.parametrize(
    "moment", ["deploying", "shifting", "soaking", "paused", "hook", "waiting", "watching", "promoting", "retiring"]
)
def test_f5_an_abort_wins_within_two_seconds_from(play: Any, long_plan: Plan, moment: str) -> None:
    """Every phase in which the candidate has, or could get, traffic; read back at the gateway."""
    last = msgspec.structs.replace(long_plan.stages[1], approval="owners")
    plan = msgspec.structs.replace(
        long_plan, stages=(long_plan.stages[0], last, long_plan.stages[2]), hooks=_HOOKS if moment == "hook" else ()
    )

    def reached(stage: Any) -> bool:
        state = stage.state
        match moment:
            case "hook":
                return state.hook == HookCall("after_stage", 0)
            case "paused":
                return state.paused_by is not None
            case "soaking":
                return state.phase is Phase.SOAKING and state.stage == 0
            case _:
                return state.phase.value == moment

    async def act(stage: Any) -> None:
        await stage.ship(plan)
        if moment in ("shifting", "promoting"):
            stage.life.apply = _slow(stage.life.apply, upwards=moment == "shifting")
        if moment == "paused":
            await stage.until_phase(Phase.SOAKING, 0)
            await stage.ask("pause")
        if moment in ("watching", "promoting", "retiring"):
            await stage.until_phase(Phase.WAITING)
            await stage.ask("approve", "grace")
        if moment == "retiring":  # the old version still answers somebody, and so is not gone yet
            stage.life.active = _busy
        while not reached(stage):  # noqa: ASYNC110 - the moment is in the journal
            await asyncio.sleep(0.01)
        stage.request("abort")
        took = await stage.until(lambda: stage.state.weight == 0 and stage.state.ended_by is not None)
        took += await stage.until(lambda: stage.weight == 0, 60)
        if moment != "retiring":  # whether the old version still lives has to be seen first
            assert took <= 2
        await stage.until_phase(Phase.ROLLED_BACK)
        assert stage.world.split == Split(OLD)

    play(act)


def test_f5_no_write_that_was_under_way_comes_after_an_abort(play: Any, long_plan: Plan) -> None:
    """
    The controller dies on its way to 50 % and somebody aborts. Its successor begins the write it finds wanted and reads
    the request in one and the same instant: what is recorded first holds.
    """

    async def act(stage: Any) -> None:
        entries = stage.life.controller.entries

        def watch(entry: Any) -> None:
            entries(entry)
            if entry.phase == "shifting" and entry.stage == 1:
                stage.request("abort")
                stage.life.dead.set()

        stage.life.controller.entries = watch
        await stage.ship(long_plan)
        await stage.until(stage.life.dead.is_set)
        await stage.kill()
        stage.begin()
        await stage.until_phase(Phase.ROLLED_BACK)
        assert stage.state.ended_by == "ada"
        assert max(weight for _, weight in stage.world.weight_history) == 1000

    play(act)


async def _busy(_version: str) -> int:
    return 1


def _slow(apply: Any, *, upwards: bool) -> Any:
    async def slowly(split: Split, *, fence: int) -> None:
        if (split.weight > 0) if upwards else split.stable == NEW:
            await asyncio.sleep(30)
        await apply(split, fence=fence)

    return slowly


# ---- F6, F7, F8: evidence that is none


def _arm(requests: Any, errors: Any, latency: Any = (0, 0, 0)) -> ArmSample:
    return ArmSample({EVERY_ROUTE: requests}, {EVERY_ROUTE: errors}, list(latency))


NAN, INF = float("nan"), float("inf")
_change = msgspec.structs.replace


def _stopped_clock(sample: Sample, first: Sample) -> Sample:
    return _change(sample, at=first.at)


BROKEN: dict[str, Callable[[Sample, Sample], Sample]] = {
    "nothing": lambda now, _: _change(now, arms={}),
    "one arm missing": lambda now, _: _change(now, arms={OLD: now.arms[OLD]}),
    "another version's label": lambda now, _: _change(now, arms={OLD: now.arms[OLD], "v9": now.arms[NEW]}),
    "NaN": lambda now, _: _change(now, arms={**now.arms, NEW: _arm(NAN, NAN)}),
    "infinite": lambda now, _: _change(now, arms={**now.arms, NEW: _arm(INF, INF)}),
    "negative": lambda now, _: _change(now, arms={**now.arms, NEW: _arm(-5, -5)}),
    "stale": lambda now, first: _change(now, at=first.at),
    "a clock that goes back": lambda now, first: _change(now, at=first.at - (now.at - first.at)),
    "counters that begin again at every look": lambda now, first: _change(now, epoch=str(now.at)),
}


@pytest.mark.parametrize("ratio", [0.0, 0.9], ids=["good", "bad"])
@pytest.mark.parametrize("fault", BROKEN)
def test_f6_evidence_that_cannot_be_judged_holds_and_says_why(
    play: Any, long_plan: Plan, real_judge: Any, fault: str, ratio: float
) -> None:
    """With the real judge, and a version that is perfect or broken: neither a pass nor a fail comes of it."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan, judging=real_judge.judging)
        await stage.until_phase(Phase.SOAKING, 0)
        honest, first = stage.life.sample, await stage.life.sample()
        stage.world.faults = _change(stage.world.faults, error_ratio=ratio)

        async def sample() -> Sample:
            return BROKEN[fault](await honest(), first)

        stage.life.sample = sample
        await stage.stays(lambda: stage.state.phase is Phase.SOAKING and stage.weight == 1000, 300)
        verdicts = stage.events(ev.Verdict)
        assert len(verdicts) >= 25
        assert {verdict.action for verdict in verdicts} == {"hold"}
        assert all(verdict.reason for verdict in verdicts)

    play(act, Faults(error_ratio=0.0), real_judge.make)


@pytest.mark.parametrize("silent", [False, True], ids=["served", "without traffic"])
def test_f6_the_first_look_after_a_takeover_says_that_nothing_is_counted_yet(
    play: Any, long_plan: Plan, real_judge: Any, silent: bool
) -> None:
    """
    The successor opens its own ear at the gateway and counts from there. A candidate that really gets nothing is missed
    at the look after, as without a takeover at the first.
    """

    async def act(stage: Any) -> None:
        stage.world.rate = 200.0
        await stage.ship(long_plan, judging=real_judge.judging)
        await stage.until_phase(Phase.SOAKING, 0)
        await stage.until(lambda: len(stage.events(ev.Verdict)) == 3)
        await stage.kill()
        stage.world.count()
        stage.world.counts, stage.world.epoch = fresh_counts(), stage.world.epoch + 1
        stage.begin()
        honest = stage.life.sample

        async def sample() -> Sample:
            seen = await honest()
            return _change(seen, arms={**seen.arms, NEW: _arm(0, 0)}) if silent else seen

        stage.life.sample = sample
        await stage.until(lambda: len(stage.events(ev.Verdict)) == 5, 40)
        assert len(stage.events(ev.ControllerStarted)) == 1
        first, second = stage.events(ev.Verdict)[3:]
        assert first.action == "hold"
        assert first.reason.startswith("no requests are counted yet: this is the first look since counting began anew")
        assert ("canary gets no requests" in second.reason) is silent
        assert "counted yet" not in second.reason

    play(act, Faults(), real_judge.make)


def test_f7_an_outage_of_the_evidence_holds_for_as_long_as_it_lasts(play: Any, long_plan: Plan) -> None:
    """Twenty minutes without an answer: the weight stays, the reason stands in the journal, and then it goes on."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 0)
        honest = stage.life.sample
        stage.life.sample = _unavailable
        await stage.stays(lambda: stage.weight == 1000 and stage.state.phase is Phase.SOAKING, 1200)
        assert stage.state.verdict.reason == "no evidence: the counters do not answer"
        stage.life.sample = honest
        await stage.until_phase(Phase.LIVE)

    play(act)


async def _unavailable() -> Sample:
    raise UnavailableError("the counters do not answer")


def test_f7_a_candidate_that_dies_during_the_outage_is_taken_back_all_the_same(play: Any, long_plan: Plan) -> None:
    """The fuse needs no statistics."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 0)
        stage.life.sample = _unavailable
        stage.world.alive.pop(NEW)
        assert await stage.until(lambda: stage.weight == 0) <= PACE.probe.total_seconds() + 2

    play(act)


def test_f8_at_night_nothing_is_decided_on_three_requests(play: Any, long_plan: Plan, real_judge: Any) -> None:
    """One request a minute on the candidate: held, asked at the ceiling, never rolled back and never passed."""

    async def act(stage: Any) -> None:
        stage.world.rate = 1 / 6
        await stage.ship(long_plan, judging=real_judge.judging)
        await stage.until_phase(Phase.WAITING)
        assert stage.state.waiting_for is WaitingFor.DECISION
        assert {verdict.action for verdict in stage.events(ev.Verdict)} == {"hold"}
        assert "undecided after" in stage.state.reason

    play(act, Faults(error_ratio=0.002), real_judge.make)


# ---- F12 to F15: versions that flap, come back, or come in between; hooks


def test_f12_a_candidate_that_becomes_ready_again_and_again_does_not_stay(play: Any) -> None:
    """Never three bad probes in a row, and never well for long: that is no progress, and the clock does not stop."""
    plan = small_plan((10, 100), floor=timedelta(minutes=10), on_inconclusive="extend")

    async def act(stage: Any) -> None:
        condition, looks = stage.life.condition, {"n": 0}

        async def asked(version: str) -> Condition:
            looks["n"] += version == NEW and stage.weight > 0
            flapping = version == NEW and looks["n"] % 4 == 3
            return Condition(Health.UNREADY, "503") if flapping else await condition(version)

        stage.life.condition = asked
        await stage.ship(plan)
        await stage.until_phase(Phase.ROLLED_BACK, 0)
        assert "went from ready to unready 20 times within 10m: 503" in stage.state.reason

    play(act)


def test_f12_a_candidate_that_never_becomes_ready_is_given_up_at_its_deadline(play: Any) -> None:
    """Starting for ever is no progress either."""

    async def act(stage: Any) -> None:
        await stage.ship()
        took = await stage.until(lambda: stage.state.phase is Phase.ROLLED_BACK)
        assert took <= PACE.ready.total_seconds() + 5
        assert "not ready after 1m: still importing" in stage.state.reason

    play(act, Faults(candidate_starts=False))


def test_f13_a_version_that_was_taken_back_is_not_shipped_again_by_a_loop(play: Any, long_plan: Plan) -> None:
    """A pipeline that re-applies the old commit is refused until somebody insists."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.ROLLED_BACK)
        for _ in range(3):
            code, text = await stage.ship(long_plan)
            assert code == ExitCode.REFUSED
            assert "v2 is in quarantine" in text
        assert (await stage.ship(long_plan, force=True))[0] == ExitCode.OK

    play(act, Faults(error_ratio=0.5))


@pytest.mark.parametrize("policy", ["refuse", "queue", "supersede"])
def test_f14_a_newer_version_in_the_middle_follows_the_declared_policy(play: Any, long_plan: Plan, policy: str) -> None:
    """Refused, after it, or instead of it; in no case do three versions have traffic."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 0)
        stage.request("ship", version="v3", plan=msgspec.to_builtins(long_plan), when_busy=policy)
        await stage.stays(lambda: stage.world.split in (Split(OLD, NEW, 1000), Split(OLD), Split(OLD, "v3", 1000)), 30)
        names = [state.candidate for state in stage.world.journal.rollouts(SERVICE)]
        assert names == (["v3", NEW] if policy == "supersede" else [NEW])
        if policy == "refuse":
            assert stage.world.journal.requests(SERVICE) == []

    play(act)


def test_f14_a_version_that_ended_the_watch_is_shipped_although_the_controller_died(play: Any, long_plan: Plan) -> None:
    """It waits for the old one to leave. The next controller does not know why it waits, and ships it all the same."""

    async def act(stage: Any) -> None:
        entries = stage.life.controller.entries

        def watch(entry: Any) -> None:
            entries(entry)
            if entry.phase == "promoting":
                stage.life.dead.set()

        stage.life.controller.entries = watch
        await stage.ship(long_plan)
        await stage.until_phase(Phase.WATCHING)
        number = stage.request("ship", version="v3", plan=msgspec.to_builtins(long_plan))
        await stage.until(stage.life.dead.is_set)
        await stage.kill()
        stage.begin()
        await stage.until(lambda: stage.world.journal.answer_to(number) is not None)
        assert stage.world.journal.answer_to(number) == (ExitCode.OK, "web-2")
        assert [state.candidate for state in stage.world.journal.rollouts(SERVICE)] == ["v3", NEW]

    play(act)


def test_f15_a_hook_runs_once_although_the_controller_looks_at_every_tick(play: Any, long_plan: Plan) -> None:
    """Waiting for an approval for long, with a hook done before: no tick and no restart runs it again."""
    second = _change(long_plan.stages[1], approval="owners")
    plan = _change(long_plan, stages=(long_plan.stages[0], second, long_plan.stages[2]), hooks=_HOOKS[:2])

    async def act(stage: Any) -> None:
        await stage.ship(plan)
        await stage.until_phase(Phase.WAITING)
        await asyncio.sleep(300)
        await stage.kill()
        stage.begin()
        await asyncio.sleep(300)
        await stage.ask("approve", "grace")
        await stage.until_phase(Phase.LIVE)
        calls = [run.call.name for run in stage.world.hooks.runs.values()]
        assert calls == [f"{point}-{n}-1" for n in (1, 2, 3) for point in ("before_stage", "after_stage")]

    play(act)


# ---- F17, F18: locks and files


def test_f17_a_stale_lock_is_taken_over_when_its_holder_is_known_to_be_dead(tmp_path: Path) -> None:
    """A dead process of this host at once; elsewhere when its lease has run out; a living one never."""
    journal, now = Journal(tmp_path / "golive.db"), simulate(1, Faults()).state.started_at
    dead = Holder(this_host(), 2**22 + 1, "never")
    first = Lease(journal.connection, "web", dead).acquire(now)
    assert current_holder(journal.connection, "web", now) is None
    mine = Lease(journal.connection, "web")
    assert mine.acquire(now) == first + 1
    mine.release(now)
    far = Holder("host-b", 7, "then")
    assert Lease(journal.connection, "web", far).acquire(now) == first + 2
    with pytest.raises(RefusedError, match="process 7 on host-b"):
        Lease(journal.connection, "web").acquire(now + LEASE_FOR / 2)
    assert current_holder(journal.connection, "web", now) == far, "`golive status` shows who it is"
    assert Lease(journal.connection, "web").acquire(now + LEASE_FOR + timedelta(seconds=1)) > first + 2


def test_f17_a_journal_that_was_lost_or_restored_gives_a_token_that_gateway_and_versions_accept(tmp_path: Path) -> None:
    """They remember the highest they saw; the journal of last week does not."""
    now = simulate(1, Faults()).state.started_at
    backup = Journal(tmp_path / "backup.db")
    Lease(backup.connection, "web", Holder("host-a", 7, "then")).acquire(now)
    seen, moment = 0, now
    for _ in range(20):
        moment += LEASE_FOR + timedelta(seconds=1)
        seen = Lease(backup.connection, "web").acquire(moment)
    for name in ("backup.db", "empty.db"):
        journal = Journal(tmp_path / name)
        journal.connection.execute("update lease set fence = 3")
        assert Lease(journal.connection, "web").acquire(moment + LEASE_FOR + timedelta(seconds=1)) > seen


def this_host() -> str:
    return Lease(Journal(":memory:").connection, "x").holder.host


@pytest.mark.parametrize("damage", ["garbage", "torn", "overwritten"])
def test_f18_a_damaged_journal_is_an_error_and_never_an_empty_one(tmp_path: Path, damage: str) -> None:
    """Whoever opens it is told, with what to do; nothing is written over it."""
    path = tmp_path / "golive.db"
    journal = Journal(path)
    journal.adopt("web", "v7", simulate(1, Faults()).state.started_at)
    journal.connection.execute("pragma wal_checkpoint(truncate)")
    journal.close()
    whole = path.read_bytes()
    broken = {
        "garbage": b"not a database at all" * 100,
        "torn": whole[: len(whole) // 3],
        "overwritten": whole[:100] + bytes(len(whole) - 100),
    }[damage]
    path.write_bytes(broken)
    with pytest.raises(StateError, match=r"Move it aside .* or restore a backup"):
        Journal(path).service("web")
    assert path.read_bytes()[: len(broken)] == broken


def test_f18_a_journal_that_was_lost_does_not_move_what_the_gateway_serves(play: Any) -> None:
    """The file is gone and the gateway serves v7: nobody is sent to the first version, and the message says how on."""

    async def act(stage: Any) -> None:
        await stage.end()
        controller = stage.life.controller
        stage.world.split = Split("v7", "v8", 500)
        with pytest.raises(StateError, match=r"serves as v7=95 v8=5; .* `golive up --version v7`"):
            await refuse_to_forget(controller.world, controller.journal, SERVICE, OLD)
        await refuse_to_forget(controller.world, controller.journal, SERVICE, "v7")

    play(act)


def test_f18_nothing_is_decided_on_a_record_that_was_altered(play: Any, long_plan: Plan) -> None:
    """The next controller checks the chain of the rollout it would go on with, and stays out."""

    async def act(stage: Any) -> None:
        await stage.ship(long_plan)
        await stage.until_phase(Phase.SOAKING, 0)
        await stage.kill()
        db = stage.world.journal.connection
        db.execute("drop trigger journal_is_append_only_update")
        db.execute("update journal set body = replace(body, 'v2', 'v3') where seq = 2")
        stage.begin()
        await asyncio.sleep(1)
        with pytest.raises(StateError, match="entry 2: its content does not match its hash"):
            stage._tasks[0].result()
        assert stage.weight == 1000

    play(act)


# ---- F20: who waits for whom


def test_f20_a_rollout_of_days_lives_in_the_controller_and_needs_nobody_attached(play: Any) -> None:
    """Longer than any pipeline may run (36 h is a usual cap), over two deaths of the controller."""
    plan = small_plan((10, 50, 100), floor=timedelta(hours=20), watch=timedelta(hours=48))
    minutes = timedelta(minutes=5)
    calm = Pace(tick=minutes, probe=minutes, inbox=minutes, renew=minutes)

    async def act(stage: Any) -> None:
        stage.request("ship", version=NEW, plan=msgspec.to_builtins(plan))
        for _ in range(3):
            await stage.kill()
            stage.begin()
            stage.life.controller.pace = calm
            await asyncio.sleep(15 * 3600)
        await stage.until(lambda: stage.state.phase is Phase.LIVE, 200 * 3600)

    play(act)


def test_f16_a_rollout_that_soaks_leaves_nothing_behind_in_memory(play: Any, real_judge: Any) -> None:
    """Five hundred looks after the first thousand leave no object behind. Longer: `make bench-controller`."""
    plan = small_plan((10, 100), floor=timedelta(days=9))
    sizes: list[int] = []

    async def act(stage: Any) -> None:
        await stage.kill()
        stage.world.faults = _change(stage.world.faults, error_ratio=0.0)
        stage.request("ship", version=NEW, plan=msgspec.to_builtins(plan), judging=real_judge.judging)
        stage.begin()
        stage.life.controller.pace = Pace(
            tick=timedelta(seconds=10), probe=timedelta(minutes=1), inbox=timedelta(minutes=1)
        )
        for _ in range(3):
            await asyncio.sleep(5000)
            gc.collect()
            sizes.append(len(gc.get_objects()))
        assert len(stage.events(ev.Verdict)) > 1400

    play(act, None, real_judge.make)
    assert sizes[2] - sizes[1] < 500, f"objects alive after 500, 1000 and 1500 looks: {sizes}"
