"""``golive worker module:app``: run the job handlers of an application until SIGTERM, then drain."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import click

from golive.errors import UsageError
from golive.jobs import Jobs
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


def find_jobs(target: str) -> Jobs:
    """
    The :class:`Jobs` that *target* ("module:name") is, or that the routes of the app it names belong to.

    Raises: UsageError when there is none, or the module cannot be imported.
    """
    module_name, _, name = target.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        if error.name != module_name and not module_name.startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not, and its own trace says more
        raise UsageError(
            f"{target}: expected a module that can be imported, got: {error}. Run in its folder."
        ) from error
    module = found
    for part in (name or "jobs").split("."):
        if not hasattr(found, part):
            raise UsageError(f"{target}: expected {module_name} to have {part!r}, got no such name.")
        found = getattr(found, part)
    candidates = {id(jobs): jobs for jobs in _candidates(found)}
    candidates = candidates or {id(each): each for each in vars(module).values() if isinstance(each, Jobs)}
    if len(candidates) != 1:
        raise UsageError(f"{target}: expected a golive.Jobs or an app that serves one, got {len(candidates)} of them. "
                         f"Name the object: {module_name}:jobs.")  # fmt: skip
    return next(iter(candidates.values()))


def _candidates(found: Any) -> Iterator[Jobs]:
    if isinstance(found, Jobs):
        yield found
        return
    for route in getattr(found, "routes", ()):
        jobs = getattr(getattr(route, "endpoint", None), "golive_jobs", None)
        if isinstance(jobs, Jobs):
            yield jobs
        yield from _candidates(route)
    for inner in (
        "app",
        "router",
        "original_router",
    ):  # middleware keeps what it wraps in .app; FastAPI what it includes
        if (wrapped := getattr(found, inner, None)) is not None and wrapped is not found:
            yield from _candidates(wrapped)


async def _work(jobs: Jobs, queues: tuple[str, ...], concurrency: int | None) -> None:
    async with jobs:
        worker = jobs.worker(queues=queues or None, concurrency=concurrency)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
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
