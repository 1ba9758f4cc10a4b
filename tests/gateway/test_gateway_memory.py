"""The in-memory router is a router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from golive.errors import UnavailableError
from golive.rollout.ports import Arm, Capability, Split, UnconfirmedError
from golive.rollout.routers.memory import MemoryGateway, MemoryRouter
from golive.testing.routers import RouterContract


class MemoryWorld:
    """Modelled traffic in front of a modelled gateway."""

    def __init__(self) -> None:
        self.gateway = MemoryGateway()
        self.router = MemoryRouter(self.gateway)

    async def arm(self, version: str, *, healthy: bool = True) -> Arm:
        if not healthy:
            self.gateway.unhealthy.add(version)
        return Arm(version, "127.0.0.1:1")

    async def send(self, count: int = 1, *, client: str | None = None, forced: str | None = None) -> list[str | None]:
        answers = []
        for _ in range(count):
            await asyncio.sleep(0)
            answers.append(self.gateway.route(client, forced))
        return answers

    @asynccontextmanager
    async def hold(self, version: str) -> AsyncIterator[None]:
        self.gateway.active[version] += 1
        yield
        self.gateway.active[version] -= 1

    async def counted(self, version: str) -> int:
        return self.gateway.counted[version]

    async def restart(self) -> None:
        pass  # a model has nothing to lose

    def another_router(self) -> MemoryRouter:
        return MemoryRouter(self.gateway)


class TestMemoryRouter(RouterContract):
    """All capabilities, as Envoy."""

    capabilities = frozenset(Capability)

    @pytest.fixture
    async def world(self) -> MemoryWorld:
        return MemoryWorld()


async def _split(gateway: MemoryGateway) -> MemoryRouter:
    router = MemoryRouter(gateway)
    await router.ensure([Arm("v1", "127.0.0.1:1"), Arm("v2", "127.0.0.1:2")], fence=1)
    await router.apply(Split("v1"), fence=1)
    return router


async def test_a_lost_confirmation_leaves_the_change_made():
    """The controller sees an error and, when it looks, the split it wanted."""
    router = await _split(gateway := MemoryGateway())
    gateway.confirmations_lost = 1
    with pytest.raises(UnconfirmedError):
        await router.apply(Split("v1", "v2", 100), fence=1)
    assert await router.observe() == Split("v1", "v2", 100)


async def test_a_lost_change_leaves_the_traffic():
    """The same error, and the old split."""
    router = await _split(gateway := MemoryGateway())
    gateway.changes_lost = 1
    with pytest.raises(UnconfirmedError):
        await router.apply(Split("v1", "v2", 100), fence=1)
    assert await router.observe() == Split("v1")


async def test_drift_is_seen():
    """What somebody else did by hand is what observing says."""
    router = await _split(gateway := MemoryGateway())
    gateway.drift(Split("v1", "v2", 7_000))
    assert await router.observe() == Split("v1", "v2", 7_000)


async def test_an_unreachable_gateway_goes_on_splitting():
    """Nothing can be known or changed, and clients are served."""
    router = await _split(gateway := MemoryGateway())
    gateway.unreachable = True
    assert await router.observe() is None
    with pytest.raises(UnavailableError):
        await router.apply(Split("v1", "v2", 100), fence=1)
    assert gateway.route() == "v1"
