"""
Asking people, and what their agreement is worth. Pure: a part of the machine.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from golive.rollout import events as ev
from golive.rollout import hooking
from golive.rollout.state import Phase, State, WaitingFor
from golive.timing import format_duration


def ask(state: State, following: int, at: datetime) -> State:
    """*state* waiting for the group that must agree before the stage *following*."""
    group, needed = state.plan.stages[following].approval, state.plan.stages[following].needed
    whom = f"{needed} of {group}" if needed > 1 else str(group)
    return replace(
        state,
        phase=Phase.WAITING,
        waiting_for=WaitingFor.APPROVAL,
        agreed=(),
        asked_at=at,
        reason=f"waiting for {whom} to approve {state.share(following)}",
    )


def asked_until(state: State) -> datetime | None:
    """When what was agreed so far becomes void."""
    if state.waiting_for is not WaitingFor.APPROVAL or state.asked_at is None or state.plan.approval_expires is None:
        return None
    return state.asked_at + state.plan.approval_expires


def ask_anew(state: State, at: datetime) -> State:
    """After the expiry whoever agreed is asked again: what was true a day ago may not be today. The hold stays."""
    until = asked_until(state)
    if until is None or at < until or state.plan.approval_expires is None:
        return state
    anew = ask(state, state.stage + 1, at)
    return replace(anew, reason=f"{anew.reason}; not complete within {format_duration(state.plan.approval_expires)}")


def approved(state: State, event: ev.Approved) -> State:
    """*state* after somebody agreed."""
    if state.phase is not Phase.WAITING:
        return state
    if state.waiting_for is WaitingFor.HOOK:
        return hooking.accepted(state, event.actor)
    if state.waiting_for is WaitingFor.DECISION:
        state = replace(state, phase=Phase.SOAKING, waiting_for=None, reason=f"approved by {event.actor}")
        return replace(state, settled_stage=state.stage)
    state = ask_anew(state, event.at)
    if event.actor in state.agreed:
        return state
    state = replace(state, agreed=(*state.agreed, event.actor))
    stage, who = state.plan.stages[state.stage + 1], " and ".join(state.agreed)
    if len(state.agreed) < stage.needed:
        return replace(state, reason=f"approved by {who}, {len(state.agreed)} of {stage.needed} of {stage.approval}")
    reason = f"approved by {who}"
    return replace(
        state, phase=Phase.SOAKING, waiting_for=None, asked_at=None, approved_stage=state.stage + 1, reason=reason
    )
