"""``golive ship``: roll a new version out, step by step, or take it back."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from golive.cli.inbox import TURN_SECONDS, ask, config_option, environment_option, settings_for
from golive.cli.viewing import deadline_of, view
from golive.errors import ExitCode
from golive.planning import config_sha256, judging_of, plan_of
from golive.project import open_journal
from golive.rollout.ports import WEIGHT_MAX

if TYPE_CHECKING:
    from golive.config import Settings

PATIENCE_SECONDS = {"refuse": TURN_SECONDS, "supersede": 600.0, "queue": 7 * 86_400.0}
"""How long a ship waits for the rollout before it, by ``[rollout] when_busy``. Control-C withdraws it."""
_WAITING = {
    "refuse": "{version} waits until its release is made and the version before it has left. Control-C withdraws it.",
    "supersede": "{version} waits until the rollout in progress is taken back. Control-C withdraws it.",
    "queue": "{version} waits for its turn: another rollout is in progress. Control-C withdraws it.",
}


@click.command(short_help="Roll a new version out, step by step, or take it back.")
@click.argument("version")
@config_option
@environment_option
@click.option("--preset", "preset_name", help="Another plan than the one of golive.toml.")
@click.option("--note", default="", help="Why, for the journal.")
@click.option("--force", is_flag=True, help="Ship a version that was taken back before.")
@click.option("--override", default="", metavar="WHY", help="Ship in a freeze all the same; WHY goes into the journal.")
@click.option("--detach", is_flag=True, help="Return when it has begun; the controller goes on.")
@click.option("--timeout", help='Stop waiting and following after this long, such as "2h" (exit 5).')
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
    deadline = deadline_of(timeout)
    body = _request(settings, version, preset_name, note, force, override)
    busy = settings.rollout.when_busy
    patience = PATIENCE_SECONDS[busy]
    if deadline is not None:
        patience = min(patience, max(deadline - time.monotonic(), 0.0))
    rollout = ask(settings, "ship", body, seconds=patience, waiting=_WAITING[busy].format(version=version))
    if detach:
        click.echo(rollout if output in (None, "text") else json.dumps({"schema": "golive/rollout/v1", "id": rollout}))
        return ExitCode.OK
    journal = open_journal(settings)
    try:
        stop = not sys.stdout.isatty()
        return view(journal, rollout, settings, output, deadline=deadline, stop_when_waiting=stop)
    finally:
        journal.close()


def _request(
    settings: Settings, version: str, preset_name: str | None, note: str, force: bool, override: str
) -> dict[str, object]:
    plan = plan_of(settings, preset_name)
    return {
        "version": version,
        "plan": msgspec.to_builtins(plan),
        "at_once": plan.stages[0].weight == WEIGHT_MAX,
        "judging": judging_of(settings),
        "config_sha256": config_sha256(settings),
        "note": note,
        "force": force,
        "override": override,
        "when_busy": settings.rollout.when_busy,
    }
