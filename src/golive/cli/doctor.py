"""``golive doctor``: what is wrong here, before anything moves."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from golive.cli.inbox import config_option, environment_option
from golive.errors import ExitCode


@click.command(short_help="Say what is wrong with this project or machine, before anything moves.")
@config_option
@environment_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@click.option("-q", "--quiet", is_flag=True, help="Leave out what is well.")
def command(config_path: Path | None, environment: str | None, output: str, as_json: bool, quiet: bool) -> int:
    """
    Say what is wrong with this project or machine, and what to do about it. Only looks; changes nothing.

    Each line is OK, WARN (works, and will hurt one day) or FAIL (a release from here would fail). Exit 3 when
    something is FAIL, else 0.
    """
    from golive.doctor.examination import examine
    from golive.doctor.finding import Level

    told = Counter[Level]()
    found = []
    for finding in examine(config_path, environment):
        told[finding.level] += 1
        found.append(finding)
        if output == "text" and not as_json and not (quiet and finding.level is Level.OK):
            click.echo(str(finding))
    good = not told[Level.FAIL]
    if output == "json" or as_json:
        lines = [
            {"check": each.check, "level": each.level.value, "found": each.found, "remedy": each.remedy}
            for each in found
            if not (quiet and each.level is Level.OK)
        ]
        click.echo(json.dumps({"schema": "golive/doctor/v1", "ok": good, "findings": lines}, ensure_ascii=False))
    else:
        click.echo(", ".join(f"{told[level]} {level}" for level in Level))
    return ExitCode.OK if good else ExitCode.NO_GO
