"""The application of test_jobs_rq.py, as an ``rq worker`` imports it: settings from the environment."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import golive
from golive.jobs import JobContext, JobError

jobs = golive.Jobs.from_env()
runs = Path(os.environ["RUNS_FILE"])


@jobs.handler("enrichment", queue="enrichment", attempts_max=3, timeout="30s")
async def enrichment(how: str, ctx: JobContext) -> str:
    """Leaves a line for each run; *how* says the rest."""
    with runs.open("a") as file:
        file.write(f"{ctx.id} {ctx.attempt} {os.getpid()}\n")
    ctx.progress(0.5, "half")
    if how == "retry" and ctx.attempt == 1:
        raise JobError("busy", retryable=True)
    if how == "dead":
        raise JobError("broken", "it broke")
    if how == "hang" and ctx.attempt == 1:
        await asyncio.sleep(600)
    return f"done: {how}"


@jobs.handler("ai_analysis", queue="ai_analysis")
def ai_analysis(number: int) -> int:
    """A plain function."""
    return number * 2


def of_rq_itself(text: str) -> str:
    """What the team's own code enqueues without golive."""
    return text.upper()
