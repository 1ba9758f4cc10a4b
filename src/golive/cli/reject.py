"""``golive reject``."""

from __future__ import annotations

from pathlib import Path

import click

from golive.cli.inbox import ask, config_option, environment_option, project_for
from golive.errors import ExitCode


@click.command(short_help="Refuse a waiting rollout; its traffic goes back.")
@click.argument("comment", nargs=-1)
@config_option
@environment_option
def command(comment: tuple[str, ...], config_path: Path | None, environment: str | None) -> int:
    """Refuse a waiting rollout; its traffic goes back. COMMENT goes into the journal."""
    project = project_for(config_path, environment)
    click.echo(ask(project, "reject", {"comment": " ".join(comment)}))
    return ExitCode.OK
