"""
The contract of a deployer, as a test class: subclass it, give it a world, and what it checks is what is promised.

    class TestMyDeployer(DeployerContract):
        @pytest.fixture
        async def world(self): ...
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import pytest

from golive.errors import GoliveError, UsageError
from golive.rollout.ports import Arm, Condition, Deployer, FencedError, Health, UnknownVersionError


class DeployerWorld(Protocol):
    """A deployer and releases of a small service that obeys."""

    deployer: Deployer

    def another_deployer(self) -> Deployer:
        """The deployer of the controller that comes after a crash."""
        ...

    def add_release(self, version: str, behaviour: str = "good") -> None:
        """
        Make a release that can be prepared.

        *behaviour*: ``good``; ``unready`` starts and never becomes ready; ``crash`` ends at once with code 3 after
        printing ``no database``; ``stubborn`` ignores SIGTERM.
        """
        ...

    async def served_by(self, address: str) -> str | None:
        """The version that answers at *address*; None when nobody does."""
        ...

    async def kill(self, version: str) -> None:
        """End the instance of *version* from outside, without warning."""
        ...


class DeployerContract:
    """What every deployer does. *world* is a fixture of the subclass."""

    async def test_a_started_version_becomes_ready_and_answers(self, world: DeployerWorld) -> None:
        """At the address the deployer gave."""
        arm = await _ready(world, "v1")
        assert arm.version == "v1"
        assert await world.served_by(arm.address) == "v1"
        assert [one.version for one in world.deployer.running()] == ["v1"]

    async def test_starting_twice_finds_the_running_instance(self, world: DeployerWorld) -> None:
        """Also when it is still starting."""
        world.add_release("v1")
        await world.deployer.prepare("v1")
        first = await world.deployer.start("v1")
        assert await world.deployer.start("v1") == first
        assert list(world.deployer.running()) == [first]

    async def test_two_versions_run_side_by_side(self, world: DeployerWorld) -> None:
        """On addresses of their own."""
        one, two = await _ready(world, "v1"), await _ready(world, "v2")
        assert one.address != two.address
        assert [await world.served_by(arm.address) for arm in (one, two)] == ["v1", "v2"]

    async def test_the_next_controller_finds_what_runs(self, world: DeployerWorld) -> None:
        """And can look at it, start it again without a second instance, and end it."""
        arm = await _ready(world, "v1")
        later = world.another_deployer()
        assert list(later.running()) == [arm]
        assert (await later.condition("v1")).health is Health.READY
        assert await later.start("v1") == arm
        await later.stop("v1")
        assert await world.served_by(arm.address) is None

    async def test_stop_ends_a_version_and_is_safe_to_repeat(self, world: DeployerWorld) -> None:
        """Also for a version that never ran."""
        arm = await _ready(world, "v1")
        for version in ("v1", "v1", "never"):
            await world.deployer.stop(version)
        assert await world.served_by(arm.address) is None
        assert list(world.deployer.running()) == []
        assert (await world.deployer.condition("v1")).health is Health.DEAD

    async def test_a_controller_that_was_replaced_neither_starts_nor_stops_anything(self, world: DeployerWorld) -> None:
        """It may have slept while its successor did something else with the same versions."""
        arm = await _ready(world, "v1")
        world.add_release("v2")
        await world.deployer.prepare("v2")
        later = world.another_deployer()
        assert await later.start("v1", fence=2) == arm
        for act in (world.deployer.start("v2", fence=1), world.deployer.stop("v1", fence=1)):
            with pytest.raises(FencedError, match="expected fence 2 or higher, got 1"):
                await act
        assert list(world.deployer.running()) == [arm]
        await later.stop("v1", fence=2)
        await world.deployer.start("v2")  # a person
        assert [one.version for one in world.deployer.running()] == ["v2"]

    async def test_stop_ends_a_version_that_ignores_the_signal(self, world: DeployerWorld) -> None:
        """Once its grace is over."""
        arm = await _ready(world, "v1", "stubborn")
        await world.deployer.stop("v1")
        assert await world.served_by(arm.address) is None

    async def test_a_stopped_version_can_be_started_again(self, world: DeployerWorld) -> None:
        """A rollback may need it."""
        await _ready(world, "v1")
        await world.deployer.stop("v1")
        arm = await _ready(world, "v1")
        assert await world.served_by(arm.address) == "v1"

    async def test_a_version_that_is_not_ready_is_alive_and_says_why(self, world: DeployerWorld) -> None:
        """UNREADY or still STARTING, never READY, with a reason."""
        world.add_release("v1", "unready")
        await world.deployer.prepare("v1")
        await world.deployer.start("v1")
        condition = await _until(world, "v1", Health.UNREADY)
        assert "503" in condition.reason

    async def test_a_version_that_ends_at_once_is_dead_and_says_why(self, world: DeployerWorld) -> None:
        """With its exit code and the last thing it printed."""
        world.add_release("v1", "crash")
        await world.deployer.prepare("v1")
        await world.deployer.start("v1")
        condition = await _until(world, "v1", Health.DEAD)
        assert "code 3" in condition.reason
        assert "no database" in condition.reason

    async def test_a_killed_version_is_dead_and_can_be_started_again(self, world: DeployerWorld) -> None:
        """It is not running any more, and the next start makes a new instance."""
        await _ready(world, "v1")
        await world.kill("v1")
        await _until(world, "v1", Health.DEAD)
        assert list(world.deployer.running()) == []
        await world.deployer.start("v1")
        await _until(world, "v1", Health.READY)

    async def test_condition_answers_within_a_second(self, world: DeployerWorld) -> None:
        """Whatever state the version is in, and for one that never was (a loaded machine gets two)."""
        await _ready(world, "v1")
        for version in ("v1", "never"):
            began = time.monotonic()
            await world.deployer.condition(version)
            assert time.monotonic() - began < 2.0

    async def test_an_unknown_version_is_refused_naming_the_nearest(self, world: DeployerWorld) -> None:
        """Before anything was started."""
        world.add_release("v1.2.3")
        await world.deployer.prepare("v1.2.3")
        with pytest.raises(UnknownVersionError, match=r"v1\.2\.3"):
            await world.deployer.prepare("v1.2.4")
        with pytest.raises(UnknownVersionError):
            await world.deployer.start("v1.2.4")

    async def test_a_name_that_is_no_version_is_refused(self, world: DeployerWorld) -> None:
        """No name leads out of the deployer's folders."""
        for name in ("../v1", "", "/etc", "v 1", "-v", "x" * 65):
            for call in (world.deployer.prepare, world.deployer.start):
                with pytest.raises(UsageError, match="version"):
                    await call(name)

    async def test_preparing_twice_is_the_same_as_once(self, world: DeployerWorld) -> None:
        """A controller that resumes does it again."""
        world.add_release("v1")
        for _ in range(2):
            await world.deployer.prepare("v1")
        await world.deployer.start("v1")
        await _until(world, "v1", Health.READY)


class _Impatient(GoliveError):
    """A version did not get into the awaited condition."""


async def _ready(world: DeployerWorld, version: str, behaviour: str = "good") -> Arm:
    world.add_release(version, behaviour)
    await world.deployer.prepare(version)
    arm = await world.deployer.start(version)
    await _until(world, version, Health.READY)
    return arm


async def _until(world: DeployerWorld, version: str, health: Health) -> Condition:
    deadline = time.monotonic() + 30
    while (condition := await world.deployer.condition(version)).health is not health:
        if time.monotonic() > deadline:
            raise _Impatient(f"version {version}: expected {health}, got {condition}")
        await asyncio.sleep(0.02)
    return condition
