"""
The contract of an evidence source, as a test class: subclass it, give it a world, and what it checks is what is
promised.

    class TestMyEvidence(EvidenceContract):
        @pytest.fixture
        async def world(self): ...

The heart of it is what must never happen: a number that was not counted. A source that cannot say raises
UnavailableError, which holds the rollout; a version it knows nothing of has no entry, which holds as well.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from golive.errors import UnavailableError
from golive.rollout.ports import ArmSample, Evidence, Sample


class EvidenceWorld(Protocol):
    """A source of evidence together with the real or modelled work it counts, on the versions v1 and v2."""

    evidence: Evidence

    async def work(self, version: str, good: int, bad: int = 0) -> None:
        """Have *version* do so much, and return when it is done."""
        ...

    async def restart(self) -> None:
        """Have whoever counts begin again: kill it, start it, counters from zero where it keeps none."""
        ...

    async def outage(self, *, over: bool = False) -> None:
        """Make the source unable to answer, or able again."""
        ...

    def another(self) -> Evidence:
        """The source of another controller, on the same counters."""
        ...


def done(arm: ArmSample) -> tuple[int, int]:
    """Requests or runs of *arm*, and the failed ones, whatever it counts."""
    faults = ("failed", "retried", "lost")
    jobs = (arm.jobs or {}).values()
    runs = sum(number for counts in jobs for end, number in counts.ends.items() if end != "cancelled")
    failed = sum(counts.ends.get(end, 0) for counts in jobs for end in faults)
    return sum(arm.requests.values()) + runs, sum(arm.errors.values()) + failed


class EvidenceContract:
    """What every source of evidence does. *world* is a fixture of the subclass."""

    async def test_counts_are_by_version_and_grow_with_the_work(self, world: EvidenceWorld) -> None:
        """What v1 did is not in v2, good and bad apart."""
        await world.work("v1", 5)
        await world.work("v2", 3)
        before = await _counted(world, v1=5, v2=3)
        await world.work("v2", 4, bad=2)
        after = await _counted(world, v1=5, v2=9)
        assert _gained(before, after, "v1") == (0, 0)
        assert _gained(before, after, "v2") == (6, 2)

    async def test_reading_changes_nothing(self, world: EvidenceWorld) -> None:
        """Not for the next reading, nor for another controller."""
        await world.work("v1", 4, bad=1)
        await world.work("v2", 1)
        first = await _counted(world, v1=5, v2=1)
        again, other = await world.evidence.sample(), await world.another().sample()
        for version in ("v1", "v2"):
            assert done(again.arms[version]) == done(other.arms[version]) == done(first.arms[version])
        assert again.epoch == first.epoch

    async def test_every_number_can_be_one(self, world: EvidenceWorld) -> None:
        """No more errors than requests, nothing negative, a bucket for each bound and one above, ascending bounds."""
        await world.work("v1", 3, bad=3)
        await world.work("v2", 1)
        sample = await _counted(world, v1=6, v2=1)
        bounds = world.evidence.bounds
        assert list(bounds) == sorted(set(bounds))
        for arm in sample.arms.values():
            assert len(arm.latency) == len(bounds) + 1
            assert min((*arm.requests.values(), *arm.errors.values(), *arm.latency, arm.active)) >= 0
            assert all(arm.errors.get(route, 0) <= count for route, count in arm.requests.items())
            assert all(min((*counts.ends.values(), *counts.histogram), default=0) >= 0
                       for counts in (arm.jobs or {}).values())  # fmt: skip

    async def test_a_version_nobody_knows_has_no_entry(self, world: EvidenceWorld) -> None:
        """Zero would be a statement about it."""
        await world.work("v1", 1)
        assert "v9" not in (await _counted(world, v1=1)).arms

    async def test_the_instant_is_now_and_goes_forward(self, world: EvidenceWorld) -> None:
        """With its zone; evidence of another time would be held against the wrong traffic."""
        await world.work("v1", 1)
        before = datetime.now(UTC)
        first, second = await world.evidence.sample(), await world.evidence.sample()
        assert before - timedelta(seconds=5) <= first.at <= second.at <= datetime.now(UTC)

    async def test_counters_that_begin_again_are_another_epoch(self, world: EvidenceWorld) -> None:
        """In one epoch no count ever goes down: a difference across a restart would be nonsense."""
        await world.work("v1", 6, bad=2)
        await world.work("v2", 1)
        before = await _counted(world, v1=8, v2=1)
        await world.restart()
        await world.work("v1", 1)
        after = await _some(world, "v1")
        if after.epoch == before.epoch:
            gained = _gained(before, after, "v1")
            assert min(gained) >= 0

    async def test_an_outage_is_said_and_ends(self, world: EvidenceWorld) -> None:
        """Never an old sample, never an empty one; afterwards everything is as it was."""
        await world.work("v1", 2)
        await _counted(world, v1=2)
        await world.outage()
        with pytest.raises(UnavailableError):
            await world.evidence.sample()
        await world.outage(over=True)
        assert "v1" in (await _some(world, "v1")).arms


def _gained(before: Sample, after: Sample, version: str) -> tuple[int, int]:
    old, new = done(before.arms[version]), done(after.arms[version])
    return new[0] - old[0], new[1] - old[1]


async def _counted(world: EvidenceWorld, **least: int) -> Sample:
    """A sample in which each version has done as much; counters may lag a moment behind the work."""
    async with asyncio.timeout(20):
        while True:
            sample = await world.evidence.sample()
            if all(name in sample.arms and done(sample.arms[name])[0] >= count for name, count in least.items()):
                return sample
            await asyncio.sleep(0.02)


async def _some(world: EvidenceWorld, version: str) -> Sample:
    """The first sample after a restart or an outage that has something of *version*."""
    async with asyncio.timeout(20):
        while True:
            try:
                sample = await world.evidence.sample()
            except UnavailableError:
                sample = None
            if sample is not None and version in sample.arms and done(sample.arms[version])[0] > 0:
                return sample
            await asyncio.sleep(0.02)
