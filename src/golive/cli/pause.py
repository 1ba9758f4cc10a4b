"""``golive pause``."""

from __future__ import annotations

from pathlib import Path

import click

from golive.cli.inbox import ask, config_option, environment_option, project_for
from golive.errors import ExitCode


@click.command(short_help="Hold the traffic where it is. A rollback stays possible.")
@click.argument("comment", nargs=-1)
@config_option
@environment_option
def command(comment: tuple[str, ...], config_path: Path | None, environment: str | None) -> int:
    """Hold the traffic where it is. A rollback stays possible. COMMENT goes into the journal."""
    project = project_for(config_path, environment)
    click.echo(ask(project, "pause", {"comment": " ".join(comment)}))
    return ExitCode.OK
