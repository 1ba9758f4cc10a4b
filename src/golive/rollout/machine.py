"""
The rollout machine: ``decide(state, event) -> (state, commands)``. Pure; time arrives as data.

    DEPLOYING --deployed--> SOAKING(-1) --> SHIFTING(n) --confirmed--> SOAKING(n) --passed--> SHIFTING(n+1) ...
                                                               |  ^
                                              needs a human    v  | approved, or a hook retried
                                                             WAITING
    SOAKING(last) --passed--> WATCHING --over--> PROMOTING --confirmed--> RETIRING --removed--> LIVE
    any of these --verdict, fuse, reject, abort--> ROLLING_BACK --confirmed--> DRAINING --removed--> ROLLED_BACK

What it promises, whatever the order of events:

* the wanted weight rises only by entering the next stage: never in a pause, never past an approval, never in a freeze,
  never while stable is unhealthy, never on a verdict of another stage;
* an abort wins from every state that is not final;
* traffic never goes back onto a stable version known to be dead while the candidate still lives: stable is revived
  first;
* ``wanted(state)`` alone says what the world should be doing, so that a controller that starts in the middle knows.

Left out: how things are done (runner), what the evidence means (judge), who may approve (the caller checks before the
event is made).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, cast

from msgspec.structs import replace

from golive.rollout import asking, hooking
from golive.rollout import events as ev
from golive.rollout.calendar import closed_until
from golive.rollout.commands import Command, Deploy, Observe, Remove, RunHook, Shift, Wake
from golive.rollout.drift import drifted
from golive.rollout.ports import WEIGHT_MAX
from golive.rollout.state import EXPOSED, GOING_BACK
from golive.rollout.state import FINAL as FINAL
from golive.rollout.state import Phase as Phase
from golive.rollout.state import State as State
from golive.rollout.state import WaitingFor as WaitingFor
from golive.timing import format_duration, format_instant

FLAPS_MAX, FLAPS_WITHIN = 20, timedelta(minutes=10)
"""
From good to bad every half minute is a version that never works for long. One bad probe in a hundred, twelve within the
time at the default interval, may be a network and stays below it.
"""


def begin(event: ev.Started) -> tuple[State, tuple[Command, ...]]:
    """The first state of a rollout, and what to do first."""
    state = State(
        id=event.id,
        service=event.service,
        stable=event.stable,
        candidate=event.candidate,
        plan=event.plan,
        actor=event.actor,
        judging=event.judging,
        overridden=event.override,
        phase=Phase.DEPLOYING,
        started_at=event.at,
        entered_at=event.at,
        reason=f"starting {event.candidate}",
    )
    return state, wanted(state)


def decide(state: State, event: ev.AnyEvent) -> tuple[State, tuple[Command, ...]]:
    """
    The next state, and what is newly asked of the world.

    Returns: the commands of ``wanted(new state)`` that the old state did not already ask for, in order.
    """
    if state.final:
        return state, ()
    after = _HANDLERS.get(type(event), _nothing)(state, event)
    if not after.final:
        after = _advance(after, event.at)
    before = wanted(state) if after.phase is state.phase and after.stage == state.stage else ()
    return after, tuple(command for command in wanted(after) if command not in before)


def wanted(state: State) -> tuple[Command, ...]:
    """What the world should be doing in *state*: everything a controller that starts now has to know."""
    if state.hook is None or not hooking.running(state):
        return _of_phase(state)
    return (*_of_phase(state), RunHook(state.hook))


def _of_phase(state: State) -> tuple[Command, ...]:
    match state.phase:
        case Phase.DEPLOYING:
            return (Deploy(state.candidate),)
        case Phase.SHIFTING | Phase.PROMOTING:
            return (Shift(state.split),)
        case Phase.SOAKING | Phase.WAITING | Phase.WATCHING:
            return (Observe(state.stage), *(Wake(alarm) for alarm in _alarms(state)))
        case Phase.RETIRING:
            return () if state.removed else (Remove(state.stable),)
        case Phase.ROLLING_BACK:
            revive = () if state.stable_healthy else (Deploy(state.stable),)
            return (*revive, Shift(state.split)) if state.stable_healthy or not state.candidate_alive else revive
        case Phase.DRAINING:
            return () if state.removed else (Remove(state.candidate),)
        case _:
            return ()


def replay(history: Iterable[ev.AnyEvent]) -> State:
    """
    The state after *history*, from nothing. The same events always end in the same state.

    Raises: ValueError when *history* does not begin with Started.
    """
    events = iter(history)
    first = next(events, None)
    if not isinstance(first, ev.Started):
        raise ValueError("a rollout's history begins with its start")
    state, _ = begin(first)
    for event in events:
        state, _ = decide(state, event)
    return state


# ---- moving forward


def _advance(state: State, at: datetime) -> State:
    """What follows by itself from where we are now, without anything new having happened."""
    if state.phase is Phase.SOAKING:
        return _leave_stage(state, at)
    if state.phase is Phase.WATCHING and at >= state.entered_at + state.plan.watch and state.paused_by is None:
        return _promote(state, at, "the watch is over")
    if state.phase is Phase.WAITING:
        return asking.ask_anew(state, at)
    if state.phase in (Phase.RETIRING, Phase.DRAINING) and state.removed and state.hook is None:
        return hooking.at_the_end(state) or _end(state, at)
    return state


def _leave_stage(state: State, at: datetime) -> State:
    if state.paused_by is not None or not state.stable_healthy or not state.candidate_alive or state.failed_probes:
        return state
    if state.hook is not None:
        return state
    if not _passed(state, at):
        return _at_ceiling(state, at)
    if (calling := hooking.before_leaving(state)) is not None:
        return calling
    following = state.stage + 1
    if following == len(state.plan.stages):
        return _watch(state, at)
    if state.plan.stages[following].approval is not None and state.approved_stage < following:
        return asking.ask(state, following, at)
    return _freeze(state, following, at) or hooking.before_entering(state, following) or _rise(state, following)


def _rise(state: State, following: int) -> State:
    return replace(
        state,
        phase=Phase.SHIFTING,
        stage=following,
        weight=state.plan.stages[following].weight,
        verdict=None,
        frozen_until=None,
        reason=f"moving to {state.share(following)}",
    )


def _freeze(state: State, following: int, at: datetime) -> State | None:
    """*state* waiting for the end of a freeze; None when the weight may rise."""
    if state.overridden:
        return None
    until = closed_until(state.plan.freeze, state.plan.window, at)
    if until is None:
        return None
    if until == state.frozen_until:
        return state
    why = f"frozen until {format_instant(until)}: {state.share(following)} has to wait"
    return replace(state, frozen_until=until, reason=why)


# ---- the end of a stage


def _passed(state: State, at: datetime) -> bool:
    """Whether this stage has shown what it had to show, for long enough."""
    if state.stage < 0:
        return True
    if at < state.entered_at + state.plan.stages[state.stage].floor:
        return False
    if state.settled_stage >= state.stage or not state.plan.judged:
        return state.verdict is None or state.verdict.action != "rollback"
    return state.verdict is not None and state.verdict.action == "promote"


def _at_ceiling(state: State, at: datetime) -> State:
    ceiling = None if state.stage < 0 else state.plan.stages[state.stage].ceiling
    if state.settled_stage >= state.stage or not _given_up(state, ceiling, at):
        return state
    said = state.verdict.reason if state.verdict else "there is no evidence"
    waited = format_duration(timedelta(seconds=round((at - state.entered_at).total_seconds())))
    why = f"undecided after {waited} at {state.share(state.stage)}: {said}"
    match state.plan.on_inconclusive:
        case "rollback":
            return _roll_back(state, at, why, "golive")
        case "ask":
            return replace(state, phase=Phase.WAITING, waiting_for=WaitingFor.DECISION, reason=why)
        case _:
            return state


def _given_up(state: State, ceiling: timedelta | None, at: datetime) -> bool:
    """Whether more of this stage is not worth waiting for, by the plan's ceiling or in the judge's eyes."""
    if state.stage < 0:
        return False
    if ceiling is not None and at >= state.entered_at + ceiling:
        return True
    floor = state.plan.stages[state.stage].floor
    return state.verdict is not None and state.verdict.needs_human and at >= state.entered_at + floor


def _watch(state: State, at: datetime) -> State:
    watching = replace(
        state,
        phase=Phase.WATCHING,
        entered_at=at,
        reason=f"all traffic on {state.candidate}; {state.stable} stays warm for {format_duration(state.plan.watch)}",
    )
    return _advance(watching, at)


def _promote(state: State, at: datetime, why: str) -> State:
    return replace(state, phase=Phase.PROMOTING, weight=WEIGHT_MAX, entered_at=at, reason=why)


def _alarms(state: State) -> tuple[datetime, ...]:
    """The instants at which time alone changes something."""
    if state.phase is Phase.WATCHING:
        return (state.entered_at + state.plan.watch,)
    until = asking.asked_until(state) if state.phase is Phase.WAITING else state.frozen_until
    extra = () if until is None else (until,)
    if state.phase is not Phase.SOAKING or state.stage < 0:
        return extra
    stage = state.plan.stages[state.stage]
    waits = [stage.floor] if stage.ceiling is None else [stage.floor, stage.ceiling]
    return (*(state.entered_at + wait for wait in waits), *extra)


# ---- going back


def _roll_back(state: State, at: datetime, why: str, by: str) -> State:
    if state.phase in GOING_BACK:
        return state
    # The old version may already be stopping: whether it lives has to be seen again before it gets traffic.
    stable_healthy = state.stable_healthy and state.phase is not Phase.RETIRING
    return replace(
        hooking.dropped_when_asked(state),
        phase=Phase.ROLLING_BACK,
        weight=0,
        entered_at=at,
        removed=False,
        lowered=False,
        waiting_for=None,
        asked_at=None,
        frozen_until=None,
        paused_by=None,
        stable_healthy=stable_healthy,
        reason=why,
        ended_by=by,
    )


# ---- one handler per event


def _deployed(state: State, event: ev.Deployed) -> State:
    if event.version == state.stable:
        return replace(state, stable_healthy=True)
    if state.phase is not Phase.DEPLOYING or event.version != state.candidate:
        return state
    return replace(
        state, phase=Phase.SOAKING, stage=-1, entered_at=event.at, reason=f"{state.candidate} is ready, without traffic"
    )


def _deploy_failed(state: State, event: ev.DeployFailed) -> State:
    if event.version == state.candidate and state.phase is Phase.DEPLOYING:
        what = "is NO-GO" if event.no_go else "did not become ready"
        state = replace(state, no_go=event.no_go)
        return _roll_back(state, event.at, f"{event.version} {what}: {event.reason}", "golive")
    if event.version == state.stable:
        return replace(state, stable_healthy=False)
    return state


def _confirmed(state: State, event: ev.TrafficConfirmed) -> State:
    if event.split != state.split:
        return state
    state = replace(state, lowered=False)
    match state.phase:
        case Phase.SHIFTING:
            if state.waiting_for is WaitingFor.HOOK:
                return replace(state, phase=Phase.WAITING, entered_at=event.at, verdict=None)
            reason = f"{state.share(state.stage)} on {state.candidate}, collecting evidence"
            return replace(state, phase=Phase.SOAKING, entered_at=event.at, verdict=None, reason=reason)
        case Phase.PROMOTING:
            return replace(state, phase=Phase.RETIRING, entered_at=event.at)
        case Phase.ROLLING_BACK:
            return replace(state, phase=Phase.DRAINING, entered_at=event.at)
        case _:
            return state


def _controller_started(state: State, event: ev.ControllerStarted) -> State:
    return replace(state, lowered=True) if event.lowered and state.phase in EXPOSED else state


def _verdict(state: State, event: ev.Verdict) -> State:
    if event.stage != state.stage or state.phase not in (Phase.SOAKING, Phase.WAITING, Phase.WATCHING):
        return state
    state = replace(
        state, verdict=replace(event, evidence=None)
    )  # the journal keeps the evidence, the state needs none
    if event.action == "rollback" and state.weight > 0:
        return _roll_back(state, event.at, event.reason, "golive")
    return state


def _probed(state: State, event: ev.Probed) -> State:
    if event.version == state.stable:
        return replace(state, stable_healthy=event.healthy)
    if event.version != state.candidate:
        return state
    failed = 0 if event.healthy else state.failed_probes + 1
    flaps = (*state.flaps, event.at)[-FLAPS_MAX:] if failed == 1 else state.flaps
    state = replace(state, failed_probes=failed, flaps=flaps, candidate_alive=not event.dead)
    what = _fuse_blown(state, event)
    if state.phase in EXPOSED and what:
        return _roll_back(state, event.at, f"{state.candidate} {what}: {event.reason}", "golive")
    return state


def _fuse_blown(state: State, event: ev.Probed) -> str:
    """
    Why the candidate is no version to send people to, without statistics. Becoming ready again and again is no
    progress: what flaps never fails three probes in a row and would stay for ever.
    """
    if event.dead:
        return "died"
    if state.failed_probes >= state.plan.failed_probes_max:
        return f"failed {state.failed_probes} probes in a row"
    if state.failed_probes and len(state.flaps) == FLAPS_MAX and event.at - state.flaps[0] <= FLAPS_WITHIN:
        return f"went from ready to unready {FLAPS_MAX} times within {format_duration(FLAPS_WITHIN)}"
    return ""


def _removed(state: State, event: ev.Removed) -> State:
    if state.phase is Phase.RETIRING and event.version == state.stable:
        return replace(state, removed=True, reason=f"all traffic on {state.candidate}")
    if state.phase is Phase.DRAINING and event.version == state.candidate:
        return replace(state, removed=True)
    return state


def _end(state: State, at: datetime) -> State:
    return replace(state, phase=Phase.LIVE if state.phase is Phase.RETIRING else Phase.ROLLED_BACK, ended_at=at)


def _hook_ended(state: State, event: ev.HookEnded) -> State:
    state, why = hooking.ended(state, event)
    return _roll_back(state, event.at, why, "golive") if why else state


def _retried(state: State, event: ev.Retried) -> State:
    asked = state.phase is Phase.WAITING and state.waiting_for is WaitingFor.HOOK
    return hooking.retried(state, event.actor) if asked else state


def _rejected(state: State, event: ev.Rejected) -> State:
    if state.phase is not Phase.WAITING:
        return state
    return _roll_back(state, event.at, _said(f"rejected by {event.actor}", event.comment), event.actor)


def _paused(state: State, event: ev.Paused) -> State:
    if state.phase in GOING_BACK or state.phase in (Phase.PROMOTING, Phase.RETIRING):
        return state
    return replace(state, paused_by=event.actor, reason=_said(f"paused by {event.actor}", event.comment))


def _resumed(state: State, event: ev.Resumed) -> State:
    if state.paused_by is None:
        return state
    drifted = state.paused_by == "golive"
    state = replace(state, paused_by=None, reason=f"resumed by {event.actor}")
    # After a drift the traffic has to be put back where the plan says; a stage's clock starts again with it.
    return replace(state, phase=Phase.SHIFTING) if drifted and state.phase in EXPOSED and state.stage >= 0 else state


def _aborted(state: State, event: ev.Aborted) -> State:
    back = _roll_back(state, event.at, _said(f"aborted by {event.actor}", event.reason), event.actor)
    return back if back is state else replace(back, superseded_by=event.superseded_by)


def _watch_ended(state: State, event: ev.WatchEnded) -> State:
    if state.phase is not Phase.WATCHING or state.paused_by is not None:
        return state
    return _promote(state, event.at, f"the watch was ended by {event.actor}")


def _said(who: str, comment: str) -> str:
    return f"{who}: {comment}" if comment else who


def _nothing(state: State, _event: Any) -> State:
    return state


_HANDLERS: dict[type, Callable[[State, Any], State]] = cast(
    "dict[type, Callable[[State, Any], State]]",
    {
        ev.Deployed: _deployed,
        ev.DeployFailed: _deploy_failed,
        ev.TrafficConfirmed: _confirmed,
        ev.ControllerStarted: _controller_started,
        ev.Drifted: drifted,
        ev.Verdict: _verdict,
        ev.Probed: _probed,
        ev.Removed: _removed,
        ev.HookEnded: _hook_ended,
        ev.Retried: _retried,
        ev.Approved: asking.approved,
        ev.Rejected: _rejected,
        ev.Paused: _paused,
        ev.Resumed: _resumed,
        ev.Aborted: _aborted,
        ev.WatchEnded: _watch_ended,
    },
)
