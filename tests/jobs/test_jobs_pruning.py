"""Finished jobs leave the store when their time is over."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from golive.errors import ConfigError, UnavailableError
from golive.jobs import Jobs, JobsSettings, State, pruning
from golive.jobs.pruning import Pruner
from golive.testing.jobs_running import finished, until, working


async def test_a_worker_removes_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Succeeded jobs at once where nothing is kept; failed ones stay."""
    monkeypatch.setattr(pruning, "PASS_SECONDS_MIN", 0.01)
    jobs = Jobs(JobsSettings(url="memory://", keep_succeeded=timedelta(0), attempts_max=1))

    @jobs.handler("work")
    async def work(number: int) -> float:
        return 1 / number

    async with working(jobs):
        bad = await finished(jobs, await jobs.submit("work", 0))
        good = await jobs.submit("work", 1)

        async def gone() -> bool:
            return await jobs.get(good.id) is None

        await until(gone)
        assert await jobs.get(bad.id) is not None


async def test_a_pass_goes_through_the_whole_table_in_steps(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the step's size."""
    monkeypatch.setattr(pruning, "STEP_MAX", 7)

    @jobs.handler("work")
    async def work() -> None: ...

    async with jobs:
        made = [await jobs.submit("work") for _ in range(30)]
        for job in made[::2]:
            await jobs.cancel(job.id)
        await asyncio.sleep(0.005)  # ids are in whole milliseconds: what was made in this one is too young
        assert await Pruner(jobs.store, {State.CANCELLED: 0.0}).once() == 15
        assert len(await jobs.store.page(50, state=None, kind=None, before=None)) == 15


async def test_a_store_that_is_away_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning is no reason to stop a worker."""
    monkeypatch.setattr(pruning, "PASS_SECONDS_MIN", 0.001)
    asked: list[int] = []

    class _Away:
        async def prune(self, *_: object) -> None:
            asked.append(1)
            raise UnavailableError("away")

    task = asyncio.create_task(Pruner(_Away(), {State.FAILED: 0.0}).run())  # type: ignore[arg-type]

    async def thrice() -> bool:
        return len(asked) >= 3

    await until(thrice)
    task.cancel()


def test_keeping_is_set_by_state() -> None:
    """A duration or for ever; anything else is refused with the variable's name."""
    settings = JobsSettings.from_env({"GOLIVE_JOBS_KEEP_SUCCEEDED": "2h", "GOLIVE_JOBS_KEEP_FAILED": "forever"})
    assert settings.keep_seconds == {State.SUCCEEDED: 7200.0, State.CANCELLED: 7 * 86_400.0}
    with pytest.raises(ConfigError, match="GOLIVE_JOBS_KEEP_CANCELLED: expected a duration"):
        JobsSettings.from_env({"GOLIVE_JOBS_KEEP_CANCELLED": "never"})
