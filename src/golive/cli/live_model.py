"""
What the live view knows of a rollout, built from its journal entries alone: it needs no connection to the controller.

Keeps a bounded tail of the journal, so that watching a rollout of days costs no more than watching one of minutes.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from golive.cli.evidence_view import Delta, Ledger
from golive.cli.narrate import Narrator
from golive.rollout import events as ev
from golive.rollout.journal import Entry

LINES_MAX = 50
"""Lines of the journal kept for the view; a tall terminal shows about thirty."""
SPARK_FOR = timedelta(seconds=60)


class LiveModel:
    """
    Feed it every entry in order.

    Attributes:
        lines: the latest lines of the narrator.
        verdict: the latest verdict, None before the first.
        ledger: totals per version since the candidate first had traffic.
        failed_stage: the stage the rollout was taken back from, None while it was not.
    """

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.verdict: ev.Verdict | None = None
        self.ledger = Ledger()
        self.failed_stage: int | None = None
        self._narrator = Narrator()
        self._recent: deque[Delta] = deque()

    def add(self, entry: Entry) -> None:
        """Take one more entry."""
        line = self._narrator.line(entry)
        if line is not None:
            self.lines.append(line)
        if isinstance(entry.event, ev.Verdict):
            self.verdict = entry.event
        if entry.phase == "rolling_back" and self.failed_stage is None:
            self.failed_stage = entry.stage
        delta = self.ledger.add(entry.event)
        if delta is not None:
            self._recent.append(delta)
            while self._recent[0].at < delta.at - SPARK_FOR:
                self._recent.popleft()

    def recent(self, now: datetime) -> list[Delta]:
        """What happened within the last minute before *now*, oldest first."""
        return [delta for delta in self._recent if delta.at >= now - SPARK_FOR]
