"""``golive down``: stop everything ``golive up`` started, without losing a request."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import click

from golive.cli.inbox import config_option, controller_of, environment_option, settings_for
from golive.cli.up import stop_all
from golive.errors import ExitCode, RefusedError, TimeoutExceededError
from golive.rollout.lease import Holder, birth
from golive.wiring import Station, station

DOWN_SECONDS = 90.0


@click.command(short_help="Stop everything `golive up` started, without losing a request.")
@config_option
@environment_option
def command(config_path: Path | None, environment: str | None) -> int:
    """
    Stop the controller, the gateway and the versions. A rollout in progress is kept and goes on at the next `golive
    up`.
    """
    settings = settings_for(config_path, environment)
    post = station(settings)
    try:
        holder = controller_of(post.journal, settings)
        if holder is None and not post.front.running() and not post.deployer.running():
            click.echo(f"{settings.service}: nothing runs")
            return ExitCode.OK
        asyncio.run(_stop(post, holder))
    finally:
        post.journal.close()
    click.echo(f"{settings.service} is down")
    return ExitCode.OK


async def _stop(post: Station, holder: Holder | None) -> None:
    if holder is not None:
        if holder.host != socket.gethostname():
            raise RefusedError(f"{post.settings.service}: the controller is {holder}. Run `golive down` there.")
        os.kill(holder.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(DOWN_SECONDS):
                while birth(holder.pid) == holder.born:  # noqa: ASYNC110 - another process; there is nothing to await
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimeoutExceededError(
                f"{post.settings.service}: the controller ({holder}) has not stopped within {DOWN_SECONDS:g} s."
            ) from None
    await stop_all(post)  # what a controller started with --keep, or one that was killed, left behind
