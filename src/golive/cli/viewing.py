"""
Following one rollout to where a shell is told how it went: shared by the verbs that ship and those that watch.

Which view it is depends on where the output goes: the live view on a terminal, one line or one JSON object per event
elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime

import click

from golive.cli.follow import closing_line, follow, summary
from golive.cli.terminal import can_draw, make_console
from golive.errors import ExitCode
from golive.project import Place
from golive.rollout.journal import Journal
from golive.timing import parse_duration


def deadline_of(timeout: str | None) -> float | None:
    """``--timeout`` as an instant of :func:`time.monotonic`; click.BadParameter when it is no duration."""
    if timeout is None:
        return None
    try:
        return time.monotonic() + parse_duration(timeout).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from None


def view(
    journal: Journal,
    rollout: str,
    place: Place,
    output: str | None,
    *,
    deadline: float | None,
    through_watch: bool = False,
    stop_when_waiting: bool = True,
) -> ExitCode:
    """
    Show *rollout* until it is live, taken back, or waits for somebody, then its last line.

    Args:
        output: None takes the live view where there is a terminal, else text; "json" tells the end only.
        through_watch: on a terminal, go on while the old version is kept warm.
        stop_when_waiting: elsewhere, end when somebody has to approve.

    Raises: TimeoutExceededError at *deadline*; KeyboardInterrupt after saying that the rollout goes on.
    """
    try:
        code = _follow(journal, rollout, place, output, deadline, through_watch, stop_when_waiting)
        state = journal.rollout(rollout)
    except KeyboardInterrupt:
        click.echo(f"\nthe rollout goes on: golive watch {rollout}", err=True)
        raise
    if output == "json":
        click.echo(json.dumps(summary(state)))
    elif output != "ndjson":
        click.echo(closing_line(state, datetime.now(UTC)))
    return code


def _follow(
    journal: Journal, rollout: str, place: Place, output: str | None, deadline: float | None,
    through_watch: bool, stop_when_waiting: bool,
) -> ExitCode:  # fmt: skip
    if output is None and sys.stdout.isatty() and can_draw(console := make_console()):
        from golive.cli.live import follow_live  # needs a terminal's modules, which not every system has

        return follow_live(journal, rollout, place, through_watch=through_watch, deadline=deadline, console=console)
    return follow(journal, rollout, output or "text", deadline=deadline, stop_when_waiting=stop_when_waiting)
