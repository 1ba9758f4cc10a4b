"""``golive attest``: say something only a person can say, bound to the evidence as it is now."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from golive.cli.inbox import actor, config_option, environment_option, settings_for
from golive.errors import ExitCode, UsageError, did_you_mean
from golive.gates.attestation import attest, read_ledger
from golive.targets import attestations_of, ledger_of, target_of
from golive.timing import format_instant


@click.command(short_help="Sign what only a person can say.")
@click.argument("name", required=False, metavar="[NAME]")
@click.argument("note", nargs=-1)
@click.option("--withdraw", is_flag=True, help="Take back what you said.")
@config_option
@environment_option
def command(
    name: str | None, note: tuple[str, ...], withdraw: bool, config_path: Path | None, environment: str | None
) -> int:
    """
    Attest NAME, one of `[gates.attestations]`, with an optional NOTE. Without NAME: what there is to attest, and who
    did.

    It counts while the files named as evidence are unchanged, until it expires, and never for one's own work. Exit 6
    when you may not say it.
    """
    settings = settings_for(config_path, environment)
    known, ledger = attestations_of(settings), ledger_of(settings)
    if name is None:
        said = read_ledger(ledger)
        for each, probe in known.items():
            click.echo(f"{each}: {probe.role}: {probe.statement}")
            for line in (line for line in said if line.gate == each):
                word = "withdrawn" if line.withdrawn else "said"
                click.echo(
                    f"    {word} by {line.who}, {format_instant(line.at)}{f': {line.note}' if line.note else ''}"
                )
        if not known:
            click.echo("nothing to attest: golive.toml has no [gates.attestations]")
        return ExitCode.OK
    if name not in known:
        hint = did_you_mean(name, list(known)) or f". Known: {', '.join(known) or 'none'}."
        raise UsageError(f'no attestation "{name}"{hint}')
    target = target_of(settings, "", {})
    line = asyncio.run(attest(name, known[name], target, ledger, actor(), " ".join(note), withdraw))
    bound = f", bound to evidence {line.evidence[:12]}" if line.evidence else ""
    click.echo(f"{name}: {line.who} {'withdrew' if withdraw else 'said'}: {line.statement}{bound}")
    return ExitCode.OK
