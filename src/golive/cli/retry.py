"""``golive retry``."""

from __future__ import annotations

from pathlib import Path

import click

from golive.cli.inbox import ask, config_option, environment_option, project_for
from golive.errors import ExitCode


@click.command(short_help="Run a hook that failed once more.")
@click.argument("comment", nargs=-1)
@config_option
@environment_option
def command(comment: tuple[str, ...], config_path: Path | None, environment: str | None) -> int:
    """
    Run the hook the rollout asks about once more: it failed, or nobody knows how it ended.

    COMMENT goes into the journal. `golive approve` goes on as if the hook had succeeded, `golive abort` takes the
    traffic back.
    """
    project = project_for(config_path, environment)
    click.echo(ask(project, "retry", {"comment": " ".join(comment)}))
    return ExitCode.OK
