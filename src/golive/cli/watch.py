"""``golive watch``: follow a rollout live."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from golive.cli.follow import closing_line, follow, summary
from golive.cli.inbox import config_option, environment_option, settings_for
from golive.cli.terminal import can_draw, make_console
from golive.config import Settings
from golive.errors import ExitCode, UsageError
from golive.rollout.journal import Journal
from golive.timing import parse_duration
from golive.wiring import open_journal


@click.command(short_help="Follow a rollout live.")
@click.argument("rollout", required=False, metavar="[ID]")
@config_option
@environment_option
@click.option("--timeout", help='Stop watching after this long, such as "2h" (exit 5).')
@click.option("-o", "--output", type=click.Choice(["text", "json", "ndjson"]),
              help="Plain lines instead of the live view, the end as JSON, or every event as JSON.")  # fmt: skip
def command(
    rollout: str | None, config_path: Path | None, environment: str | None, timeout: str | None, output: str | None
) -> int:
    """
    Follow a rollout live: the one with this ID, or the one in progress, or the latest.

    Ends with 0 when it is live, 3 when a gate refused it, 4 when it was taken back, 7 when it waits for somebody and
    nobody sits at a terminal. Leaving by q or Control-C (130) ends only the view; the rollout goes on.
    """
    deadline = time.monotonic() + _seconds(timeout) if timeout else None
    settings = settings_for(config_path, environment)
    journal = open_journal(settings)
    identifier = rollout or ""
    try:
        identifier = rollout or latest(journal, settings)
        code = _watch(journal, identifier, settings, output, deadline)
        state = journal.rollout(identifier)
    except KeyboardInterrupt:
        click.echo(f"\nthe rollout goes on: golive watch {identifier}", err=True)
        raise
    finally:
        journal.close()
    if output == "json":
        click.echo(json.dumps(summary(state)))
    elif output != "ndjson":
        click.echo(closing_line(state, datetime.now(UTC)))
    return code


def _watch(journal: Journal, rollout: str, settings: Settings, output: str | None, deadline: float | None) -> ExitCode:
    console = make_console()
    if output is None and can_draw(console):
        from golive.cli.live import follow_live  # needs a terminal's modules, which not every system has

        return follow_live(journal, rollout, settings, through_watch=True, deadline=deadline, console=console)
    return follow(journal, rollout, output or "text", deadline=deadline)


def latest(journal: Journal, settings: Settings) -> str:
    """
    The rollout in progress, or the last one.

    Raises: UsageError when the service never had one.
    """
    states = journal.rollouts(settings.service, limit=1)
    if not states:
        raise UsageError(f"{settings.service}: expected a rollout to look at, there was none yet. Start one with "
                         "`golive ship VERSION`.")  # fmt: skip
    return states[0].id


def _seconds(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from None
