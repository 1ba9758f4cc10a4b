"""``golive verify``: is the journal whole and unaltered, and does it lead to the state that is stored?"""

from __future__ import annotations

from pathlib import Path

import click

from golive.cli.inbox import config_option, environment_option, settings_for
from golive.errors import ExitCode
from golive.rollout.machine import replay
from golive.wiring import open_journal


@click.command(short_help="Check that a journal is whole and unaltered.")
@click.argument("rollout", required=False)
@config_option
@environment_option
def command(rollout: str | None, config_path: Path | None, environment: str | None) -> int:
    """Check the chain of hashes of ROLLOUT (default: all), and that its events lead to the stored state. Exit 3 if
    not."""
    settings = settings_for(config_path, environment)
    journal = open_journal(settings)
    try:
        names = [rollout] if rollout else [state.id for state in journal.rollouts(settings.service, limit=1000)]
        faults = 0
        for name in names:
            state = journal.rollout(name)
            entries = list(journal.entries(name))
            found = journal.verify(name)
            if not found and replay([entry.event for entry in entries]) != state:
                found = ["the events do not lead to the stored state"]
            faults += len(found)
            click.echo(f"{name}: {len(entries)} entries, " + ("; ".join(found) or "whole"))
    finally:
        journal.close()
    if not names:
        click.echo(f"{settings.service}: no rollouts yet")
    return ExitCode.NO_GO if faults else ExitCode.OK
