"""``golive abort``: all traffic back to stable, now; also when no controller is left to do it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from golive.cli.inbox import ANSWER_SECONDS, actor, ask, config_option, controller_of, environment_option, settings_for
from golive.config import Settings
from golive.errors import ExitCode, TimeoutExceededError, UnavailableError
from golive.rollout.ports import Split
from golive.wiring import Station, open_journal, station

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
    settings = settings_for(config_path, environment)
    take_all_back(settings, " ".join(reason))
    return ExitCode.OK


def take_all_back(settings: Settings, reason: str) -> None:
    """
    Have the rollout in progress aborted, and return when the gateway has no traffic left for its candidate.

    Raises: AnsweredError when no rollout is in progress, TimeoutExceededError, UnavailableError.
    """
    journal = open_journal(settings)
    try:
        alone = controller_of(journal, settings) is None
    finally:
        journal.close()
    if alone:
        asyncio.run(_take_back(settings, reason))
        return
    click.echo(ask(settings, "abort", {"reason": reason}, seconds=ANSWER_SECONDS))
    asyncio.run(_until_empty(settings))


async def _until_empty(settings: Settings) -> None:
    """Wait until the gateway itself says that the candidate has no traffic."""
    post = station(settings)
    try:
        async with asyncio.timeout(EMPTY_SECONDS):
            while (split := await post.controller.world.router.observe()) is None or split.weight:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutExceededError(
            f"{settings.service}: the gateway has not confirmed yet; the controller keeps trying. See `golive status`."
        ) from None
    finally:
        post.journal.close()
    click.echo(f"traffic is {split}")


async def _take_back(settings: Settings, reason: str) -> None:
    """Be the controller for as long as the way back takes."""
    post = station(settings)
    active = post.journal.active(settings.service)
    if active is None or not post.front.alive():
        post.journal.close()
        what = "no rollout is in progress" if active is None else "the gateway is down, so nobody is served by either"
        raise UnavailableError(f"{settings.service}: {what}, and no controller runs. Start it with `golive up`.")
    click.echo(f"{settings.service}: no controller runs; doing it from here", err=True)
    post.journal.ask(settings.service, actor(), "abort", {"reason": reason}, datetime.now(UTC))
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
