"""
Traffic that is not where golive put it, and what that means. Pure; a part of the machine.

More than is wanted is taken back, whoever it was. Less is a decision of somebody, unless golive itself lowered it.
"""

from __future__ import annotations

from msgspec.structs import replace

from golive.rollout import events as ev
from golive.rollout.ports import Split
from golive.rollout.state import EXPOSED, Phase, State


def drifted(state: State, event: ev.Drifted) -> State:
    """Somebody else moved the traffic. More than we want is taken back at once; less is never raised by itself."""
    if state.phase not in EXPOSED:
        return state
    seen = event.split.weight if event.split is not None and event.split.candidate == state.candidate else 0
    if seen > state.weight or state.lowered:
        return replace(state, phase=Phase.SHIFTING, reason=f"the gateway had {seen / 100:g} %, restoring the plan")
    if state.paused_by is not None or state.phase is Phase.SHIFTING:
        return state
    why = f"the gateway was set to {seen / 100:g} % by somebody else; resume to restore {state.weight / 100:g} %"
    return replace(state, paused_by="golive", reason=why)


def is_less(seen: Split, state: State) -> bool:
    """Whether the candidate has less than *state* wants, and stable the rest."""
    return seen.stable == state.stable and seen.candidate in (None, state.candidate) and seen.weight < state.weight


def same_traffic(seen: Split, wanted: Split) -> bool:
    """A candidate without traffic is the same whether the gateway knows it already or not."""
    if seen.weight == wanted.weight == 0:
        return seen.stable == wanted.stable
    return seen == wanted
