"""``golive ship``: roll a new version out, step by step, or take it back."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from golive.cli.follow import closing_line, follow, summary
from golive.cli.inbox import ANSWER_SECONDS, ask, config_option, environment_option, settings_for
from golive.cli.terminal import can_draw, make_console
from golive.config import Settings
from golive.errors import ExitCode
from golive.rollout.journal import Journal
from golive.rollout.ports import WEIGHT_MAX
from golive.timing import parse_duration
from golive.wiring import judging_of, open_journal, plan_of

_PATIENCE_SECONDS = {"refuse": ANSWER_SECONDS, "supersede": 600.0, "queue": 7 * 86_400.0}
"""How long a ship waits for the rollout before it, by ``[rollout] when_busy``. Control-C withdraws it."""


@click.command(short_help="Roll a new version out, step by step, or take it back.")
@click.argument("version")
@config_option
@environment_option
@click.option("--preset", "preset_name", help="Another plan than the one of golive.toml.")
@click.option("--note", default="", help="Why, for the journal.")
@click.option("--force", is_flag=True, help="Ship a version that was taken back before.")
@click.option("--override", default="", metavar="WHY", help="Ship in a freeze all the same; WHY goes into the journal.")
@click.option("--detach", is_flag=True, help="Return at once; the controller goes on.")
@click.option("--timeout", help='Stop following after this long, such as "2h" (exit 5).')
@click.option("-o", "--output", type=click.Choice(["text", "json", "ndjson"]),
              help="Plain lines instead of the live view, the end as JSON, or every event as JSON.")  # fmt: skip
def command(
    version: str, config_path: Path | None, environment: str | None, preset_name: str | None, note: str,
    force: bool, override: str, detach: bool, timeout: str | None, output: str | None,
) -> int:  # fmt: skip
    """
    Replace the version in production by VERSION, moving traffic stage by stage while the evidence is good.

    Ends with 0 when all traffic is on VERSION, 3 when a gate refused it, 4 when it was taken back, 7 when it waits for
    somebody. Control-C ends only the view; the rollout goes on.
    """
    settings = settings_for(config_path, environment)
    deadline = time.monotonic() + _seconds(timeout) if timeout else None
    body = _request(settings, version, preset_name, note, force, override)
    rollout = ask(settings, "ship", body, seconds=_PATIENCE_SECONDS[settings.rollout.when_busy])
    if detach:
        click.echo(rollout if output in (None, "text") else json.dumps({"schema": "golive/rollout/v1", "id": rollout}))
        return ExitCode.OK
    journal = open_journal(settings)
    try:
        code = _follow(journal, rollout, settings, output, deadline)
        state = journal.rollout(rollout)
    except KeyboardInterrupt:
        click.echo(f"\nthe rollout goes on: golive watch {rollout}", err=True)
        raise
    finally:
        journal.close()
    if output == "json":
        click.echo(json.dumps(summary(state)))
    elif output != "ndjson":
        click.echo(closing_line(state, datetime.now(UTC)))
    return code


def _follow(journal: Journal, rollout: str, settings: Settings, output: str | None, deadline: float | None) -> ExitCode:
    console = make_console()
    if output is None and can_draw(console):
        from golive.cli.live import follow_live  # needs a terminal's modules, which not every system has

        return follow_live(journal, rollout, settings, deadline=deadline, console=console)
    return follow(journal, rollout, output or "text", deadline=deadline, stop_when_waiting=not sys.stdout.isatty())


def _request(
    settings: Settings, version: str, preset_name: str | None, note: str, force: bool, override: str
) -> dict[str, object]:
    plan = plan_of(settings, preset_name)
    return {
        "version": version,
        "plan": msgspec.to_builtins(plan),
        "at_once": plan.stages[0].weight == WEIGHT_MAX,
        "judging": judging_of(settings),
        "note": note,
        "force": force,
        "override": override,
        "when_busy": settings.rollout.when_busy,
    }


def _seconds(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from None
