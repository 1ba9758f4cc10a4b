"""Controllers that die in the middle, or act at once: the traffic is always one they wanted, never a mixture."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.gateway.conftest import EnvoyWorld

from golive.rollout.ports import Arm, FencedError, Split
from golive.rollout.routers import envoy_files
from golive.rollout.routers.envoy import EnvoyRouter
from golive.rollout.routers.envoy_gateway import EnvoyGateway

pytestmark = pytest.mark.process


class Killed(BaseException):
    """The controller was killed at this write."""


class Killer:
    """Lets *writes* file replacements happen, then kills: instead of the next one, or right after it."""

    def __init__(self, writes: int, after: bool) -> None:
        self._left, self._after, self._real = writes, after, envoy_files.replace_file

    def __call__(self, path: Path, content: bytes) -> None:
        if self._left == 0 and not self._after:
            raise Killed
        self._real(path, content)
        if self._left == 0:
            raise Killed
        self._left -= 1


async def _release(router: EnvoyRouter, candidate: Arm, fence: int) -> None:
    """v1 -> v2 as a controller does it, whatever of it was done before."""
    await router.ensure([candidate], fence=fence)
    if await router.observe() != Split("v2"):
        await router.apply(Split("v1", "v2", 5_000), fence=fence)
    await router.apply(Split("v2"), fence=fence)
    await router.retire("v1", fence=fence)


@pytest.mark.parametrize("after", [False, True])
async def test_a_controller_killed_at_any_write_leaves_a_state_the_next_one_finishes(
    world: EnvoyWorld, monkeypatch: pytest.MonkeyPatch, after: bool
):
    """Requests are answered by a version in between, and the second controller gets to the same end."""
    first, second = await world.arm("v1"), await world.arm("v2")
    deaths = 0
    for writes in range(20):
        fence = 2 * writes + 1
        router = EnvoyRouter(EnvoyGateway(world.gateway.directory, world.gateway.settings))
        await router.ensure([first, second], fence=fence)
        await router.apply(Split("v1"), fence=fence)
        await router.retire("v2", fence=fence)
        with monkeypatch.context() as patch:
            patch.setattr(envoy_files, "replace_file", Killer(writes, after))
            try:
                await _release(router, second, fence)
            except Killed:
                deaths += 1
        assert set(await world.send(3)) <= {"v1", "v2"}
        assert await world.router.observe() in (Split("v1"), Split("v1", "v2", 5_000), Split("v2"))
        await _release(world.another_router(), second, fence + 1)
        assert await world.router.observe() == Split("v2")
        assert await world.send(3) == ["v2"] * 3
    assert deaths >= 5


async def test_of_two_controllers_at_once_the_one_with_the_lease_wins(world: EnvoyWorld):
    """Whatever the order of their writes, the old one is refused in the end and its split is not in force."""
    await world.router.ensure([await world.arm("v1"), await world.arm("v2")], fence=1)
    old, new = world.another_router(), world.another_router()
    refused = 0
    for number in range(20):
        fence, stale = 2 * number + 3, 2 * number + 2
        outcomes = await asyncio.gather(
            old.apply(Split("v1", "v2", 9_000), fence=stale),
            new.apply(Split("v1", "v2", 100), fence=fence),
            old.apply(Split("v1", "v2", 8_000), fence=stale),
            return_exceptions=True,
        )
        assert outcomes[1] is None
        assert all(outcome is None or isinstance(outcome, FencedError) for outcome in outcomes)
        refused += isinstance(outcomes[2], FencedError)
        assert await world.router.observe() == Split("v1", "v2", 100)
    assert refused
