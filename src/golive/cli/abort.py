"""``golive abort``: all traffic back to stable, now; also when no controller is left to do it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from golive.cli.inbox import ANSWER_SECONDS, actor, ask, config_option, controller_of, environment_option, project_for
from golive.errors import ConfigError, ExitCode, TimeoutExceededError, UnavailableError
from golive.project import Project, open_journal, router_of
from golive.rollout.ports import Router, Split

if TYPE_CHECKING:
    from golive.wiring import Station

EMPTY_SECONDS = 10.0
"""How long the command waits to see the candidate empty at the gateway; it takes milliseconds."""


@click.command(short_help="Take all traffic back to the stable version now.")
@click.argument("reason", nargs=-1)
@config_option
@environment_option
def command(reason: tuple[str, ...], config_path: Path | None, environment: str | None) -> int:
    """
    Take all traffic back to the stable version now. Wins over everything; REASON goes into the journal.

    Returns when the gateway has confirmed it. Without a controller the command does it by itself.
    """
    take_all_back(project_for(config_path, environment), " ".join(reason))
    return ExitCode.OK


def take_all_back(project: Project, reason: str) -> None:
    """
    Have the rollout in progress aborted, and return when the gateway has no traffic left for its candidate.

    Raises: AnsweredError when no rollout is in progress, TimeoutExceededError, UnavailableError.
    """
    journal = open_journal(project)
    try:
        alone, active = controller_of(journal, project) is None, journal.active(project.service)
        if alone and active is None:
            raise _nobody(project, "no rollout is in progress")
    finally:
        journal.close()
    if alone:
        asyncio.run(_take_back(project, reason))
        return
    click.echo(ask(project, "abort", {"reason": reason}, seconds=ANSWER_SECONDS))
    stable = active[0].stable if active else None
    if project.requests_only:
        asyncio.run(_until_empty(router_of(project), project.service, stable))
        return
    try:
        post = _station(project)
    except ConfigError as error:
        click.echo(f"{error}\nThe gateway could not be asked from here; see `golive status`.", err=True)
        return
    try:
        asyncio.run(_until_empty(post.controller.world.router, project.service, stable))
    finally:
        post.journal.close()


def _nobody(project: Project, what: str) -> UnavailableError:
    return UnavailableError(f"{project.service}: {what}, and no controller runs. Start it with `golive up`.")


def _station(project: Project) -> Station:
    from golive.wiring import station  # every room: only for what a running gateway and controller cannot do

    return station(project.settings())


async def _until_empty(router: Router, service: str, stable: str | None) -> None:
    """Wait until the gateway itself says that *stable* has all the traffic."""
    try:
        async with asyncio.timeout(EMPTY_SECONDS):
            while (split := await router.observe()) is None or not _is_back(split, stable):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutExceededError(
            f"{service}: the gateway has not confirmed yet; the controller keeps trying. See `golive status`."
        ) from None
    click.echo(f"traffic is {split}")


def _is_back(split: Split, stable: str | None) -> bool:
    """A version that was being promoted is no candidate any more; whoever has all the traffic may be the wrong one."""
    return split.weight == 0 and stable in (None, split.stable)


async def _take_back(project: Project, reason: str) -> None:
    """Be the controller for as long as the way back takes."""
    post = _station(project)
    active = post.journal.active(project.service)
    if active is None or not post.front.alive():
        post.journal.close()
        what = "no rollout is in progress" if active is None else "the gateway is down, so nobody is served by either"
        raise _nobody(project, what)
    click.echo(f"{project.service}: no controller runs; doing it from here", err=True)
    body = {"reason": reason, "rollout": active[0].id}
    post.journal.ask(project.service, actor(), "abort", body, datetime.now(UTC))
    await _control_until_idle(post, active[0].stable)
    click.echo(f"traffic is {Split(active[0].stable)}")


async def _control_until_idle(post: Station, stable: str) -> None:
    work = [asyncio.create_task(post.controller.run(stable)), asyncio.create_task(post.desk.serve())]
    idle = asyncio.create_task(post.controller.idle.wait())
    try:
        done, _ = await asyncio.wait([*work, idle], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*work, idle):
            task.cancel()
        await asyncio.gather(*work, idle, return_exceptions=True)
        post.journal.close()
