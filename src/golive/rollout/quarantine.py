"""
Which versions are not to be had again, and which one to go back to. Pure; read from the rollouts of a service.
"""

from __future__ import annotations

from collections.abc import Iterable

from golive.rollout.state import Phase, State

LOOK_BACK = 100
"""Rollouts looked through. A version that failed longer ago than that may be tried again."""


def quarantined_by(rollouts: Iterable[State], version: str) -> State | None:
    """
    The rollout that took *version* back after it had traffic, when nothing has spoken for it since: golive did, or a
    person who aborted, rejected, or returned to the version before it. None when it may be shipped; what made room for
    a newer version may be, since nothing was said against it.

    Args:
        rollouts: newest first.
    """
    for state in rollouts:
        if state.phase is Phase.LIVE and state.candidate == version:
            return None
        if state.phase is Phase.LIVE and not state.plan.judged and state.stable == version:
            return state
        exposed = state.stage >= 0  # what never had traffic has harmed nobody and may be tried again
        if state.phase is Phase.ROLLED_BACK and state.candidate == version and exposed and not state.superseded_by:
            return state
    return None


def version_before(rollouts: Iterable[State], current: str, previous: str | None) -> str | None:
    """
    The version to return to from *current*: the latest that served everybody and was not taken back; else *previous*.

    Args:
        rollouts: newest first.
    """
    known = list(rollouts)
    for state in known:
        if state.phase is not Phase.LIVE:
            continue
        for version in (state.candidate, state.stable):
            if version != current and quarantined_by(known, version) is None:
                return version
    return previous if previous is not None and quarantined_by(known, previous) is None else None
