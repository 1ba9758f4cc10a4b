"""``golive bundle``: everything about one rollout in one file, for whoever audits it."""

from __future__ import annotations

from pathlib import Path

import click

from golive.cli.inbox import config_option, environment_option, project_for
from golive.errors import ExitCode, RefusedError
from golive.project import Place, open_journal
from golive.wiring import dossier_path, write_dossier


@click.command(short_help="Put everything about a rollout into one file that can be checked offline.")
@click.argument("rollout", required=False)
@click.option("--to", "target", type=click.Path(path_type=Path, dir_okay=False), help="The zip to write.")
@config_option
@environment_option
def command(rollout: str | None, target: Path | None, config_path: Path | None, environment: str | None) -> int:
    """
    Write the evidence bundle of ROLLOUT (default: the latest): plan, journal, verdicts with their evidence, what people
    said, what hooks printed, and a manifest of hashes.

    `golive up` does it by itself when a rollout is over. Anybody can check the file with `golive verify FILE`. Keep the
    hash that is printed somewhere else: who can rewrite the file could rewrite the hashes in it.
    """
    project = project_for(config_path, environment)
    name = rollout or _latest(project)
    path = target or dossier_path(project, name)
    digest = write_dossier(project, name, path)
    click.echo(f"{path}  sha256 {digest}")
    return ExitCode.OK


def _latest(place: Place) -> str:
    journal = open_journal(place)
    try:
        rollouts = journal.rollouts(place.service, limit=1)
    finally:
        journal.close()
    if not rollouts:
        raise RefusedError(f"{place.service}: no rollouts yet, so there is nothing to put into a bundle.")
    return rollouts[0].id
