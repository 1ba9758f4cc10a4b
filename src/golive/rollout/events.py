"""
What can happen to a rollout. Time, people, traffic and verdicts arrive as these; nothing else moves the machine.

Events are data with a tag, so that a journal written by one release is replayed by the next. Fields are only ever
added, with a default.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from golive.rollout.hooks import HookCall, HookOutcome
from golive.rollout.plan import Plan
from golive.rollout.ports import Split


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Attributes: at: when it happened, aware, UTC."""

    at: datetime


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """
    Somebody asked for *candidate* to replace *stable*.

    Attributes:
        judging: the SLO table and the judge's options as they were then, so that every verdict can be recomputed.
        override: why the freeze does not hold for this rollout; empty when it does.
        config_sha256: of the golive.toml it was shipped with; empty without a file.
    """

    id: str
    service: str
    stable: str
    candidate: str
    plan: Plan
    actor: str = "unknown"
    note: str = ""
    judging: dict[str, Any] = {}
    override: str = ""
    config_sha256: str = ""


class ControllerStarted(Event, frozen=True, kw_only=True, tag="controller_started"):
    """
    A controller took the rollout over, at its beginning or after a crash.

    Attributes:
        lowered: it found the candidate down, and gives it no traffic before it has been started again.
    """

    holder: str
    lowered: bool = False


class Deployed(Event, frozen=True, kw_only=True, tag="deployed"):
    """*version* runs, says it is ready, and the gateway knows it."""

    version: str


class DeployFailed(Event, frozen=True, kw_only=True, tag="deploy_failed"):
    """
    *version* could not be started, did not become ready in time, or did not pass the gates.

    Attributes:
        no_go: a gate said so; the version itself runs.
    """

    version: str
    reason: str
    no_go: bool = False


class TrafficConfirmed(Event, frozen=True, kw_only=True, tag="traffic_confirmed"):
    """The gateway was read and has this split in force."""

    split: Split


class TrafficUnconfirmed(Event, frozen=True, kw_only=True, tag="traffic_unconfirmed"):
    """The gateway was told and could not be read back. It is told again until it confirms."""

    reason: str


class Drifted(Event, frozen=True, kw_only=True, tag="drifted"):
    """The gateway has a split nobody here asked for; None when it knows none of our versions."""

    split: Split | None


class RowVerdict(msgspec.Struct, frozen=True):
    """One row of the SLO table as it was judged: PASS, FAIL or INCONCLUSIVE, and the sentence for people."""

    name: str
    verdict: str
    sentence: str


class Taught(Event, frozen=True, kw_only=True, tag="taught"):
    """
    A judge was made and has seen what stable did before.

    Attributes:
        session: its state then. With it and the evidence of the verdicts that follow, every verdict can be recomputed.
    """

    session: dict[str, Any]


class Verdict(Event, frozen=True, kw_only=True, tag="verdict"):
    """
    The judge looked at the evidence of *stage*.

    Attributes:
        action: what the evidence asks for.
        confidence: 0..100 that the candidate is not worse than the margin.
        needs_human: waiting longer at this weight will probably not settle it.
        evidence: the snapshot that was judged, so that the verdict can be recomputed.
    """

    stage: int
    action: Literal["promote", "hold", "rollback"]
    confidence: float
    reason: str
    rows: tuple[RowVerdict, ...] = ()
    needs_human: bool = False
    evidence: dict[str, object] | None = None


class Probed(Event, frozen=True, kw_only=True, tag="probed"):
    """
    A version was asked how it is, and the answer changed or is bad.

    Attributes:
        dead: its process is gone; no more answers are to be waited for.
    """

    version: str
    healthy: bool
    dead: bool = False
    reason: str = ""


class Removed(Event, frozen=True, kw_only=True, tag="removed"):
    """*version* was drained, forgotten by the gateway and stopped; *leftovers* requests were cut off."""

    version: str
    leftovers: int = 0


class HookEnded(Event, frozen=True, kw_only=True, tag="hook_ended"):
    """
    A hook that was called ended, or can no longer be known to.

    Attributes:
        said: "exited with 1 after 3s"; *output*: the end of what it printed.
    """

    call: HookCall
    outcome: HookOutcome
    said: str
    output: str = ""


class Retried(Event, frozen=True, kw_only=True, tag="retried"):
    """Somebody wants the hook that is asked about to run once more."""

    actor: str
    comment: str = ""


class Ticked(Event, frozen=True, kw_only=True, tag="ticked"):
    """Time passed."""


class Approved(Event, frozen=True, kw_only=True, tag="approved"):
    """Somebody entitled to it let the rollout go on."""

    actor: str
    comment: str = ""


class Rejected(Event, frozen=True, kw_only=True, tag="rejected"):
    """Somebody entitled to it refused; the traffic goes back."""

    actor: str
    comment: str = ""


class Paused(Event, frozen=True, kw_only=True, tag="paused"):
    """Hold the traffic where it is. Rollback stays possible."""

    actor: str
    comment: str = ""


class Resumed(Event, frozen=True, kw_only=True, tag="resumed"):
    """End a pause."""

    actor: str


class Aborted(Event, frozen=True, kw_only=True, tag="aborted"):
    """
    Take all traffic back now. Wins from every state.

    Attributes:
        superseded_by: the newer version that it makes room for; nothing was said against it then.
    """

    actor: str
    reason: str = ""
    superseded_by: str = ""


class WatchEnded(Event, frozen=True, kw_only=True, tag="watch_ended"):
    """The watch after 100 % is over before its time: somebody ended it, or the next version is waiting."""

    actor: str


AnyEvent = (
    Started
    | ControllerStarted
    | Deployed
    | DeployFailed
    | TrafficConfirmed
    | TrafficUnconfirmed
    | Drifted
    | Taught
    | Verdict
    | Probed
    | Removed
    | HookEnded
    | Retried
    | Ticked
    | Approved
    | Rejected
    | Paused
    | Resumed
    | Aborted
    | WatchEnded
)
