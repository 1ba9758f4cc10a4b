"""``golive verify``: is a journal, or an evidence bundle, whole and unaltered?"""

from __future__ import annotations

from pathlib import Path

import click

from golive.bundle import open_bundle
from golive.cli.inbox import config_option, environment_option, project_for
from golive.errors import ExitCode, StateError
from golive.project import Place, open_journal
from golive.rollout.dossier import KIND as ROLLOUT
from golive.rollout.dossier import dossier_findings
from golive.rollout.machine import replay

_FINDINGS_MAX = 20


@click.command(short_help="Check that a journal or a bundle is whole.")
@click.argument("rollout", required=False, metavar="[ROLLOUT | BUNDLE]")
@config_option
@environment_option
def command(rollout: str | None, config_path: Path | None, environment: str | None) -> int:
    """
    Check that nothing was changed since it was written. Exit 3 when something was.

    ROLLOUT (default: all): the chain of hashes in the journal, and that the events lead to the stored state. BUNDLE, a
    zip or the folder it was unpacked into: every byte against the manifest, and for a rollout the chain, the state and
    the extracts too; offline and without any configuration.
    """
    if rollout is not None and ("/" in rollout or rollout.endswith(".zip") or Path(rollout).exists()):
        return _bundle(Path(rollout))
    return _journal(project_for(config_path, environment), rollout)


def _journal(place: Place, rollout: str | None) -> int:
    journal = open_journal(place)
    try:
        names = [rollout] if rollout else [state.id for state in journal.rollouts(place.service, limit=1000)]
        faults = 0
        for name in names:
            found = journal.verify(name)
            count = sum(1 for _ in journal.rows(name))
            if not found:
                state = journal.rollout(name)
                if replay([entry.event for entry in journal.entries(name)]) != state:
                    found = ["the events do not lead to the stored state"]
            faults += len(found)
            click.echo(f"{name}: {count} entries, " + ("; ".join(found) or "whole"))
    except ValueError as error:
        raise StateError(f"{journal.connection.path}: an entry cannot be read: {error}. It was altered.") from None
    finally:
        journal.close()
    if not names:
        click.echo(f"{place.service}: no rollouts yet")
    return ExitCode.NO_GO if faults else ExitCode.OK


def _bundle(path: Path) -> int:
    """What the bundle says about itself, and what is wrong with it."""
    bundle = open_bundle(path)
    findings = list(bundle.findings())
    if not findings and bundle.meta.get("kind") == ROLLOUT:
        findings = list(dossier_findings(bundle))
    meta = bundle.meta
    told = [
        str(meta[key])
        for key in ("kind", "verdict", "service", "rollout", "phase", "environment", "started_at")
        if meta.get(key)
    ]
    commit = f", commit {str(meta['commit'])[:12]}" if meta.get("commit") else ""
    for finding in findings[:_FINDINGS_MAX]:
        click.echo(f"{path}: {_plain(finding)}")
    if len(findings) > _FINDINGS_MAX:
        click.echo(f"{path}: and {len(findings) - _FINDINGS_MAX} more")
    click.echo(f"{path}: {_plain(' '.join(told))}{_plain(commit)}, {len(bundle.names)} files, {bundle.digest}: "
               f"{'CHANGED' if findings else 'whole'}")  # fmt: skip
    return ExitCode.NO_GO if findings else ExitCode.OK


def _plain(text: str) -> str:
    """A bundle comes from elsewhere; it cannot repaint the screen."""
    return "".join(character if character.isprintable() else " " for character in text)
