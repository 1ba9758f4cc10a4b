"""``golive verify``: is a journal, or an evidence bundle, whole and unaltered?"""

from __future__ import annotations

from pathlib import Path

import click

from golive.bundle import open_bundle
from golive.cli.inbox import config_option, environment_option, settings_for
from golive.errors import ExitCode
from golive.rollout.machine import replay
from golive.wiring import open_journal


@click.command(short_help="Check that a journal or a bundle is whole.")
@click.argument("rollout", required=False, metavar="[ROLLOUT | BUNDLE]")
@config_option
@environment_option
def command(rollout: str | None, config_path: Path | None, environment: str | None) -> int:
    """
    Check the chain of hashes of ROLLOUT (default: all), and that its events lead to the stored state. Exit 3 if not.

    BUNDLE, a file or folder of evidence, is checked byte by byte, offline and without any configuration.
    """
    if rollout is not None and ("/" in rollout or rollout.endswith(".zip") or Path(rollout).exists()):
        return _bundle(Path(rollout))
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


def _bundle(path: Path) -> int:
    """What the bundle says about itself, and what is wrong with it."""
    bundle = open_bundle(path)
    findings = list(bundle.findings())
    meta = bundle.meta
    told = [str(meta[key]) for key in ("kind", "verdict", "service", "environment", "started_at") if meta.get(key)]
    commit = f", commit {str(meta['commit'])[:12]}" if meta.get("commit") else ""
    for finding in findings:
        click.echo(f"{path}: {_plain(finding)}")
    click.echo(f"{path}: {_plain(' '.join(told))}{_plain(commit)}, {len(bundle.names)} files, {bundle.digest}: "
               f"{'CHANGED' if findings else 'whole'}")  # fmt: skip
    return ExitCode.NO_GO if findings else ExitCode.OK


def _plain(text: str) -> str:
    """A bundle comes from elsewhere; it cannot repaint the screen."""
    return "".join(character if character.isprintable() else " " for character in text)
