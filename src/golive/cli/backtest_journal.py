"""
A recorded rollout as a recording: the values of every row, look by look, over the row's window. What the judge makes of
it is the business of ``golive replay``, which has all of the evidence and not only its rates.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from golive.cli.evidence_view import CANARY, STABLE, Delta, Ledger, Tally, measured
from golive.cli.recording import Recording
from golive.rollout.journal import Journal
from golive.slo.firing import Point
from golive.slo.row import Row

ROLLOUT = "rollout "
"""Before its ID, among the sources of a recording."""


def read_rollout(journal: Journal, identifier: str, rows: Mapping[str, Row], into: Recording) -> None:
    """
    Add what *journal* has of the rollout *identifier* to *into*.

    Raises: StateError when there is none of that name.
    """
    state = journal.rollout(identifier)
    ledger, deltas = Ledger(), []
    for entry in journal.entries(identifier):
        delta = ledger.add(entry.event)
        if delta is not None:
            deltas.append(delta)
    for arm, version in ((STABLE, state.stable), (CANARY, state.candidate)):
        for row in rows.values():
            points = _values(row, deltas, arm, ledger)
            if any(value is not None for _, value in points):
                into.add(row.name, version, points, identifier)
    into.sources.append(f"{ROLLOUT}{identifier}")


def _values(row: Row, deltas: list[Delta], arm: int, ledger: Ledger) -> list[Point]:
    """The row's indicator at each look, over its look-back; dead letters are counted, not averaged, and so add up."""
    window, held = row.window.total_seconds(), deque[Delta]()
    found: list[Point] = []
    for delta in deltas:
        held.append(delta)
        while held[0].at.timestamp() < delta.at.timestamp() - window:
            held.popleft()
        tally = Tally()
        for each in held:
            tally += each.arms[arm]
        found.append((delta.at.timestamp(), measured(row, tally, ledger)))
    return found
