"""What a job costs: said by its handler, kept with it, by version, and read by the evidence."""

from __future__ import annotations

import asyncio
import json

import pytest

from golive.jobs import JobContext, JobError, Jobs, State
from golive.jobs.document import document
from golive.testing.jobs_running import finished, until, working
from golive.workers.evidence import JobEvidence


async def test_the_cost_of_all_runs_is_the_jobs_and_the_versions(jobs: Jobs) -> None:
    """Successes, retries and failures alike; shown to the client; per queue in the evidence of the judge."""

    @jobs.handler("ask", queue="models", attempts_max=2)
    async def ask(good: bool, ctx: JobContext) -> None:
        ctx.spend(0.01)
        ctx.spend(0.002)
        if not good:
            raise JobError("busy", retryable=True)

    @jobs.handler("free", queue="models")
    async def free() -> None: ...

    async with jobs:
        async with working(jobs):
            made = [await jobs.submit("ask", True), await jobs.submit("ask", False), await jobs.submit("free")]
            good, bad, nothing = [await finished(jobs, job) for job in made]
        assert (good.cost, nothing.cost) == (pytest.approx(0.012), None)
        assert (bad.state, bad.cost) == (State.FAILED, pytest.approx(0.024))
        assert json.loads(document(bad))["cost_dollars"] == 0.024
        assert "cost_dollars" not in json.loads(document(nothing))
        assert await jobs.store.costs() == {("v7", "ask"): pytest.approx(0.036)}
        sample = await JobEvidence(jobs.store).sample()
        counted = sample.arms["v7"].jobs
        assert counted is not None
        assert counted["models"].cost == pytest.approx(0.036)


async def test_a_cancelled_run_has_cost_what_it_has(jobs: Jobs) -> None:
    """The money is spent all the same."""
    started = asyncio.Event()

    @jobs.handler("ask")
    async def ask(ctx: JobContext) -> None:
        ctx.spend(0.5)
        started.set()
        await asyncio.sleep(600)

    async with working(jobs):
        job = await jobs.submit("ask")
        await asyncio.wait_for(started.wait(), 20)
        await jobs.cancel(job.id)
        done = await finished(jobs, job)
    assert (done.state, done.cost) == (State.CANCELLED, 0.5)


async def test_an_amount_that_is_none_is_refused(jobs: Jobs) -> None:
    """Negative, infinite, not a number."""

    @jobs.handler("ask")
    async def ask(ctx: JobContext) -> None:
        for wrong in (-0.01, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="expected US dollars"):
                ctx.spend(wrong)

    async with working(jobs):
        done = await finished(jobs, await jobs.submit("ask"))
    assert (done.state, done.cost) == (State.SUCCEEDED, None)


async def test_nothing_new_is_begun_while_a_worker_drains(jobs: Jobs) -> None:
    """Schedules are left to the workers that stay."""
    started, go_on = asyncio.Event(), asyncio.Event()

    @jobs.handler("long")
    async def long() -> None:
        started.set()
        await go_on.wait()

    @jobs.handler("tick")
    async def tick() -> None: ...

    jobs.every("tick", "1s")
    async with jobs, working(jobs) as worker:
        await jobs.submit("long")
        await asyncio.wait_for(started.wait(), 20)
        worker.stop()

        async def chores_ended() -> bool:
            return not [task for task in asyncio.all_tasks() if "_kept_going" in str(task.get_coro())]

        await until(chores_ended)
        go_on.set()
