"""
The state of one rollout: all there is to know about it, as data. What follows from it is the machine's business.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec

from golive.rollout import events as ev
from golive.rollout.hooks import HookCall
from golive.rollout.plan import Plan
from golive.rollout.ports import Split, percent


class Phase(enum.StrEnum):
    """Where a rollout is. The docstring of the module draws how they follow each other."""

    DEPLOYING = "deploying"
    SHIFTING = "shifting"
    SOAKING = "soaking"
    WAITING = "waiting"
    WATCHING = "watching"
    PROMOTING = "promoting"
    RETIRING = "retiring"
    LIVE = "live"
    ROLLING_BACK = "rolling_back"
    DRAINING = "draining"
    ROLLED_BACK = "rolled_back"


FINAL = frozenset({Phase.LIVE, Phase.ROLLED_BACK})
#: All traffic is, or soon will be, on stable; a second reason to go back changes nothing.
GOING_BACK = frozenset({Phase.ROLLING_BACK, Phase.DRAINING})
#: The candidate may have users, who are watched over.
EXPOSED = frozenset({Phase.SHIFTING, Phase.SOAKING, Phase.WAITING, Phase.WATCHING})


class WaitingFor(enum.StrEnum):
    """Why a human is needed."""

    APPROVAL = "approval"
    """The next stage names a group that must agree."""
    DECISION = "decision"
    """The stage reached its ceiling and the evidence does not say enough."""
    HOOK = "hook"
    """A hook failed, or nobody knows how it ended."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """
    All there is to know about one rollout.

    Attributes:
        stage: index into the plan's stages; -1 before the first traffic.
        weight: the candidate's wanted share in basis points.
        entered_at: when the traffic of this stage was confirmed, or the phase was entered.
        verdict: the last one of this stage.
        agreed: who approved the next stage so far; *asked_at*: since when approval is asked for.
        overridden: why the freeze windows do not hold for this rollout.
        frozen_until: the end of the freeze that keeps the next stage waiting.
        approved_stage: the highest stage a group agreed to enter.
        settled_stage: the highest stage a human let pass without enough evidence.
        failed_probes: bad probes of the candidate in a row; *flaps*: when it last went from good to bad, the newest
            FLAPS_MAX of them.
        lowered: golive itself took the candidate's traffic away while it is started again; less than wanted is
            otherwise somebody's decision.
        no_go: a gate refused the candidate before it had traffic.
        hook: the call that runs, or is asked about while waiting; *hooks_over*: those that need not run any more.
        removed: the version that was to go is gone; the rollout is over when its last hook is.
        reason: why it is in this phase, one sentence.
        ended_by: "golive" or the person, for a rollback; *superseded_by*: the version it made room for, if any.
    """

    id: str
    service: str
    stable: str
    candidate: str
    plan: Plan
    actor: str
    judging: dict[str, Any] = {}
    phase: Phase
    started_at: datetime
    entered_at: datetime
    stage: int = -1
    weight: int = 0
    verdict: ev.Verdict | None = None
    waiting_for: WaitingFor | None = None
    paused_by: str | None = None
    agreed: tuple[str, ...] = ()
    asked_at: datetime | None = None
    overridden: str = ""
    frozen_until: datetime | None = None
    approved_stage: int = -1
    settled_stage: int = -1
    stable_healthy: bool = True
    candidate_alive: bool = True
    failed_probes: int = 0
    flaps: tuple[datetime, ...] = ()
    lowered: bool = False
    no_go: bool = False
    hook: HookCall | None = None
    hooks_over: tuple[HookCall, ...] = ()
    removed: bool = False
    reason: str = ""
    ended_by: str | None = None
    superseded_by: str = ""
    ended_at: datetime | None = None

    @property
    def final(self) -> bool:
        """Whether nothing will ever change again."""
        return self.phase in FINAL

    def share(self, stage: int) -> str:
        """The weight of *stage* for a sentence: ``25 %``."""
        return f"{percent(self.plan.stages[stage].weight)} %"

    @property
    def split(self) -> Split:
        """The traffic this state wants."""
        if self.phase in (Phase.PROMOTING, Phase.RETIRING, Phase.LIVE):
            return Split(self.candidate)
        if self.phase in (Phase.ROLLING_BACK, Phase.DRAINING, Phase.ROLLED_BACK):
            return Split(self.stable)
        return Split(self.stable, self.candidate, self.weight)

    @property
    def running(self) -> tuple[str, ...]:
        """The versions that have or may get traffic in this state, and so must be kept running."""
        if self.phase in (Phase.PROMOTING, Phase.RETIRING, Phase.LIVE):
            return (self.candidate,)
        if self.phase in EXPOSED:
            return (self.stable, self.candidate)
        return (self.stable,)
