"""
A rollout in words: one line per journal entry, the same in the terminal, in a log and in CI.

Verdicts that only repeat that it is too early are told once a minute; everything that changes something is told.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from golive.rollout import events as ev
from golive.rollout.hooks import HookOutcome
from golive.rollout.journal import Entry
from golive.rollout.machine import State
from golive.rollout.ports import WEIGHT_MAX, percent
from golive.timing import format_duration

QUIET_FOR = timedelta(seconds=60)

WORDS = {
    "deploying": "DEPLOYING",
    "shifting": "SHIFTING",
    "soaking": "SOAKING",
    "waiting": "WAITING",
    "watching": "LIVE, WATCHED",
    "promoting": "PROMOTING",
    "retiring": "RETIRING",
    "live": "LIVE",
    "rolling_back": "ROLLING BACK",
    "draining": "DRAINING",
    "rolled_back": "ROLLED BACK",
}


_MEANWHILE = {
    "draining": "all traffic on stable; waiting for the candidate's last {}",
    "promoting": "making it the stable version",
    "retiring": "waiting for the old version's last {}",
}
_MOVED = {"requests": "requests", "jobs": "jobs", "both": "requests and jobs", "": "requests or jobs"}
"""What a rollout moves, in words; nothing is known of one whose start was not read."""
_LEFT = {"jobs": "are left to other workers", "both": "were cut off or left to other workers"}
"""What becomes of what a version leaves behind: a request is cut off, a job is run again."""


def first_line(text: str) -> str:
    """The first line of *text*; what a dying process said may be many."""
    return text.partition("\n")[0]


class Narrator:
    """Turns the entries of one rollout into lines, leaving out what was just said."""

    def __init__(self) -> None:
        self._phase = ""
        self._reason = ""
        self._verdict_at: datetime | None = None
        self._verdict = ""
        self._moves = ""

    def line(self, entry: Entry) -> str | None:
        """The line for *entry*; None when it says nothing new."""
        text = self._text(entry)
        if text is None:
            return None
        at = entry.at.astimezone().strftime("%H:%M:%S")
        return f"{at}  {percent(entry.weight):>5} %  {WORDS[entry.phase]:<13}  {text}"

    def _text(self, entry: Entry) -> str | None:
        event, changed = entry.event, entry.phase != self._phase
        self._phase = entry.phase
        if isinstance(event, ev.Verdict):
            return self._verdict_text(event, entry, changed)
        if isinstance(event, ev.Taught):
            return None
        if isinstance(event, ev.Started):
            self._moves = str(event.judging.get("moves", "requests"))
            stages = " ".join(percent(stage.weight) for stage in event.plan.stages)
            return f"{event.id}: {event.stable} -> {event.candidate} by {event.actor}, stages {stages}"
        if isinstance(event, ev.ControllerStarted):
            return f"{event.holder} took over: {entry.reason}"
        if isinstance(event, ev.TrafficUnconfirmed):
            return f"the gateway did not confirm, trying again: {event.reason}"
        if isinstance(event, ev.Removed):
            what = f"{_MOVED[self._moves]} {_LEFT.get(self._moves, 'were cut off')}"
            left = f", {event.leftovers} {what}" if event.leftovers else ""
            return f"{event.version} drained and stopped{left}"
        if isinstance(event, ev.HookEnded) and (not changed or event.outcome is HookOutcome.OK):
            return f"hook {event.call.name} {event.said}"
        if isinstance(event, ev.Probed) and not changed:
            return f"{event.version} is {'well again' if event.healthy else 'unwell: ' + event.reason}"
        return self._said_once(entry)

    def _said_once(self, entry: Entry) -> str:
        """The reason, or what is done about it when the reason was just told."""
        told, self._reason = self._reason, entry.reason
        if told != entry.reason:
            return entry.reason
        if entry.phase in _MEANWHILE:
            return _MEANWHILE[entry.phase].format(_MOVED[self._moves])
        return first_line(entry.reason)

    def _verdict_text(self, event: ev.Verdict, entry: Entry, changed: bool) -> str | None:
        recent = self._verdict_at is not None and entry.at - self._verdict_at < QUIET_FOR
        if not changed and recent and event.action == self._verdict:
            return None
        self._verdict_at, self._verdict = entry.at, event.action
        if changed and event.action != "promote":
            return self._said_once(entry)
        return f"{event.action}, confidence {event.confidence:.0f}: {event.reason}"


def headline(state: State, now: datetime) -> str:
    """One line on where a rollout is: who, what, how far, since when."""
    age = timedelta(seconds=round(((state.ended_at or now) - state.started_at).total_seconds()))
    word = WORDS[state.phase.value] + (f", PAUSED by {state.paused_by}" if state.paused_by else "")
    return f"{state.id}  {state.stable} -> {state.candidate}  {word}  {percent(state.weight)} %  {format_duration(age)}"


def traffic(state: State) -> str:
    """``v41 95 %, v42 5 %``: where the traffic is wanted now."""
    split = state.split
    if split.candidate is None:
        return f"{split.stable} 100 %"
    return f"{split.stable} {percent(WEIGHT_MAX - split.weight)} %, {split.candidate} {percent(split.weight)} %"
