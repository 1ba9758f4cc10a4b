"""
Every verdict of a rollout once more, from its journal alone: the same judge, fed with the same evidence.

The ``taught`` event holds the judge as it was when the candidate got its first traffic, every verdict the snapshot it
judged. A controller that took over went on with the stored judge, so its entries need nothing special; one that found
no stored judge taught a new one, and says so with another ``taught`` event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from golive.rollout import events as ev
from golive.rollout.journal import Entry
from golive.rollout.machine import State, begin
from golive.rollout.session import JudgeMaker, Session, Snapshot

_COMPARED = ("action", "confidence", "needs_human", "reason")


@dataclass(frozen=True)
class Recomputed:
    """
    One verdict as it was recorded and as it comes out now.

    Attributes:
        differences: what differs, one line each; empty when it is the same.
    """

    entry: Entry
    recorded: ev.Verdict
    now: ev.Verdict
    differences: tuple[str, ...]


def recompute(entries: Iterable[Entry], maker: JudgeMaker) -> Iterator[Recomputed]:
    """
    The verdicts of *entries* (one rollout, from its start) that rest on evidence, in order.

    Verdicts without evidence ("the gateway did not answer") taught the judge nothing and are left out.
    Raises: ConfigError when the judge of the journal is of a version this golive cannot run.
    """
    state: State | None = None
    session: Session | None = None
    for entry in entries:
        event = entry.event
        if isinstance(event, ev.Started):
            state, _ = begin(event)
        elif isinstance(event, ev.Taught) and state is not None:
            session = _session(event, state, maker)
        elif isinstance(event, ev.Verdict) and event.evidence is not None and session is not None:
            now = session.judged(msgspec.convert(event.evidence, Snapshot), event.at)
            yield Recomputed(entry, event, now, tuple(_differences(event, now)))


def _session(event: ev.Taught, state: State, maker: JudgeMaker) -> Session:
    return Session.restore(event.session, state, maker, (), ())  # snapshots come whole from the journal


def _differences(recorded: ev.Verdict, now: ev.Verdict) -> Iterator[str]:
    for name in _COMPARED:
        before, after = getattr(recorded, name), getattr(now, name)
        if before != after:
            yield f"{name}: recorded {before}, recomputed {after}"
    rows = {row.name: row for row in recorded.rows}
    for row in now.rows:
        before = rows.pop(row.name, None)
        if before != row:
            yield f"row {row.name}: recorded {before.sentence if before else 'nothing'}, recomputed {row.sentence}"
    for name in rows:
        yield f"row {name}: recorded, and not there when recomputed"
