"""``golive worker module:app``: run the job handlers of an application until SIGTERM, then drain."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

import click

from golive.chassis import garbage
from golive.jobs import Jobs
from golive.jobs.find import find_jobs
from golive.jobs.log import JsonLines


@click.command(name="worker")
@click.argument("target", metavar="MODULE:NAME")
@click.option("--queue", "queues", multiple=True, help="Serve only this queue; may be given several times.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Jobs run at the same time (default: the settings').")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def command(target: str, queues: tuple[str, ...], concurrency: int | None, log_level: str) -> None:
    """
    Run the job handlers of an application.

    MODULE:NAME is the golive.Jobs object, or the app that serves its routes. SIGTERM drains: running jobs may end
    within the grace, the rest is handed back to other workers. One JSON line per event goes to stdout.
    """
    _log_to_stdout(log_level.upper())
    jobs = find_jobs(target)
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        runner.run(_work(jobs, queues, concurrency))


async def _work(jobs: Jobs, queues: tuple[str, ...], concurrency: int | None) -> None:
    async with jobs:
        worker = jobs.worker(queues=queues or None, concurrency=concurrency)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        garbage.settle()
        await worker.run()


def _fast_loop() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _log_to_stdout(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
