"""Job claims are a router: the shipped contract with real workers, and what is special about jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from golive.jobs import Job, Jobs, JobsSettings
from golive.jobs.split import Split as Rule
from golive.rollout.ports import Arm, Capability, Split
from golive.testing.jobs_running import finished, until
from golive.testing.routers import RouterContract
from golive.workers.router import ClaimRouter


class ClaimWorld:
    """A worker per version on one file; a request is a job, answered by the version that ran it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = self._jobs("")
        self.working: dict[str, asyncio.Task[None]] = {}
        self.stopping: dict[str, object] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.router = self.another_router()

    def _jobs(self, version: str) -> Jobs:
        jobs = Jobs(JobsSettings(url=f"sqlite:///{self.folder}/jobs.db", version=version or None, concurrency=16))

        @jobs.handler("work")
        async def work(number: int) -> str:
            return version

        @jobs.handler("hold")
        async def hold(number: int) -> str:
            await self.held[version].wait()
            return version

        return jobs

    async def arm(self, version: str, *, healthy: bool = True) -> Arm:
        if healthy and version not in self.working and version.isalnum():
            jobs = self._jobs(version)
            await jobs.__aenter__()
            worker = jobs.worker()
            self.working[version] = asyncio.create_task(worker.run())
            self.stopping[version] = (worker, jobs)
        return Arm(version, "-")

    async def _works(self, version: str) -> bool:
        return version in self.working

    async def send(self, count: int = 1, *, client: str | None = None, forced: str | None = None) -> list[str | None]:
        jobs = await asyncio.gather(*(self.client.submit("work", number) for number in range(count)))
        done = await asyncio.gather(*(finished(self.client, job) for job in jobs))
        return [job.version for job in done]

    @asynccontextmanager
    async def hold(self, version: str) -> AsyncIterator[None]:
        """The client's next job is held by *version*, whoever has the traffic: it alone may claim meanwhile."""
        before = await self.client.store.split()
        self.held[version] = asyncio.Event()
        await self.client.store.set_split(Rule(version, 10_000, "held", version))
        job = await self.client.submit("hold", 1)

        async def taken() -> Job | None:
            found = await self.client.get(job.id)
            return found if found and found.version == version else None

        await until(taken)
        await self.client.store.set_split(before)
        try:
            yield
        finally:
            self.held[version].set()
            await finished(self.client, job)

    async def counted(self, version: str) -> int:
        return sum(tally.runs for tally in await self.client.store.runs() if tally.version == version)

    async def restart(self) -> None:
        await self.router.store.close()
        self.router = self.another_router()

    def another_router(self) -> ClaimRouter:
        return ClaimRouter(self._jobs("").store, self.folder / "claims.json", self._works, ensure_seconds=0.3)

    async def close(self) -> None:
        for worker, _ in self.stopping.values():
            worker.stop()
        await asyncio.gather(*self.working.values())
        for _, jobs in self.stopping.values():
            await jobs.__aexit__(None, None, None)
        await self.client.store.close()
        await self.router.store.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ClaimWorld]:
    made = ClaimWorld(tmp_path)
    await made.client.store.open()
    yield made
    await made.close()


class TestClaimRouter(RouterContract):
    """Lossless, exact to a hundredth, outlives the store's process. A job has no user and no header."""

    capabilities = frozenset({Capability.LOSSLESS, Capability.RESTART_SAFE, Capability.HUNDREDTHS})


async def test_a_new_release_gets_no_job_before_its_turn(world: ClaimWorld) -> None:
    """Nor do workers that nobody told golive about, with or without a version."""
    await world.router.ensure([await world.arm("v1")], fence=1)
    await world.router.apply(Split("v1"), fence=1)
    for stranger in ("v2", "v3"):
        await world.arm(stranger)
    assert set(await world.send(40)) == {"v1"}
    assert await world.client.store.split() == Rule("v1", 10_000, "v1", "v1")


@pytest.mark.parametrize(
    ("by_hand", "seen"),
    [(None, Split("v1", "v2", 10_000)), (Rule("v2", 9_000, "v2"), Split("v1", "v2", 9_000)),
     (Rule("v9", 10, "v9"), Split("v1", "v9", 10))],
)  # fmt: skip
async def test_what_somebody_did_by_hand_is_seen(world: ClaimWorld, by_hand: Rule | None, seen: Split) -> None:
    """Another share, another version; and an ended rule as the worst it may mean, so that the plan is restored."""
    await world.router.ensure([await world.arm("v1"), await world.arm("v2")], fence=1)
    await world.router.apply(Split("v1", "v2", 500), fence=1)
    await world.client.store.set_split(by_hand)
    assert await world.router.observe() == seen


async def test_without_a_rule_and_without_a_memory_nothing_is_known(world: ClaimWorld) -> None:
    """Before the first write there is no split to speak of."""
    assert await world.router.observe() is None
    assert await world.router.active("v1") == 0
    await world.router.retire("v1", fence=1)


async def test_a_spoilt_file_stops_the_controller_and_not_the_jobs(world: ClaimWorld) -> None:
    """It is named; the rule in the store stays as it is."""
    from golive.errors import StateError

    await world.router.ensure([await world.arm("v1")], fence=1)
    await world.router.apply(Split("v1"), fence=1)
    (world.folder / "claims.json").write_text("{")
    with pytest.raises(StateError, match=r"claims\.json: expected what golive wrote"):
        await world.router.apply(Split("v1"), fence=2)
    assert await world.router.observe() is None
    assert set(await world.send(3)) == {"v1"}
