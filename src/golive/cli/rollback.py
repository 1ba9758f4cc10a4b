"""``golive rollback``: the version before this one, back in service, in one step."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec

from golive.cli.follow import closing_line, follow
from golive.cli.inbox import ask, config_option, environment_option, settings_for
from golive.config import Settings
from golive.errors import RefusedError
from golive.rollout.plan import Stage, make_plan
from golive.rollout.ports import WEIGHT_MAX
from golive.wiring import judging_of, open_journal


@click.command(short_help="Put the version before this one back in service.")
@click.argument("version", required=False)
@config_option
@environment_option
def command(version: str | None, config_path: Path | None, environment: str | None) -> int:
    """
    Put the version before this one, or VERSION, back in service: started, seen to be ready, then all traffic at once.

    While a rollout is in progress, use `golive abort`: it is faster.
    """
    settings = settings_for(config_path, environment)
    target = version or _previous(settings)
    plan = make_plan([Stage(WEIGHT_MAX, timedelta(0))], watch=timedelta(0), at_once=True, judged=False)
    body = {
        "version": target,
        "plan": msgspec.to_builtins(plan),
        "at_once": True,
        "force": True,
        "known": True,
        "note": "rollback",
        "judging": judging_of(settings),
    }
    rollout = ask(settings, "ship", body)
    journal = open_journal(settings)
    try:
        code = follow(journal, rollout, "text", stop_when_waiting=not sys.stdout.isatty())
        click.echo(closing_line(journal.rollout(rollout), datetime.now(UTC)))
    finally:
        journal.close()
    return code


def _previous(settings: Settings) -> str:
    journal = open_journal(settings)
    try:
        service = journal.service(settings.service)
    finally:
        journal.close()
    if service is None or service.previous is None:
        raise RefusedError(
            f"{settings.service}: there is no version before this one. Name one: golive rollback VERSION."
        )
    return service.previous
