"""
The story of a rollout, told from its journal: what each stage saw, how long it took, and what decided.

Pure: entries in, plain values out. Both the text and the JSON of ``golive explain`` are renderings of :class:`Story`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from golive.cli.evidence_view import CANARY, STABLE, Delta, Ledger, Tally
from golive.rollout import events as ev
from golive.rollout.journal import Entry
from golive.rollout.machine import State, replay

_PEOPLE = (ev.Approved, ev.Rejected, ev.Paused, ev.Resumed, ev.Aborted, ev.WatchEnded)


@dataclass
class Chapter:
    """
    The time at one weight.

    Attributes:
        stage: index into the plan.
        weight: basis points.
        began_at: when the gateway confirmed the weight first.
        ended_at: when something else was wanted; None while it lasts.
        arms: what stable and candidate did meanwhile.
        verdict: the last one of the stage.
        ending: why it ended, one sentence; empty while it lasts.
        looks: how often the evidence was judged.
    """

    stage: int
    weight: int
    began_at: datetime
    ended_at: datetime | None = None
    arms: tuple[Tally, Tally] = (Tally(), Tally())
    verdict: ev.Verdict | None = None
    ending: str = ""
    looks: int = 0


@dataclass
class Story:
    """
    One rollout.

    Attributes:
        state: after the last entry told.
        note: what was said when it was started.
        chapters: one per stage that had traffic, in order.
        deltas: the evidence between any two looks.
        people: what people did, as the journal says it.
        controllers: who controlled it, in order of taking over.
    """

    state: State
    ledger: Ledger
    note: str = ""
    chapters: list[Chapter] = field(default_factory=list)
    deltas: list[Delta] = field(default_factory=list)
    people: list[Entry] = field(default_factory=list)
    controllers: list[str] = field(default_factory=list)


def tell(entries: Sequence[Entry]) -> Story:
    """
    The story of *entries*, which begin with the start of the rollout and may end anywhere.

    Raises: ValueError when they do not begin with it.
    """
    story = Story(replay([entry.event for entry in entries]), Ledger())
    for entry in entries:
        _take(story, entry)
    return story


def _take(story: Story, entry: Entry) -> None:
    event = entry.event
    if isinstance(event, ev.Started):
        story.note = event.note
    elif isinstance(event, ev.ControllerStarted):
        story.controllers.append(event.holder)
    elif isinstance(event, _PEOPLE):
        story.people.append(entry)
    chapter = story.chapters[-1] if story.chapters else None
    if chapter is not None and isinstance(event, ev.Verdict) and event.stage == chapter.stage:
        chapter.verdict = event
        chapter.looks += event.evidence is not None
    delta = story.ledger.add(event)
    if delta is not None and chapter is not None:
        story.deltas.append(delta)
        chapter.arms = (chapter.arms[STABLE] + delta.arms[STABLE], chapter.arms[CANARY] + delta.arms[CANARY])
    _turn_page(story, entry)


def _turn_page(story: Story, entry: Entry) -> None:
    """Begin a chapter when a stage has its traffic, end it when another weight is wanted."""
    chapter = story.chapters[-1] if story.chapters else None
    if chapter is not None and chapter.ended_at is None and entry.weight != chapter.weight:
        chapter.ended_at, chapter.ending = entry.at, _ending(entry, chapter)
    if chapter is not None and chapter.ended_at is None and entry.phase in ("watching", "promoting"):
        chapter.ending = chapter.ending or entry.reason
    begins = entry.phase == "soaking" and entry.stage >= 0
    if begins and (chapter is None or chapter.stage != entry.stage):
        story.chapters.append(Chapter(entry.stage, entry.weight, entry.at))
    if entry.phase in ("live", "rolled_back") and story.chapters and story.chapters[-1].ended_at is None:
        story.chapters[-1].ended_at = entry.at


def _ending(entry: Entry, chapter: Chapter) -> str:
    """What made the weight change: the judge's sentence, a person's, or the machine's own with the judge's last."""
    if isinstance(entry.event, ev.Verdict):
        return f"{entry.event.action}: {entry.event.reason}"
    if entry.phase == "shifting" and chapter.verdict is not None:
        return f"{entry.reason}; {chapter.verdict.action}: {chapter.verdict.reason}"
    return entry.reason
