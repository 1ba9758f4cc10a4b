"""``golive check``: run the gates and end in GO or NO-GO."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import click

from golive.cli.check_progress import Progress
from golive.config import Settings, load_settings
from golive.config.render import to_toml
from golive.errors import ExitCode, GoliveError, UsageError
from golive.gates import Gate, Phase, Report, Target, run_gates
from golive.gates.comparison import LastGo, compare
from golive.gates.evidence import write_evidence
from golive.gates.git import head
from golive.gates.http import Client
from golive.gates.profiles import PROFILES, Profile, profile
from golive.gates.reports import FORMATS, text
from golive.gates.waiver import read_waivers
from golive.gates.watching import watch_gates
from golive.targets import gates_of, ledger_of, target_of, waivers_of
from golive.timing import format_instant, parse_duration


@click.command(short_help="Run the gates: GO or NO-GO.")
@click.argument("names", nargs=-1, metavar="[GATE]...")
@click.option("--url", help="Where the service answers. Default: the gateway of golive.toml.")
@click.option("--env", "environment", help="The environment of golive.toml to judge.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="golive.toml, or its folder.")
@click.option("--profile", "profile_name", help=f"A set of gates with what they look for: {', '.join(PROFILES)}.")
@click.option("--header", "-H", "headers", multiple=True, metavar="NAME: VALUE", help="Sent with every request.")
@click.option("--insecure", is_flag=True, help="Accept any TLS certificate.")
@click.option(
    "--i-own-this-host", "remote_allowed", is_flag=True, help="Let the load gate run against another machine."
)
@click.option(
    "--waivers",
    "waivers_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Accepted failures, with owner, reason and day of expiry (TOML).",
)
@click.option(
    "--phase", type=click.Choice([str(phase) for phase in Phase]), help="Only the gates of this phase of a release."
)
@click.option("--for", "watch_for", metavar="DURATION", help="With --phase watch: again and again, for so long.")
@click.option("--every", metavar="DURATION", default="30s", show_default=True, help="With --for: how often.")
@click.option(
    "--evidence",
    "evidence_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write report and evidence to FILE, a bundle that `golive verify FILE` checks offline.",
)
@click.option("--list", "listing", is_flag=True, help="Print the gates and what they prove.")
@click.option("-o", "--output", type=click.Choice(list(FORMATS)), default="text", show_default=True)
def command(
    names: tuple[str, ...], url: str | None, environment: str | None, config_path: Path | None,
    profile_name: str | None, headers: tuple[str, ...], insecure: bool, remote_allowed: bool,
    waivers_path: Path | None, phase: str | None, watch_for: str | None, every: str, evidence_path: Path | None,
    listing: bool, output: str,
) -> int:  # fmt: skip
    """
    Run GATEs against a service, from outside, and say GO or NO-GO. Exit 0 or 3.

    Without names, those of the profile, or of `[gates] preflight` in golive.toml. What a gate needs is run first; one
    that cannot run is UNAVAILABLE, which is never a pass.
    """
    settings = load_settings(config_path, environment=environment, missing_ok=config_path is None)
    known = gates_of(settings)
    if listing:
        _list_gates(known)
        return ExitCode.OK
    chosen = profile(profile_name) if profile_name else None
    target = target_of(
        settings, url or _own_url(settings), _headers(headers), tls_verify=not insecure, remote_allowed=remote_allowed
    )
    if chosen is not None:
        target = chosen.fit(target)
    wanted = _in_phase(names, chosen, settings, known, phase)
    waivers = [*waivers_of(settings), *(read_waivers(waivers_path) if waivers_path is not None else [])]
    progress = Progress(silent=output != "text")
    try:
        if watch_for is None:
            run = run_gates(
                wanted, target, waivers=waivers, on_result=progress.ended, on_start=progress.begun, gates=known
            )
        else:
            seconds = [_seconds("--for", watch_for), _seconds("--every", every)]
            run = watch_gates(wanted, target, *seconds, waivers=waivers, gates=known, on_round=_round(output))
        report = asyncio.run(run)
    finally:
        progress.close()
    whole = not names and phase is None
    report = _completed(report, settings, chosen.name if chosen else "", whole)
    if evidence_path is not None:
        write_evidence(evidence_path, report, asyncio.run(_beside(settings, target)), settings.service)
    _show(report, output, evidence_path)
    return ExitCode.OK if report.go else ExitCode.NO_GO


def _in_phase(
    names: tuple[str, ...], chosen: Profile | None, settings: Settings, known: Mapping[str, Gate], phase: str | None
) -> list[str]:
    wanted = list(names) or list(chosen.gates if chosen is not None else settings.gates.preflight)
    if phase is None:
        return wanted
    found = [name for name in wanted if name not in known or known[name].in_phase(Phase(phase))]
    if not found:
        raise UsageError(f"--phase {phase}: none of {', '.join(wanted)} belongs to it. See golive check --list.")
    return found


def _completed(report: Report, settings: Settings, profile_name: str, whole: bool) -> Report:
    """With what only the project knows: its commit, and, of a *whole* run, what changed since the last GO."""
    commit = asyncio.run(head(settings.root)) or ""
    report = replace(report, commit=commit, profile=profile_name)
    if settings.file is None or not whole:
        return report
    kept = LastGo(settings.state_dir, "-".join(part for part in (settings.environment, profile_name) if part))
    then = kept.read()
    if then is not None:
        report = replace(report, compared=compare(report, then).sentence)
    if report.go:
        kept.write(report)
    return report


async def _beside(settings: Settings, target: Target) -> dict[str, str]:
    """What belongs into a bundle beside the report: settings without secrets, attestations, the metrics page."""
    files = {}
    if settings.file is not None:
        files["settings.toml"] = to_toml(settings, origins=True)
    ledger = ledger_of(settings)
    if ledger.exists():
        files["attestations.jsonl"] = ledger.read_text(encoding="utf-8")
    try:
        page = await Client(target).get(target.metrics_path)
        if page.status == 200:
            files["metrics.txt"] = page.body.decode("utf-8", "replace")
    except GoliveError:
        pass  # no URL, or no metrics page: the gates say so themselves
    return files


def _seconds(option: str, text_: str) -> float:
    try:
        return parse_duration(text_).total_seconds()
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _round(output: str) -> Callable[[Report], None]:
    def tell(report: Report) -> None:
        if output == "text":
            click.echo(f"{format_instant(report.started_at)}  {text.summary(report)}")

    return tell


def _own_url(settings: Settings) -> str:
    """The gateway that golive.toml describes; nothing when there is no file or its port is chosen at start."""
    if settings.file is None or not settings.gateway.port:
        return ""
    host = settings.gateway.host
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reachable}:{settings.gateway.port}"


def _headers(lines: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not value.isprintable():
            raise UsageError(f'--header: expected "Name: value", got {line!r}.')
        headers[name.strip()] = value.strip()
    return headers


def _list_gates(known: Mapping[str, Gate]) -> None:
    for gate in known.values():
        click.echo(f"{gate.name:18} {gate.phase!s:10} {gate.proves}")


def _show(report: Report, output: str, evidence: Path | None) -> None:
    if output != "text":
        click.echo(FORMATS[output](report))
        return
    for line in text.notes(report):
        click.echo(line)
    line = text.summary(report)
    click.echo(
        "\n" + click.style(report.verdict, fg="green" if report.go else "red", bold=True) + line[len(report.verdict) :]
    )
    if evidence is not None:
        click.echo(f"evidence: {evidence} (golive verify {evidence})")
