"""
A recorded rollout under other settings: the evidence of its journal before another judge, and where that ends.

What can be known is bounded by what was recorded. Evidence belongs to the traffic it was gathered at, so the two
stories part where their traffic would: a replay that takes the candidate back has no evidence afterwards, one that is
slower than the recording has nothing more of its stage to look at. Where it is faster, the recording goes on at the
lower weight until it moves on too; that is told as well. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from golive.rollout import events as ev
from golive.rollout.journal import Entry
from golive.rollout.machine import State, begin
from golive.rollout.plan import Plan
from golive.rollout.ports import percent
from golive.rollout.session import JudgeMaker, Judging, Session, Snapshot
from golive.timing import parse_instant

_LEARNED = ("history", "reader", "stage")
"""What a judge of golive's has of stable's past before it begins; it holds for every table and every option."""


@dataclass(frozen=True)
class Look:
    """One look at the same evidence by both judges."""

    at: datetime
    stage: int
    weight: int
    stage_age: float
    recorded: ev.Verdict
    now: ev.Verdict


@dataclass
class Step:
    """
    One stage in both stories.

    Attributes:
        recorded, replayed: how the stage ended, "promote", "rollback" or "" when it did not.
        recorded_at, replayed_at: seconds after the stage had its traffic; None when it did not end.
        why: the replay's words at its end, or at the last look.
    """

    stage: int
    weight: int
    recorded: str = ""
    recorded_at: float | None = None
    replayed: str = ""
    replayed_at: float | None = None
    why: str = ""
    recorded_why: str = ""
    looks: int = 0


@dataclass
class Replayed:
    """
    Both stories.

    Attributes:
        steps: one per stage that could be compared.
        last: the last look that was compared; its rows are shown side by side.
        end: what became of the replay: "rollback", "live" or "unknown".
        unknown: what cannot be known, and why; empty when the stories are the same length.
        notes: where the replay rests on something that was not quite so.
    """

    state: State
    steps: list[Step] = field(default_factory=list)
    last: Look | None = None
    end: str = "unknown"
    unknown: str = ""
    notes: list[str] = field(default_factory=list)


def rejudge(entries: Sequence[Entry], plan: Plan, judging: dict[str, Any], maker: JudgeMaker) -> Replayed:
    """
    Replay *entries*, one rollout from its start, under *plan* and *judging*.

    Raises: ValueError when they do not begin with its start; ConfigError when the settings make no judge.
    """
    story, looks, notes = _looks(entries, plan, judging, maker)
    replayed = Replayed(story, notes=notes)
    if not looks:
        replayed.unknown = "the rollout was never judged, so there is no evidence to replay"
        return replayed
    moves = _moves(entries)
    for look in looks:
        if replayed.end == "rollback":
            break
        _take(replayed, look, plan, moves)
    _finish(replayed)
    return replayed


# ---- the other judge's verdicts


def _looks(
    entries: Sequence[Entry], plan: Plan, judging: dict[str, Any], maker: JudgeMaker
) -> tuple[State, list[Look], list[str]]:
    first = entries[0].event if entries else None
    if not isinstance(first, ev.Started):
        raise ValueError("a rollout's history begins with its start")
    recorded, _ = begin(first)
    state = replace(recorded, plan=plan, judging=judging)
    stages = {stage.weight: number for number, stage in enumerate(plan.stages)}
    notes: list[str] = []
    session: Session | None = None
    looks: list[Look] = []
    for entry in entries:
        event = entry.event
        if isinstance(event, ev.Taught):
            judge, note = _taught(event.session.get("judge", {}), state, maker)
            session = Session(judge, parse_instant(event.session["began_at"]), (), ())
            notes += [note] if note and note not in notes else []
        elif isinstance(event, ev.Verdict) and event.evidence is not None and session is not None:
            snapshot = msgspec.convert(event.evidence, Snapshot)
            weight = round(snapshot.weight * 10_000)
            if weight not in stages:
                known = ", ".join(percent(each) for each in stages)
                notes.append(f"{percent(weight)} % was recorded and is no stage of this plan ({known} %)")
                break
            now = session.judged(msgspec.structs.replace(snapshot, stage=stages[weight]), event.at)
            looks.append(Look(event.at, stages[weight], weight, snapshot.stage_age, event, now))
    return recorded, looks, notes


def _taught(old: dict[str, Any], state: State, maker: JudgeMaker) -> tuple[Judging, str]:
    """A judge of the new settings that knows what the recorded one had learned of stable before the start."""
    new = maker(state, None)
    fresh = new.to_dict()
    shape = ("histogram_bounds", "routes", "moves")
    alike = all(old.get("settings", {}).get(key) == fresh.get("settings", {}).get(key) for key in shape)
    if "semantics" in fresh:
        return new, ""
    if "history" in old and alike:
        return maker(state, {**fresh, **{key: old[key] for key in _LEARNED}}), ""
    why = "it was recorded by other rules" if "semantics" in old else "its routes or buckets are others"
    return new, f"what stable was like before the start is not in the recording for this judge: {why}"


# ---- the two stories


def _moves(entries: Iterable[Entry]) -> dict[int, tuple[str, datetime, str]]:
    """By weight: how the recorded stage ended, when, and why."""
    found: dict[int, tuple[str, datetime, str]] = {}
    weight, soaking = 0, False
    for entry in entries:
        if soaking and entry.phase in ("rolling_back", "draining") and weight:
            found.setdefault(weight, ("rollback", entry.at, entry.reason))
        elif soaking and weight and (entry.weight > weight or entry.phase in ("watching", "promoting")):
            found.setdefault(weight, ("promote", entry.at, entry.reason))
        if entry.phase in ("soaking", "waiting") and entry.stage >= 0:
            weight, soaking = entry.weight, True
    return found


def _take(replayed: Replayed, look: Look, plan: Plan, moves: dict[int, tuple[str, datetime, str]]) -> None:
    if not replayed.steps or replayed.steps[-1].weight != look.weight:
        _leave(replayed)
        if replayed.unknown:
            return
        replayed.steps.append(Step(look.stage, look.weight))
    step = replayed.steps[-1]
    began = look.at - timedelta(seconds=look.stage_age)
    ended = moves.get(look.weight)
    if ended is not None and step.recorded_at is None:
        step.recorded, step.recorded_at, step.recorded_why = ended[0], (ended[1] - began).total_seconds(), ended[2]
    step.looks += 1
    replayed.last = look
    if step.replayed:
        return
    step.why = look.now.reason
    floor = plan.stages[look.stage].floor.total_seconds()
    if look.now.action == "rollback":
        step.replayed, step.replayed_at, replayed.end = "rollback", look.stage_age, "rollback"
    elif look.now.action == "promote" and look.stage_age >= floor:
        step.replayed, step.replayed_at = "promote", look.stage_age


def _leave(replayed: Replayed) -> None:
    """The recording went on to its next stage; a replay that had not wanted to has nothing left to look at."""
    if replayed.unknown or not replayed.steps:
        return
    step = replayed.steps[-1]
    if step.replayed != "promote":
        at = f"{step.recorded_at:.0f} s" if step.recorded_at is not None else "the end of the stage"
        replayed.unknown = (
            f"the recording left {percent(step.weight)} % after {at}, where the replay still held: what more time "
            "there would have shown was never recorded"
        )


def _finish(replayed: Replayed) -> None:
    if replayed.unknown or not replayed.steps:
        return
    step = replayed.steps[-1]
    if replayed.end == "rollback":
        if step.recorded != "rollback" or (step.recorded_at or 0.0) > (step.replayed_at or 0.0) + 1.0:
            replayed.unknown = "the replay takes the candidate back there; what came after is another story"
        return
    if step.replayed == "promote" and step.stage == len(replayed.state.plan.stages) - 1:
        replayed.end = "live"
    elif step.replayed == "promote":
        replayed.unknown = (
            f"the replay would have gone on from {percent(step.weight)} %; more traffic was never recorded"
        )
    elif step.recorded == "rollback":
        replayed.unknown = (
            f"the recording was taken back at {percent(step.weight)} %, where the replay still held: whether it would "
            "have, and when, was never recorded"
        )
    else:
        replayed.unknown = "the recording ends there, and the replay still held"
    _note_haste(replayed)


def _note_haste(replayed: Replayed) -> None:
    early = any(
        step.replayed == "promote" and (step.replayed_at or 0.0) < (step.recorded_at or 0.0) - 1.0
        for step in replayed.steps
    )
    if early and len(replayed.steps) > 1:
        replayed.notes.append(
            "where the replay was faster, the evidence is that of the lower weight the recording still had"
        )
