"""``golive up``: the gateway, the version in production, and the controller; in the foreground or behind it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from golive.cli.inbox import config_option, controller_of, environment_option, settings_for
from golive.cli.narrate import Narrator, traffic
from golive.config import Settings
from golive.errors import ExitCode, GoliveError, RefusedError, TimeoutExceededError, UnavailableError
from golive.rollout.journal import Entry
from golive.rollout.machine import FINAL
from golive.rollout.processes import Process, alive, spawn
from golive.wiring import Station, station, write_dossier

DETACH_SECONDS = 200.0
GATEWAY_LOOK_SECONDS = 0.25
"""How often the gateway's process is looked at; a dead one is started again on the split it had."""

log = logging.getLogger("golive.up")


@click.command(short_help="Start the gateway, the stable version and the controller.")
@config_option
@environment_option
@click.option("--version", "first_version", default="v1", show_default=True,
              help="What to call the code that runs now, the first time. Later the journal knows.")  # fmt: skip
@click.option("--detach", is_flag=True, help="Return when it is up; stop it with `golive down`.")
@click.option("--keep", is_flag=True, help="Leave gateway and versions running when the controller is stopped.")
def command(config_path: Path | None, environment: str | None, first_version: str, detach: bool, keep: bool) -> int:
    """
    Start the gateway, the version in production and the controller, and go on where the last one stopped.

    Versions and gateway outlive a controller that is killed: traffic stays where it was, and the next `golive up` finds
    them. Control-C or `golive down` stops everything without losing a request.
    """
    settings = settings_for(config_path, environment)
    if detach:
        return _detach(settings, environment, first_version)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    asyncio.run(_run(station(settings), first_version, keep=keep))
    return ExitCode.OK


async def _run(post: Station, first_version: str, *, keep: bool) -> None:
    """Run until a signal or a failure, then leave in order."""
    try:
        _refuse_a_second(post)
        stop = _on_signals()
        await post.front.up()
        await post.front.listen()
        narrator = Narrator()
        clerk = Clerk(post.settings)
        post.controller.entries = lambda entry: _record(entry, narrator, clerk)
        await _serve(post, first_version, stop)
    finally:
        if not keep and _mine_to_stop(post):
            await stop_all(post)
        await post.front.close()
        post.journal.close()


def _refuse_a_second(post: Station) -> None:
    holder = controller_of(post.journal, post.settings)
    if holder is not None:
        raise RefusedError(f"{post.settings.service}: a controller already runs ({holder}). Stop it: `golive down`.")


def _mine_to_stop(post: Station) -> bool:
    """Not when another controller took over: what runs is its business now."""
    return controller_of(post.journal, post.settings) is None


async def _serve(post: Station, first_version: str, stop: asyncio.Event) -> None:
    tasks = [
        asyncio.create_task(post.controller.run(first_version)),
        asyncio.create_task(post.desk.serve()),
        asyncio.create_task(_keep_gateway(post)),
        asyncio.create_task(_announce(post)),
        asyncio.create_task(stop.wait()),
    ]
    try:
        pending = set(tasks)
        while True:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if stop.is_set():
                return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _announce(post: Station) -> None:
    await post.controller.ready.wait()
    state = post.controller.state
    where = traffic(state) if state else f"{post.controller.current} 100 %"
    click.echo(f"{post.settings.service} is up: {post.front} -> {where}")


async def _keep_gateway(post: Station) -> None:
    while True:
        await asyncio.sleep(GATEWAY_LOOK_SECONDS)
        if not post.front.alive():
            log.warning("the gateway died; starting it again on the split it had")
            with suppress(UnavailableError):
                await post.front.up()


async def stop_all(post: Station) -> None:
    """First the gateway, which answers everything it has accepted; then the versions behind it."""
    with suppress(GoliveError):
        await post.front.down()
    await asyncio.gather(*(post.deployer.stop(arm.version) for arm in post.deployer.running()))


def _on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _record(entry: Entry, narrator: Narrator, clerk: Clerk) -> None:
    _tell(entry, narrator)
    if entry.phase in FINAL:
        clerk.file(entry.rollout)


class Clerk:
    """Writes the evidence bundle of a rollout that is over, beside the controller's work. It can be written again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._filing: set[asyncio.Task[None]] = set()

    def file(self, rollout: str) -> None:
        """Begin. What goes wrong is told, and changes nothing."""
        task = asyncio.create_task(self._file(rollout))
        self._filing.add(task)
        task.add_done_callback(self._filing.discard)

    async def _file(self, rollout: str) -> None:
        try:
            await asyncio.to_thread(write_dossier, self.settings, rollout)
        except GoliveError as error:
            log.warning("no evidence bundle of %s: %s Try again with `golive bundle %s`.", rollout, error, rollout)


def _tell(entry: Entry, narrator: Narrator) -> None:
    line = narrator.line(entry)
    if line is not None:
        with suppress(BrokenPipeError):
            click.echo(line)


# ---- in the background


def _detach(settings: Settings, environment: str | None, first_version: str) -> int:
    post = station(settings)
    try:
        _refuse_a_second(post)
        command = [sys.executable, "-m", "golive", "up", "--version", first_version]
        command += ["--config", str(settings.file)] if settings.file else []
        command += ["--env", environment] if environment else []
        log_file = settings.state_dir / "up.log"
        process = spawn(command, cwd=settings.root, env=dict(os.environ), log=log_file)
        asyncio.run(_until_up(post, process, log_file))
    finally:
        post.journal.close()
    click.echo(f"{settings.service} is up: {post.front} (log: {log_file})")
    return ExitCode.OK


async def _until_up(post: Station, process: Process, log_file: Path) -> None:
    deadline = time.monotonic() + DETACH_SECONDS
    while time.monotonic() < deadline:
        if not alive(process):
            raise UnavailableError(_last_words(log_file) or f"{post.settings.service}: the controller ended at once.")
        holder = controller_of(post.journal, post.settings)
        if holder is not None and holder.pid == process.pid and await _answers(post):
            return
        await asyncio.sleep(0.05)
    raise TimeoutExceededError(f"{post.settings.service}: not up after {DETACH_SECONDS:g} s. See {log_file}.")


def _last_words(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


async def _answers(post: Station) -> bool:
    """Whether the gateway has a split, and a healthy version under it."""
    if not post.front.alive():
        return False
    with suppress(GoliveError):
        split = await post.controller.world.router.observe()
        return split is not None and await post.front.answers(split.stable)
    return False
