"""The numbers autoscalers look at, on the chassis' own registry."""

from __future__ import annotations

import asyncio

import pytest

from golive.chassis.exposition import render
from golive.chassis.metrics import Metrics
from golive.errors import ConfigError, UnavailableError
from golive.jobs import Jobs, JobsSettings, measures
from golive.jobs.measures import Measures
from golive.jobs.stats import Stats
from golive.testing.jobs_running import finished, until, working


def shown(metrics: Metrics) -> dict[str, float]:
    """The lines about jobs, as they are scraped."""
    lines = "".join(render(metrics, openmetrics=False)).splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("jobs_")]
    return {name: float(value) for name, value in pairs}


async def test_what_waits_runs_is_dead_and_paused_is_on_the_registry(jobs: Jobs) -> None:
    """By queue; a queue that has emptied is zero and not gone; runs only grow, however often they are counted."""
    metrics = Metrics()
    count = Measures(metrics, jobs.stats, lambda: 1000.0)

    @jobs.handler("work", queue="slow", attempts_max=1)
    async def work(number: int) -> float:
        return 1 / number

    async with jobs:
        await jobs.pause("slow")
        made = [await jobs.submit("work", number) for number in (0, 1, 2)]
        await count.once()
        first = shown(metrics)
        assert first['jobs_pending{queue="slow"}'] == 3
        assert first['jobs_queue_paused{queue="slow"}'] == 1
        assert first['jobs_oldest_seconds{queue="slow"}'] >= 0
        assert first["jobs_counted_timestamp_seconds"] == 1000
        await jobs.resume("slow")
        async with working(jobs, concurrency=3):
            for job in made:
                await finished(jobs, job)
            for _ in range(2):
                await count.once()
            assert shown(metrics)["jobs_worker_slots"] == 3
    last = shown(metrics)
    assert last['jobs_pending{queue="slow"}'] == last['jobs_queue_paused{queue="slow"}'] == 0
    assert last['jobs_dead{queue="slow"}'] == 1
    assert last['jobs_runs_total{kind="work",version="v7",end="succeeded"}'] == 2
    assert last['jobs_runs_total{kind="work",version="v7",end="failed"}'] == 1
    assert last['jobs_run_seconds_total{kind="work",version="v7",end="succeeded"}'] > 0


async def test_they_are_kept_while_the_application_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one task, however many routers there are; a store that is away does not end it."""
    monkeypatch.setattr(measures, "COUNT_SECONDS", 0.001)
    monkeypatch.setattr(measures, "REST_RATIO", 0.0)
    metrics, jobs = Metrics(), Jobs(JobsSettings(url="memory://"))
    counts: list[int] = []
    counted = jobs.stats

    async def count() -> Stats:
        counts.append(1)
        if len(counts) < 3:
            raise UnavailableError("away")
        return await counted()

    monkeypatch.setattr(jobs, "stats", count)
    jobs.measure(metrics)

    @jobs.handler("work")
    async def work() -> None: ...

    async with jobs.lifespan(), jobs.lifespan():
        await jobs.submit("work")
        tasks = [task for task in asyncio.all_tasks() if "Measures.run" in str(task.get_coro())]
        assert len(tasks) == 1

        async def there() -> bool:
            return shown(metrics).get('jobs_pending{queue="default"}') == 1

        await until(there)
    assert not [task for task in asyncio.all_tasks() if "Measures.run" in str(task.get_coro())]


def test_a_name_that_is_taken_is_said_at_once() -> None:
    """Two meanings of one name would be noticed on a dashboard."""
    metrics = Metrics()
    metrics.counter("jobs_pending", "Something else.")
    with pytest.raises(ConfigError, match="metric jobs_pending"):
        Jobs("memory://").measure(metrics)
