"""How the verbs of ``golive jobs`` reach the store, and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from golive.errors import StateError
from golive.jobs.app import Jobs
from golive.jobs.settings import JobsSettings
from golive.jobs.stores.sqlite import SqliteStore

T = TypeVar("T")

output_option = click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)


def ask(settings: JobsSettings, work: Callable[[Jobs], Awaitable[T]]) -> T:
    """
    What *work* returns, given the open store of *settings*.

    Raises: StateError for a SQLite file that is not there: looking must not make one.
    """

    async def main() -> T:
        jobs = Jobs(settings)
        if isinstance(jobs.store, SqliteStore) and not jobs.store.path.exists():
            raise StateError(
                f"{jobs.store.path}: expected a job store, got no such file. Set GOLIVE_JOBS_URL or --store."
            )
        async with jobs:
            return await work(jobs)

    return asyncio.run(main())
