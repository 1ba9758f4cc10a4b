"""``golive watch``: follow a rollout live."""

from __future__ import annotations

from pathlib import Path

import click

from golive.cli.inbox import config_option, environment_option, project_for
from golive.cli.viewing import deadline_of, view
from golive.errors import UsageError
from golive.project import Place, open_journal
from golive.rollout.journal import Journal


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
    deadline = deadline_of(timeout)
    project = project_for(config_path, environment)
    journal = open_journal(project)
    try:
        identifier = rollout or latest(journal, project)
        return view(journal, identifier, project, output, deadline=deadline, through_watch=True)
    finally:
        journal.close()


def latest(journal: Journal, place: Place) -> str:
    """
    The rollout in progress, or the last one.

    Raises: UsageError when the service never had one.
    """
    states = journal.rollouts(place.service, limit=1)
    if not states:
        raise UsageError(f"{place.service}: expected a rollout to look at, there was none yet. Start one with "
                         "`golive ship VERSION`.")  # fmt: skip
    return states[0].id
