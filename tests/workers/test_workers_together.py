"""Requests and jobs as one router and one source of evidence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from golive.errors import UnavailableError
from golive.jobs import JobError, Jobs, JobsSettings
from golive.jobs.stores.memory import MemoryStore
from golive.rollout.evidence.together import EvidenceTogether
from golive.rollout.ports import Arm, ArmSample, Capability, FencedError, JobCounts, Sample, Split, UnconfirmedError
from golive.rollout.routers.memory import MemoryGateway, MemoryRouter
from golive.rollout.routers.together import RoutersTogether
from golive.testing.jobs_running import finished, working
from golive.testing.routers import RouterContract
from golive.workers.evidence import JobEvidence


class TogetherWorld:
    """Two modelled gateways; a client is answered by both, and both must agree."""

    def __init__(self) -> None:
        self.gateways = [MemoryGateway(), MemoryGateway()]
        self.router = self.another_router()

    def another_router(self) -> RoutersTogether:
        return RoutersTogether(*(MemoryRouter(gateway) for gateway in self.gateways))

    async def arm(self, version: str, *, healthy: bool = True) -> Arm:
        if not healthy:
            self.gateways[1].unhealthy.add(version)
        return Arm(version, "127.0.0.1:1")

    async def send(self, count: int = 1, *, client: str | None = None, forced: str | None = None) -> list[str | None]:
        answers = []
        for number in range(count):
            await asyncio.sleep(0)
            both = {gateway.route(client or str(number), forced) for gateway in self.gateways}
            answers.append(both.pop() if len(both) == 1 else None)
        return answers

    @asynccontextmanager
    async def hold(self, version: str) -> AsyncIterator[None]:
        self.gateways[1].active[version] += 1
        yield
        self.gateways[1].active[version] -= 1

    async def counted(self, version: str) -> int:
        return sum(gateway.counted[version] for gateway in self.gateways)

    async def restart(self) -> None:
        self.router = self.another_router()


class TestRoutersTogether(RouterContract):
    """What both can."""

    capabilities = frozenset(Capability)

    @pytest.fixture
    async def world(self) -> TogetherWorld:
        return TogetherWorld()


async def _live(world: TogetherWorld) -> None:
    await world.router.ensure([Arm("v1", "127.0.0.1:1"), Arm("v2", "127.0.0.1:2")], fence=1)
    await world.router.apply(Split("v1"), fence=1)


async def test_one_that_does_not_answer_keeps_no_other_from_being_lowered() -> None:
    """The change is not confirmed, and half of the way back is made."""
    world = TogetherWorld()
    await _live(world)
    await world.router.apply(Split("v1", "v2", 5_000), fence=1)
    world.gateways[0].changes_lost = 1
    with pytest.raises(UnconfirmedError):
        await world.router.apply(Split("v1", "v2", 0), fence=1)
    assert world.gateways[1].split == Split("v1", "v2", 0)
    assert await world.router.observe() == Split("v1", "v2", 5_000)


async def test_a_disagreement_is_seen_as_what_differs_from_the_plan() -> None:
    """More than wanted or less; another controller, which knows no plan, sees nothing certain and writes anew."""
    world = TogetherWorld()
    await _live(world)
    await world.router.apply(Split("v1", "v2", 3_000), fence=1)
    for other in (8_000, 100):
        world.gateways[1].drift(Split("v1", "v2", other))
        assert await world.router.observe() == Split("v1", "v2", other)
    assert await world.another_router().observe() is None
    world.gateways[0].unreachable = True
    assert await world.router.observe() is None


async def test_a_lost_lease_is_told_before_anything_else() -> None:
    """The controller must stop, whatever the other one said."""
    world = TogetherWorld()
    await _live(world)
    await MemoryRouter(world.gateways[1]).apply(Split("v1"), fence=9)
    world.gateways[0].unreachable = True
    with pytest.raises(FencedError):
        await world.router.apply(Split("v1", "v2", 1), fence=1)


class Fixed:
    """A source that says one thing."""

    bounds = (1.0,)

    def __init__(self, sample: Sample | None) -> None:
        self._sample = sample

    async def sample(self) -> Sample:
        if self._sample is None:
            raise UnavailableError("the store is away")
        return self._sample


def _sample(epoch: str, **arms: ArmSample) -> Sample:
    return Sample(datetime(2026, 1, 1, tzinfo=UTC), epoch, arms)


async def test_evidence_is_joined_by_version_and_never_half() -> None:
    """Requests of the first, jobs and levels of the others; a version one of them does not know stays without."""
    web = ArmSample({"*": 5}, {"*": 1}, [5, 0])
    jobs = ArmSample({}, {}, [0], jobs={"q": JobCounts({"succeeded": 3})})
    levels = ArmSample({}, {}, [0], levels={"memory_ratio": 0.5})
    first = Fixed(_sample("e1", v1=web, v2=web))
    sample = await EvidenceTogether(
        first, Fixed(_sample("e2", v1=jobs, v3=jobs)), Fixed(_sample("e3", v1=levels))
    ).sample()  # type: ignore[arg-type]
    assert sample.epoch == "e1"
    assert sample.arms == {
        "v1": ArmSample({"*": 5}, {"*": 1}, [5, 0], jobs=jobs.jobs, levels={"memory_ratio": 0.5}), "v2": web,
    }  # fmt: skip
    with pytest.raises(UnavailableError, match="the store is away"):
        await EvidenceTogether(first, Fixed(None)).sample()  # type: ignore[arg-type]


async def test_jobs_are_counted_by_version_and_queue(tmp_path: Path) -> None:
    """By the queue of their handler; a version of the rule that ran nothing has an empty entry, a stranger none."""
    store = MemoryStore()
    jobs = Jobs(JobsSettings(version="v1"), store=store)

    @jobs.handler("pdf", queue="reports", attempts_max=1)
    async def pdf(number: int) -> int:
        if number:
            raise JobError("no", retryable=False)
        return number

    @jobs.handler("mail")
    async def mail(number: int) -> int:
        return number

    async with working(jobs):
        for kind, number in (("pdf", 0), ("pdf", 1), ("mail", 0)):
            await finished(jobs, await jobs.submit(kind, number))
        await jobs.split_claims("v2", 0)
        sample = await JobEvidence(store).sample()
    assert sample.arms.keys() == {"v1", "v2"}
    assert sample.arms["v2"].jobs == {}
    mine = sample.arms["v1"].jobs
    assert mine is not None
    assert {queue: counts.ends for queue, counts in mine.items()} == {
        "reports": {"failed": 1, "succeeded": 1}, "default": {"succeeded": 1},
    }  # fmt: skip
    assert sum(mine["reports"].histogram) == 2
    assert len(mine["reports"].histogram) == len(JobEvidence.bounds) + 1
