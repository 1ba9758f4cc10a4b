"""A canary for workers, whole: claims split in the store, what runs cost, verdict, journal, and the way back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from golive.jobs import JobContext, Jobs, JobsSettings
from golive.rollout import Judge
from golive.rollout import events as ev
from golive.rollout.journal import Journal
from golive.rollout.lease import Lease
from golive.rollout.machine import Phase, State, begin, decide
from golive.rollout.plan import Stage, make_plan
from golive.rollout.ports import Arm, Sample
from golive.rollout.session import Session
from golive.slo.row import Verdict
from golive.testing.jobs_running import finished, working
from golive.workers.evidence import JobEvidence
from golive.workers.router import ClaimRouter

T0 = datetime(2026, 1, 5, 9, tzinfo=UTC)
TICK = timedelta(seconds=10)
SLO = {"cost_per_job": {"target": "< $0.01", "alert_if": "> $0.05"}}
PLAN = make_plan([Stage(5000, timedelta(minutes=10)), Stage(10_000, timedelta(0))])
COST = {"v1": 0.002, "v2": 0.20}
BATCH = 24


def application(url: str, version: str) -> Jobs:
    """The service as *version*: its report costs what it costs."""
    jobs = Jobs(JobsSettings(url=url, version=version))

    @jobs.handler("report", queue="reports")
    async def report(_number: int, ctx: JobContext) -> str:
        ctx.spend(COST[version] / 2)
        ctx.spend(COST[version] / 2)
        return version

    return jobs


class Release:
    """One release of workers, ticked by hand: the ports, the judge and the journal are the real ones."""

    def __init__(self, jobs: Jobs, folder: Path) -> None:
        self.jobs = jobs
        self.router = ClaimRouter(jobs.store, folder / "claims.json", _lives)
        self.evidence = JobEvidence(jobs.store)
        self.journal = Journal(folder / "golive.db")
        self.fence = Lease(self.journal.connection, "reports").acquire(T0)
        self.state: State | None = None
        self.session: Session | None = None
        self.now = T0

    def happens(self, event: ev.AnyEvent) -> State:
        """*event* goes through the machine into the journal."""
        self.state = decide(self.state, event)[0] if self.state else begin(event)[0]
        self.journal.append(event, self.state, self.session and self.session.to_dict(), fence=self.fence)
        return self.state

    async def begin(self) -> None:
        """v2 gets half of the jobs."""
        await self.router.ensure([Arm("v1", "-"), Arm("v2", "-")], fence=self.fence)
        self.happens(
            ev.Started(at=T0, id="reports-1", service="reports", stable="v1", candidate="v2", plan=PLAN, judging={})
        )
        self.happens(ev.Deployed(at=T0, version="v2"))
        state = self.happens(ev.Ticked(at=T0)) if self.state.phase is Phase.SOAKING else self.state
        await self.router.apply(state.split, fence=self.fence)
        state = self.happens(ev.TrafficConfirmed(at=T0, split=state.split))
        judge = Judge(
            plan=PLAN.weights, slo=SLO, tick_s=10.0, histogram_bounds=self.evidence.bounds, routes=("*",), moves="jobs"
        )
        self.session = Session(judge, T0, ("*",), self.evidence.bounds)

    async def batch(self) -> set[str | None]:
        """Some jobs, to their end; the versions that ran them."""
        made = [await self.jobs.submit("report", number) for number in range(BATCH)]
        return {job.version for job in await asyncio.gather(*(finished(self.jobs, job) for job in made))}

    async def tick(self) -> ev.Verdict:
        """One look of the judge at what the store counted, ten seconds after the last."""
        self.now += TICK
        sample: Sample = replace(await self.evidence.sample(), at=self.now)
        assert self.session is not None
        verdict = self.session.look(self.state, sample)
        self.happens(verdict)
        return verdict


async def _lives(_version: str) -> bool:
    return True


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.process)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty job store."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/jobs.db"


async def test_workers_whose_jobs_cost_too_much_are_taken_back(url: str, tmp_path: Path) -> None:
    """
    ctx.spend -> store -> evidence -> journal -> row -> verdict -> claims: v2 spends twenty cents a job, v1 a fifth of
    one. The row fails with both figures, the journal holds them, and the next jobs are v1's alone.
    """
    versions = {version: application(url, version) for version in ("v1", "v2")}
    async with AsyncExitStack() as stack:
        for jobs in versions.values():
            await stack.enter_async_context(working(jobs))
        release = Release(versions["v1"], tmp_path)
        await release.begin()
        verdict: Any = None
        for _ in range(60):
            assert await release.batch() == {"v1", "v2"}
            verdict = await release.tick()
            if verdict.action == "rollback":
                break
        row = {each.name: each for each in verdict.rows}["cost_per_job"]
        assert row.verdict == Verdict.FAIL, row
        assert "$0.2" in row.sentence, row
        recorded = [entry.event for entry in release.journal.entries("reports-1")][-1]
        assert (recorded.action, recorded.rows) == ("rollback", verdict.rows)
        stable, canary = (counts["reports"] for counts in recorded.evidence["jobs"])
        assert canary["cost"] == pytest.approx(COST["v2"] * canary["ends"]["succeeded"])
        assert stable["cost"] == pytest.approx(COST["v1"] * stable["ends"]["succeeded"])
        assert release.state.phase is Phase.ROLLING_BACK
        await release.router.apply(release.state.split, fence=release.fence)
        assert await release.batch() == {"v1"}
        release.journal.close()
