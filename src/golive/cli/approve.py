"""``golive approve``."""

from __future__ import annotations

from pathlib import Path

import click

from golive.cli.inbox import ask, config_option, environment_option, project_for
from golive.errors import ExitCode


@click.command(short_help="Let a waiting rollout go on.")
@click.argument("comment", nargs=-1)
@config_option
@environment_option
def command(comment: tuple[str, ...], config_path: Path | None, environment: str | None) -> int:
    """Let a waiting rollout go on. COMMENT goes into the journal."""
    project = project_for(config_path, environment)
    click.echo(ask(project, "approve", {"comment": " ".join(comment)}))
    return ExitCode.OK
