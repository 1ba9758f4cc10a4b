"""``golive resume``."""

from __future__ import annotations

from pathlib import Path

import click

from golive.cli.inbox import ask, config_option, environment_option, project_for
from golive.errors import ExitCode


@click.command(short_help="Let a paused rollout go on.")
@config_option
@environment_option
def command(config_path: Path | None, environment: str | None) -> int:
    """Let a paused rollout go on. Also puts the traffic back when somebody else had lowered it."""
    project = project_for(config_path, environment)
    click.echo(ask(project, "resume", {}))
    return ExitCode.OK
