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
from golive.cli.inbox import TURN_SECONDS, ask, config_option, environment_option, project_for
from golive.errors import ExitCode, RefusedError
from golive.project import Place, open_journal
from golive.rollout.journal import Journal
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
    quarantine: only --force ships it again. Nothing is judged either way. A version that is still leaving has left
    before it comes back.
    """
    project = project_for(config_path, environment)
    target = _aim(project, version)
    if target is None:
        take_all_back(project, "rollback")
        return ExitCode.OK
    from golive.planning import config_sha256, hooks_of, judging_of  # a way back in one write needs none of it

    settings = project.settings()
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
    waiting = f"{target} waits until the rollout in progress is over. Control-C withdraws it."
    rollout = ask(settings, "ship", body, seconds=TURN_SECONDS, waiting=waiting)
    journal = open_journal(settings)
    try:
        code = follow(journal, rollout, "text", stop_when_waiting=not sys.stdout.isatty())
        click.echo(closing_line(journal.rollout(rollout), datetime.now(UTC)))
    finally:
        journal.close()
    return code


def _aim(place: Place, version: str | None) -> str | None:
    journal = open_journal(place)
    try:
        return aim(journal, place.service, version)
    finally:
        journal.close()


def aim(journal: Journal, service: str, version: str | None) -> str | None:
    """
    The version to ship for a rollback, to *version* if that is given; None when the rollout in progress has only to be
    taken back.

    Raises: RefusedError when *version* is not given and there is none to go back to.
    """
    active = journal.active(service)
    if active is None:
        return version or _previous(journal, service)
    state = active[0]
    if state.phase in (Phase.PROMOTING, Phase.RETIRING):
        return version or state.stable  # it is over but for the old version, which is the one before
    return None if version in (None, state.stable) else version


def _previous(journal: Journal, service: str) -> str:
    known = journal.service(service)
    rollouts = journal.rollouts(service, limit=LOOK_BACK)
    before = version_before(rollouts, known.version, known.previous) if known else None
    if before is None:
        raise RefusedError(
            f"{service}: there is no version before this one that was not taken back. Name one: "
            "golive rollback VERSION."
        )
    return before
