"""What users test their jobs with: no worker, no database, no waiting; and the examples of the documentation."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from golive.jobs import JobContext, JobError, Jobs, JobsSettings, NotNow, State
from golive.testing.jobs_driven import driven

DOCS = Path(__file__).parents[2] / "docs" / "jobs.md"


@pytest.fixture
def service(tmp_path: Path) -> Jobs:
    """An application whose real store is never touched."""
    jobs = Jobs(JobsSettings(url=f"sqlite:///{tmp_path}/never.db", backoff_base=timedelta(hours=1)))

    @jobs.handler("flaky", attempts_max=3)
    async def flaky(succeeds_at: int, ctx: JobContext) -> int:
        if ctx.attempt < succeeds_at:
            raise JobError("busy", retryable=True)
        return ctx.attempt

    @jobs.handler("chain")
    async def chain(left: int) -> None:
        if left:
            await jobs.submit("chain", left - 1)

    @jobs.handler("plain")
    def plain(text: str) -> str:
        return text.upper()

    return jobs


async def test_retries_of_hours_take_no_time_and_all_attempts(service: Jobs, tmp_path: Path) -> None:
    """Real retries with real backoff, on a clock that jumps; the store that was configured is not touched."""
    began = time.monotonic()
    with driven(service) as drive:
        start = drive.now
        good, dead = await service.submit("flaky", 3), await service.submit("flaky", 9)
        ran = await drive.run_until_empty()
        assert {job.id: (job.state, job.attempts) for job in ran} == {
            good.id: (State.SUCCEEDED, 3), dead.id: (State.FAILED, 3),
        }  # fmt: skip
        assert drive.now - start >= 600  # half of ten minutes, twice: the ceiling of the backoff
    assert time.monotonic() - began < 30
    assert list(tmp_path.iterdir()) == []


async def test_jobs_that_submit_jobs_run_too(service: Jobs) -> None:
    """Until nothing is left; without an end the helper says so."""
    with driven(service) as drive:
        await service.submit("chain", 3)
        assert len(await drive.run_until_empty()) == 4

        @service.handler("never")
        async def never() -> None:
            raise NotNow(60)

        job = await service.submit("never")
        await service.pause("default")
        with pytest.raises(
            AssertionError, match=rf"expected every job to end, got 1 that do not, such as never {job.id}"
        ):
            await drive.run_until_empty()


async def test_inline_a_job_has_run_when_its_submission_returns(service: Jobs) -> None:
    """Retries and further jobs included; what is for later waits; within takes any connection."""
    with driven(service, inline=True) as drive:
        assert (await service.submit("flaky", 2)).result == b"2"
        assert (await service.submit("plain", "ü", within=object())).result == '"Ü"'.encode()
        assert (await service.submit("chain", 2)).state is State.SUCCEEDED
        later = await service.submit("plain", "x", run_at=datetime.fromtimestamp(drive.now + 60, UTC))
        assert later.state is State.PENDING
        (ran,) = await drive.advance("1m")
        assert (ran.id, ran.state) == (later.id, State.SUCCEEDED)


def test_a_test_without_an_event_loop_drives_a_service_over_http(service: Jobs) -> None:
    """FastAPI's TestClient has a loop of its own; the 202 comes with a job that has run."""
    app = FastAPI()
    app.include_router(service.router("plain", prefix="/api/plain"))
    with driven(service, inline=True) as drive, TestClient(app) as client:
        url = client.post("/api/plain/async", json="abc").headers["location"]
        assert client.get(url).json()["result"] == "ABC"
        assert asyncio.run(drive.waiting()) == []


async def test_a_day_of_schedules_passes_at_once(service: Jobs) -> None:
    """Each at its moment, in the declared zone."""
    moments: list[str] = []

    @service.handler("report")
    async def report(moment: str) -> None:
        moments.append(moment)

    service.cron("nightly", "30 2 * * *", handler="report", payload=str, timezone="Europe/Berlin")
    service.every("often", "8h", handler="report", payload=str)
    with driven(service, at=datetime(2026, 3, 28, 12, tzinfo=UTC)) as drive:
        assert len(await drive.advance("24h")) == 4
        assert len(await drive.advance(timedelta(seconds=1))) == 0
    assert moments == [
        "2026-03-28 16:00:00+00:00", "2026-03-29 00:00:00+00:00", "2026-03-29 01:00:00+00:00",
        "2026-03-29 08:00:00+00:00",
    ]  # fmt: skip


async def test_time_that_passes_runs_what_falls_due_in_its_order(service: Jobs) -> None:
    """And no further."""
    with driven(service) as drive:
        jobs = [
            await service.submit("plain", "x", run_at=datetime.fromtimestamp(drive.now + after, UTC))
            for after in (50, 10, 100)
        ]
        assert [job.id for job in await drive.advance("60s")] == [jobs[1].id, jobs[0].id]
        assert [job.id for job in await drive.waiting()] == [jobs[2].id]


async def test_the_examples_of_the_documentation_run() -> None:
    """Every Python block of "Testing", as it stands there."""
    section = DOCS.read_text().partition("## Testing")[2]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) >= 1
    for block in blocks:
        names: dict[str, Any] = {}
        exec(compile(block, str(DOCS), "exec"), names)  # as a user would paste it
        tests = [each for name, each in names.items() if name.startswith("test_")]
        assert tests
        for test in tests:
            if asyncio.iscoroutinefunction(test):
                await test()
            else:
                await asyncio.to_thread(test)
