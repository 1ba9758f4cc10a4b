"""The service the process tests start and kill: one quick handler, one that holds its job, routes on plain ASGI."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from golive.jobs import JobContext, Jobs, JobsSettings

SECONDS = float(os.environ.get("COUNT_SECONDS", "0"))

jobs = Jobs(JobsSettings.from_env())


class Hold(msgspec.Struct):
    """Announce the run in *folder*; end when the file ``end`` is there."""

    folder: str


@jobs.handler("count", attempts_max=1000)
async def count(payload: int) -> int:
    """Next to no work, and a wait if one is asked for, so that a kill finds runs to interrupt."""
    await asyncio.sleep(SECONDS)
    return payload


@jobs.handler("hold", queue="slow")
async def hold(payload: Hold, ctx: JobContext) -> int:
    """Holds its job until it is let go."""
    folder = Path(payload.folder)
    (folder / f"attempt-{ctx.attempt}").touch()
    while not (folder / "end").exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.01)
    return ctx.attempt


app = jobs.asgi("count", prefix="/jobs")
