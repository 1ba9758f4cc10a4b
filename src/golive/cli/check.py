"""``golive check``: run the gates and end in GO or NO-GO."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from golive.config import Settings, load_settings
from golive.errors import ExitCode, UsageError
from golive.gates import Gate, Report, Result, Verdict, run_gates
from golive.gates.profiles import PROFILES, profile
from golive.gates.reports import FORMATS, text
from golive.gates.waiver import read_waivers
from golive.targets import gates_of, waivers_of
from golive.wiring import target_of

_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.WAIVED: "yellow", Verdict.UNAVAILABLE: "magenta"}


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
@click.option("--list", "listing", is_flag=True, help="Print the gates and what they prove.")
@click.option("-o", "--output", type=click.Choice(list(FORMATS)), default="text", show_default=True)
def command(
    names: tuple[str, ...], url: str | None, environment: str | None, config_path: Path | None,
    profile_name: str | None, headers: tuple[str, ...], insecure: bool, remote_allowed: bool,
    waivers_path: Path | None, listing: bool, output: str,
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
    wanted = list(names) or list(chosen.gates if chosen is not None else settings.gates.preflight)
    waivers = [*waivers_of(settings), *(read_waivers(waivers_path) if waivers_path is not None else [])]
    live = _tell if output == "text" else None
    report = asyncio.run(run_gates(wanted, target, waivers=waivers, on_result=live, gates=known))
    _show(report, output)
    return ExitCode.OK if report.go else ExitCode.NO_GO


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


def _tell(result: Result) -> None:
    line = text.line(result)
    word = line.split(" ", 1)[0]
    click.echo(click.style(word, fg=_COLOURS[result.outcome.verdict], bold=True) + line[len(word) :])
    sys.stdout.flush()


def _show(report: Report, output: str) -> None:
    if output != "text":
        click.echo(FORMATS[output](report))
        return
    line = text.summary(report)
    click.echo(
        "\n" + click.style(report.verdict, fg="green" if report.go else "red", bold=True) + line[len(report.verdict) :]
    )
