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
from golive.cli.inbox import config_option, controller_of, environment_option, project_for
from golive.cli.narrate import first_line, headline, traffic
from golive.errors import ExitCode, GoliveError
from golive.project import Project, open_journal, router_of
from golive.rollout.journal import Journal
from golive.rollout.machine import State
from golive.rollout.ports import Router, Split
from golive.timing import format_instant


@click.command(short_help="Say where the traffic is now, and why.")
@config_option
@environment_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(config_path: Path | None, environment: str | None, output: str) -> int:
    """Say where the traffic is now, and why. Exit 7 when a rollout waits for somebody."""
    project = project_for(config_path, environment)
    journal = open_journal(project)
    try:
        facts = _facts(journal, project)
        rollouts = journal.rollouts(project.service, limit=5)
    finally:
        journal.close()
    if output == "json":
        click.echo(json.dumps({**facts, "rollouts": [summary(state) for state in rollouts]}))
    else:
        _show(facts, rollouts)
    active = next((state for state in rollouts if not state.final), None)
    return ExitCode.WAITING if active is not None and outcome(active) is ExitCode.WAITING else ExitCode.OK


def _facts(journal: Journal, project: Project) -> dict[str, Any]:
    holder = controller_of(journal, project)
    service = journal.service(project.service)
    moves, gateway, seen = _front(project) if project.requests_only else _whole_front(project)
    return {
        "schema": "golive/status/v1",
        "service": project.service,
        "version": service.version if service else None,
        "previous": service.previous if service else None,
        "since": format_instant(service.since) if service else None,
        "controller": str(holder) if holder else None,
        "gateway": gateway,
        "moves": moves,
        "traffic": str(seen) if seen else None,
        "queued": [
            {"version": str(request.body.get("version")), "by": request.actor}
            for request in journal.requests(project.service)
            if request.verb == "ship"
        ],
    }


def _front(project: Project) -> tuple[str, str | None, Split | None]:
    """What is moved, where the gateway is, and the split read from the gateway itself; None for what cannot be read."""
    router = router_of(project)
    running = router.gateway.running()
    if running is None:
        return "requests", None, None
    return "requests", f"http://{running.host}:{running.port}", asyncio.run(_seen(router))


async def _seen(router: Router) -> Split | None:
    with suppress(GoliveError):
        return await router.observe()
    return None


def _whole_front(project: Project) -> tuple[str, str | None, Split | None]:
    """As :func:`_front`, where jobs may be moved too: that takes the job store, so every setting."""
    from golive.wiring import station

    post = station(project.settings())
    try:
        gateway = f"http://{post.front.gateway.address}" if post.front.gateway and post.front.running() else None
        seen = asyncio.run(_seen(post.controller.world.router)) if post.front.alive() else None
        return post.settings.moves, gateway, seen
    finally:
        post.journal.close()


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
