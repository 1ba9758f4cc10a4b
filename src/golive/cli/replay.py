"""``golive replay``: what a recorded rollout would have become under other settings, as far as that can be known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from golive.cli.inbox import config_option, environment_option, settings_for
from golive.cli.replay_view import as_json, as_text, differences
from golive.cli.terminal import glyphs, make_console
from golive.cli.watch import latest
from golive.errors import ExitCode, UsageError
from golive.planning import judging_of, make_judge, plan_of
from golive.project import open_journal
from golive.rollout.events import Started
from golive.rollout.journal import Entry
from golive.rollout.rejudge import rejudge


@click.command(short_help="Run a recorded rollout under other settings, from the journal.")
@click.argument("rollout", required=False, metavar="[ID]")
@config_option
@environment_option
@click.option("--preset", "preset_name", help="Another plan than the one of golive.toml.")
@click.option("--semantics", type=click.Choice(["golive", "argo", "flagger", "kayenta"]), help="Whose rules judge.")
@click.option("--pace", type=click.Choice(["careful", "fast", "demo"]), help="How much evidence a step needs.")
@click.option("--option", "options", multiple=True, metavar="NAME=NUMBER",
              help="An option of the judge, such as alpha=0.001; may be given several times.")  # fmt: skip
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    rollout: str | None, config_path: Path | None, environment: str | None, preset_name: str | None,
    semantics: str | None, pace: str | None, options: tuple[str, ...], output: str,
) -> int:  # fmt: skip
    """
    Judge the evidence of a recorded rollout (by default the latest) once more, by the table, plan and judge of today's
    golive.toml and of the options given, and print both stories side by side.

    Nothing is changed. What the recording cannot show is said: it holds evidence for the traffic it had, and no other.
    """
    settings = settings_for(config_path, environment)
    plan = plan_of(settings, preset_name)
    judging = _changed(judging_of(settings), semantics, pace, options)
    journal = open_journal(settings)
    try:
        identifier = rollout or latest(journal, settings)
        journal.rollout(identifier)
        entries = list(journal.entries(identifier))
    finally:
        journal.close()
    _check(judging, _recorded(entries))
    replayed = rejudge(entries, plan, judging, make_judge)
    changed = differences(replayed.state, plan, judging)
    if output == "json":
        click.echo(json.dumps(as_json(replayed, changed)))
    else:
        console = make_console()
        for line in as_text(replayed, changed, console.width, glyphs()):
            console.print(line, soft_wrap=True)
    return ExitCode.OK


def _changed(
    judging: dict[str, Any], semantics: str | None, pace: str | None, options: tuple[str, ...]
) -> dict[str, Any]:
    """*judging* with what the command line says. Options of one set of rules mean nothing to another."""
    changed = dict(judging)
    if semantics is not None and semantics != judging["semantics"]:
        changed |= {"semantics": semantics, "options": {}}
    if pace is not None:
        changed["pace"] = pace
    changed["options"] = {**changed["options"], **dict(map(_option, options))}
    return changed


def _recorded(entries: Sequence[Entry]) -> dict[str, Any]:
    """What the rollout was judged by."""
    first = entries[0].event
    return first.judging if isinstance(first, Started) else {}


def _check(judging: dict[str, Any], recorded: dict[str, Any]) -> None:
    """The evidence has the shape it was recorded in, whatever the file says today."""
    judging |= {"moves": recorded.get("moves", "requests"), "routes": recorded.get("routes", ["*"])}
    if judging["moves"] != "requests" and judging["semantics"] != "golive":
        raise UsageError(f"--semantics {judging['semantics']}: expected golive: the rollout moved jobs, and its rules "
                         "know only requests.")  # fmt: skip


def _option(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not equals or not name.strip() or not math.isfinite(value):
        raise UsageError(f'--option {text}: expected NAME=NUMBER such as "alpha=0.001".')
    return name.strip(), value
