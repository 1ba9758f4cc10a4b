"""
When a hook is due, and what its end means. Pure: a part of the machine.

A call is in the state, and so in the journal, before it is started; its end is an event. While one runs nothing rises,
but the traffic is still judged, and going back does not wait: the write at the gateway comes first, and the hook that
undoes runs when the candidate is gone and whatever was still running has ended.
"""

from __future__ import annotations

from msgspec.structs import replace

from golive.rollout import events as ev
from golive.rollout.hooks import ATTEMPTS_MAX, Hook, HookCall, HookOutcome, HookPoint
from golive.rollout.state import GOING_BACK, Phase, State, WaitingFor

NOTHING_HELD = GOING_BACK | {Phase.RETIRING}
"""Phases in which there is nothing left to hold: a hook that fails there is told, and that is all."""


def before_leaving(state: State) -> State | None:
    """*state* with the call that is due at the end of its stage; None when there is none."""
    return _due(state, "after_stage", state.stage) if state.stage >= 0 else None


def before_entering(state: State, following: int) -> State | None:
    """*state* with the next call that is due before the stage *following*; None when there is none."""
    last = following == len(state.plan.stages) - 1
    promotion = _due(state, "before_promote", following) if last else None
    return promotion or _due(state, "before_stage", following)


def at_the_end(state: State) -> State | None:
    """*state* with the call that is due when only one version is left; None when there is none."""
    if state.phase is Phase.DRAINING:
        touched = state.stage >= 0 or state.hooks_over or state.hook is not None
        return _due(state, "on_rollback", state.stage) if touched else None
    # The return to a version that served before undoes what the release before it did.
    return _due(state, "after_promote" if state.plan.judged else "on_rollback", state.stage)


def running(state: State) -> bool:
    """Whether a call was started whose end is not known yet."""
    return state.hook is not None and state.waiting_for is not WaitingFor.HOOK


def ended(state: State, event: ev.HookEnded) -> tuple[State, str]:
    """The state after a call ended, and why the traffic has to go back; the empty string when it has not."""
    call = state.hook
    if call is None or call != event.call or not running(state):
        return state, ""
    hook = _declared(state, call.point)
    assert hook is not None, "a call has its hook in the plan of the same state"
    held = state.phase not in NOTHING_HELD
    if event.outcome is HookOutcome.OK:
        reason = f"the hook {call.point}{_of_stage(state, call)} {event.said}" if held else state.reason
        return replace(_over(state, call), reason=reason), ""
    if event.outcome is HookOutcome.UNKNOWN and hook.idempotent and call.attempt < ATTEMPTS_MAX:
        return replace(state, hook=replace(call, attempt=call.attempt + 1)), ""
    said = f"the hook {call.point}{_of_stage(state, call)} {event.said}"
    if not held or hook.on_failure == "continue":
        return replace(_over(state, call), reason=f"{state.reason}; {said}"), ""
    if event.outcome is not HookOutcome.UNKNOWN and hook.on_failure == "rollback":
        return _over(state, call), said
    # Traffic that is on its way arrives first; the machine waits then.
    phase = state.phase if state.phase is Phase.SHIFTING else Phase.WAITING
    return replace(state, phase=phase, waiting_for=WaitingFor.HOOK, reason=f"{said}: {_QUESTION}"), ""


_QUESTION = "retry runs it once more, approve goes on as if it had succeeded"


def accepted(state: State, actor: str) -> State:
    """Somebody takes the call that was asked about as done."""
    assert state.hook is not None
    reason = f"the hook {state.hook.point} was taken as done by {actor}"
    return replace(_over(state, state.hook), phase=Phase.SOAKING, waiting_for=None, reason=reason)


def retried(state: State, actor: str) -> State:
    """Somebody wants the call that was asked about once more."""
    assert state.hook is not None
    again = replace(state.hook, attempt=state.hook.attempt + 1)
    reason = f"the hook {again.point} runs again, asked by {actor}"
    return replace(state, phase=Phase.SOAKING, waiting_for=None, hook=again, reason=reason)


def dropped_when_asked(state: State) -> State:
    """On the way back nobody is asked any more about a call that failed; one that still runs is waited for."""
    return state if state.hook is None or running(state) else _over(state, state.hook)


def _due(state: State, point: HookPoint, stage: int) -> State | None:
    if _declared(state, point) is None or any((over.point, over.stage) == (point, stage) for over in state.hooks_over):
        return None
    call = HookCall(point, stage)
    if state.phase in NOTHING_HELD:
        return replace(state, hook=call)
    return replace(state, hook=call, reason=f"running the hook {point}{_of_stage(state, call)}")


def _over(state: State, call: HookCall) -> State:
    return replace(state, hook=None, hooks_over=(*state.hooks_over, call))


def _declared(state: State, point: HookPoint) -> Hook | None:
    return next((hook for hook in state.plan.hooks if hook.point == point), None)


def _of_stage(state: State, call: HookCall) -> str:
    return f" of {state.share(call.stage)}" if call.point in ("before_stage", "after_stage") else ""
