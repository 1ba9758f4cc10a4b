"""``golive rollback``: the version before this one, back in service, in one step."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from golive.cli.abort import take_all_back
from golive.cli.follow import closing_line, follow
from golive.cli.inbox import ask, config_option, environment_option, project_for
from golive.errors import ExitCode, RefusedError
from golive.project import Place, open_journal
from golive.rollout.machine import Phase
from golive.rollout.plan import Stage, make_plan
from golive.rollout.ports import WEIGHT_MAX
from golive.rollout.quarantine import LOOK_BACK, version_before


@click.command(short_help="Put the version before this one back in service.")
@click.argument("version", required=False)
@config_option
@environment_option
def command(version: str | None, config_path: Path | None, environment: str | None) -> int:
    """
    Put the version before this one, or VERSION, back in service.

    While the new version is rolled out, or watched at 100 %, the old one is warm: it has all the traffic again in one
    write. Later it is started, seen to be ready, then given all traffic at once, and the version that was left is in
    quarantine: only --force ships it again. Nothing is judged either way.
    """
    project = project_for(config_path, environment)
    stable = _stable_of_the_rollout(project)
    if stable is not None and version in (None, stable):
        take_all_back(project, "rollback")
        return ExitCode.OK
    from golive.planning import config_sha256, hooks_of, judging_of  # a way back in one write needs none of it

    settings = project.settings()
    target = version or _previous(project)
    plan = make_plan([Stage(WEIGHT_MAX, timedelta(0))], watch=timedelta(0), at_once=True, judged=False)
    plan = replace(plan, hooks=tuple(hook for hook in hooks_of(settings) if hook.point == "on_rollback"))
    body = {
        "version": target,
        "plan": msgspec.to_builtins(plan),
        "at_once": True,
        "force": True,
        "known": True,
        "note": "rollback",
        "judging": judging_of(settings),
        "config_sha256": config_sha256(settings),
    }
    rollout = ask(settings, "ship", body)
    journal = open_journal(settings)
    try:
        code = follow(journal, rollout, "text", stop_when_waiting=not sys.stdout.isatty())
        click.echo(closing_line(journal.rollout(rollout), datetime.now(UTC)))
    finally:
        journal.close()
    return code


def _stable_of_the_rollout(place: Place) -> str | None:
    """The version a rollout in progress comes from; None when there is none."""
    journal = open_journal(place)
    try:
        active = journal.active(place.service)
    finally:
        journal.close()
    return active[0].stable if active and active[0].phase not in (Phase.PROMOTING, Phase.RETIRING) else None


def _previous(place: Place) -> str:
    journal = open_journal(place)
    try:
        service = journal.service(place.service)
        rollouts = journal.rollouts(place.service, limit=LOOK_BACK)
    finally:
        journal.close()
    before = version_before(rollouts, service.version, service.previous) if service else None
    if before is None:
        raise RefusedError(
            f"{place.service}: there is no version before this one that was not taken back. Name one: "
            "golive rollback VERSION."
        )
    return before
