"""The lines of a rollout call what it moves by its name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from golive.cli.narrate import Narrator
from golive.rollout import events as ev
from golive.rollout.journal import Entry
from golive.rollout.plan import preset

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


def entry(event: ev.AnyEvent, phase: str, reason: str = "the same {reason}") -> Entry:
    """One of the journal."""
    return Entry(1, "web-1", AT, event, phase, 0, 0, reason, "")


@pytest.mark.parametrize(
    ("judging", "left", "waiting"),
    [
        ({}, "3 requests were cut off", "the candidate's last requests"),
        ({"moves": "requests"}, "3 requests were cut off", "the candidate's last requests"),
        ({"moves": "jobs"}, "3 jobs are left to other workers", "the candidate's last jobs"),
        ({"moves": "both"}, "3 requests and jobs were cut off or left to other workers",
         "the candidate's last requests and jobs"),
        (None, "3 requests or jobs were cut off", "the candidate's last requests or jobs"),
    ],
)  # fmt: skip
def test_what_a_version_leaves_behind_is_named(judging: dict[str, str] | None, left: str, waiting: str) -> None:
    """Requests are cut off, jobs go to other workers; who did not read the start of a rollout does not guess."""
    narrator = Narrator()
    if judging is not None:
        started = ev.Started(
            at=AT, id="web-1", service="web", stable="v1", candidate="v2", plan=preset("demo"), judging=judging
        )
        narrator.line(entry(started, "deploying"))
    narrator.line(entry(ev.Aborted(at=AT, actor="ada"), "rolling_back"))
    confirmed = narrator.line(entry(ev.Ticked(at=AT), "draining"))
    assert confirmed is not None
    assert confirmed.endswith(waiting)
    removed = narrator.line(entry(ev.Removed(at=AT, version="v2", leftovers=3), "draining"))
    assert removed is not None
    assert removed.endswith(f"v2 drained and stopped, {left}")
