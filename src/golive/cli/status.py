"""``golive status``: where the traffic is now, and why."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from golive.cli.follow import outcome, summary
from golive.cli.inbox import config_option, controller_of, environment_option, settings_for
from golive.cli.narrate import first_line, headline, traffic
from golive.config import Settings
from golive.errors import ExitCode, GoliveError
from golive.rollout.machine import State
from golive.rollout.ports import Split
from golive.timing import format_instant
from golive.wiring import Station, station


@click.command(short_help="Say where the traffic is now, and why.")
@config_option
@environment_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(config_path: Path | None, environment: str | None, output: str) -> int:
    """Say where the traffic is now, and why. Exit 7 when a rollout waits for somebody."""
    settings = settings_for(config_path, environment)
    post = station(settings)
    try:
        facts = _facts(post, settings, asyncio.run(_seen(post)))
        rollouts = post.journal.rollouts(settings.service, limit=5)
    finally:
        post.journal.close()
    if output == "json":
        click.echo(json.dumps({**facts, "rollouts": [summary(state) for state in rollouts]}))
    else:
        _show(facts, rollouts)
    active = next((state for state in rollouts if not state.final), None)
    return ExitCode.WAITING if active is not None and outcome(active) is ExitCode.WAITING else ExitCode.OK


async def _seen(post: Station) -> Split | None:
    """The split read from the gateway itself; None when it does not run or cannot be read."""
    if not post.front.alive():
        return None
    with suppress(GoliveError):
        return await post.controller.world.router.observe()
    return None


def _facts(post: Station, settings: Settings, seen: Split | None) -> dict[str, Any]:
    holder = controller_of(post.journal, settings)
    service = post.journal.service(settings.service)
    return {
        "schema": "golive/status/v1",
        "service": settings.service,
        "version": service.version if service else None,
        "previous": service.previous if service else None,
        "since": format_instant(service.since) if service else None,
        "controller": str(holder) if holder else None,
        "gateway": f"http://{post.front.gateway.address}" if post.front.gateway and post.front.running() else None,
        "moves": settings.moves,
        "traffic": str(seen) if seen else None,
        "queued": [
            {"version": str(request.body.get("version")), "by": request.actor}
            for request in post.journal.requests(settings.service)
            if request.verb == "ship"
        ],
    }


def _show(facts: dict[str, Any], rollouts: list[State]) -> None:
    click.echo(f"{facts['service']}  {facts['version'] or 'never started'}")
    if facts["moves"] != "jobs":
        click.echo(f"  gateway     {facts['gateway'] or 'not running: golive up'}")
    if facts["moves"] != "requests":
        click.echo(f"  moves       {'jobs' if facts['moves'] == 'jobs' else 'requests and jobs together'}")
    click.echo(f"  traffic     {facts['traffic'] or 'unknown'}")
    click.echo(f"  controller  {facts['controller'] or 'not running: golive up'}")
    for waiting in facts["queued"]:
        click.echo(f"  {waiting['version']} of {waiting['by']} waits for its turn")
    for state in rollouts:
        click.echo(f"  {headline(state, datetime.now(UTC))}")
        if not state.final:
            click.echo(f"    wanted {traffic(state)}; {state.reason}")
            if state.verdict is not None:
                click.echo(f"    confidence {state.verdict.confidence:.0f}: {state.verdict.reason}")
        elif state.ended_by is not None:
            click.echo(f"    {first_line(state.reason)}")
