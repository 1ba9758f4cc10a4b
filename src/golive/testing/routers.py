"""
The contract of a router, as a test class: subclass it, give it a world, and what it checks is what is promised.

    class TestMyRouter(RouterContract):
        capabilities = frozenset({Capability.LOSSLESS})

        @pytest.fixture
        async def world(self): ...

A test that belongs to a capability does nothing for a suite that does not claim it; the claim itself is compared with
the router's.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from golive.errors import RefusedError, UnavailableError, UsageError
from golive.rollout.ports import WEIGHT_MAX, Arm, Capability, FencedError, Router, Split


class RouterWorld(Protocol):
    """A router together with real or modelled traffic."""

    router: Router

    async def arm(self, version: str, *, healthy: bool = True) -> Arm:
        """Start an instance that answers with its version."""
        ...

    async def send(self, count: int = 1, *, client: str | None = None, forced: str | None = None) -> list[str | None]:
        """Send requests, one after the other. Returns the version that answered each, None where the request failed."""
        ...

    def hold(self, version: str) -> AbstractAsyncContextManager[None]:
        """One request in flight on *version*, for as long as the block lasts."""
        ...

    async def counted(self, version: str) -> int:
        """How many requests the evidence has for *version*."""
        ...

    async def restart(self) -> None:
        """End the gateway without warning and start it again."""
        ...

    def another_router(self) -> Router:
        """The router of another controller in front of the same gateway."""
        ...


class RouterContract:
    """What every router does. *world* is a fixture of the subclass."""

    capabilities: frozenset[Capability] = frozenset()

    def test_claims_the_capabilities_its_suite_checks(self, world: RouterWorld) -> None:
        """A capability is claimed if and only if the suite was told to check it."""
        assert world.router.capabilities == self.capabilities

    async def test_apply_moves_all_of_the_traffic_and_reads_it_back(self, world: RouterWorld) -> None:
        """After the call every request goes where the split says, and observing says the same."""
        await _live(world, "v1", "v2")
        for split, version in (
            (Split("v1"), "v1"),
            (Split("v1", "v2", WEIGHT_MAX), "v2"),
            (Split("v1", "v2", 0), "v1"),
            (Split("v2"), "v2"),
        ):
            await world.router.apply(split, fence=1)
            assert await world.router.observe() == split
            assert set(await world.send(50)) == {version}

    async def test_a_share_of_the_requests_goes_to_the_candidate(self, world: RouterWorld) -> None:
        """At 25 % the candidate gets a quarter, within four standard deviations of 600 requests."""
        await _live(world, "v1", "v2")
        await world.router.apply(Split("v1", "v2", 2_500), fence=1)
        seen = Counter(await world.send(600))
        assert seen.keys() == {"v1", "v2"}
        assert abs(seen["v2"] - 150) < 4 * (600 * 0.25 * 0.75) ** 0.5

    async def test_ensure_never_moves_weight(self, world: RouterWorld) -> None:
        """A new version is known and gets nothing."""
        await _live(world, "v1")
        await world.router.ensure([await world.arm("v2")], fence=1)
        assert await world.router.observe() == Split("v1")
        assert set(await world.send(50)) == {"v1"}

    async def test_ensure_refuses_a_version_that_is_not_healthy(self, world: RouterWorld) -> None:
        """It says so in time, and the traffic stays where it was."""
        await _live(world, "v1")
        sick = await world.arm("v2", healthy=False)
        with pytest.raises(UnavailableError, match="v2"):
            await world.router.ensure([sick], fence=1)
        assert await world.router.observe() == Split("v1")
        assert set(await world.send(20)) == {"v1"}

    async def test_ensure_forgets_what_is_neither_given_nor_in_the_split(self, world: RouterWorld) -> None:
        """The versions of the split stay known without being given again."""
        await _live(world, "v1", "v2")
        await world.router.ensure([await world.arm("v3")], fence=1)
        await world.router.apply(Split("v1", "v3", 1), fence=1)
        with pytest.raises(ValueError, match="v2"):
            await world.router.apply(Split("v1", "v2", 1), fence=1)

    async def test_ensure_moves_a_version_to_its_new_address(self, world: RouterWorld) -> None:
        """A version that was started again answers at its new address once the call returns."""
        await _live(world, "v1")
        await world.router.ensure([await world.arm("v1")], fence=1)
        assert await world.send(30) == ["v1"] * 30

    async def test_a_version_never_ensured_is_refused(self, world: RouterWorld) -> None:
        """The error names it, and the traffic stays where it was."""
        await _live(world, "v1")
        with pytest.raises(ValueError, match="v9"):
            await world.router.apply(Split("v1", "v9", 100), fence=1)
        assert await world.router.observe() == Split("v1")

    async def test_a_name_that_is_no_version_is_refused(self, world: RouterWorld) -> None:
        """Names end up in files, headers and statistics, so they are checked where they come in."""
        arm = await world.arm("v1")
        for name in ("../v1", "", "v 1", "v%1", "x" * 65):
            with pytest.raises(UsageError, match="version"):
                await world.router.ensure([Arm(name, arm.address)], fence=1)

    async def test_a_lower_fence_changes_nothing(self, world: RouterWorld) -> None:
        """The controller that lost its lease is told so by every write, also through another router object."""
        await _live(world, "v1", "v2")
        await world.router.apply(Split("v1", "v2", 100), fence=7)
        late = world.another_router()
        with pytest.raises(FencedError):
            await late.apply(Split("v1", "v2", 5_000), fence=6)
        with pytest.raises(FencedError):
            await late.ensure([await world.arm("v3")], fence=6)
        with pytest.raises(FencedError):
            await late.retire("v2", fence=6)
        assert await late.observe() == Split("v1", "v2", 100)
        await late.apply(Split("v1"), fence=7)

    async def test_ensure_alone_takes_the_fence(self, world: RouterWorld) -> None:
        """A new controller is safe from the old one as soon as it has written anything."""
        await _live(world, "v1", "v2")
        await world.another_router().ensure([await world.arm("v3")], fence=9)
        with pytest.raises(FencedError):
            await world.router.apply(Split("v1"), fence=8)

    async def test_applying_twice_is_the_same_as_once(self, world: RouterWorld) -> None:
        """A controller that does not know whether its write arrived writes it again."""
        await _live(world, "v1", "v2")
        for _ in range(3):
            await world.router.apply(Split("v1", "v2", 300), fence=2)
        assert await world.router.observe() == Split("v1", "v2", 300)

    async def test_requests_in_flight_are_counted(self, world: RouterWorld) -> None:
        """Draining waits for this number, so it has to be right while traffic no longer goes there."""
        await _live(world, "v1", "v2")
        async with world.hold("v1"):
            await world.router.apply(Split("v1", "v2", WEIGHT_MAX), fence=1)
            assert await world.router.active("v1") == 1
            assert await world.router.active("v2") == 0
        await _until_idle(world, "v1")
        assert await world.router.active("never-seen") == 0

    async def test_retire_refuses_a_version_with_traffic_or_requests(self, world: RouterWorld) -> None:
        """Stable, a candidate with weight, and a version that still answers somebody stay."""
        await _live(world, "v1", "v2")
        await world.router.apply(Split("v1", "v2", 1), fence=1)
        for version in ("v1", "v2"):
            with pytest.raises(RefusedError, match=version):
                await world.router.retire(version, fence=1)
        await world.router.apply(Split("v2"), fence=1)
        async with world.hold("v1"):
            with pytest.raises(RefusedError, match="in flight"):
                await world.router.retire("v1", fence=1)

    async def test_retire_forgets_a_version_and_is_safe_to_repeat(self, world: RouterWorld) -> None:
        """The rest of the traffic does not notice."""
        await _live(world, "v1", "v2")
        await world.router.apply(Split("v1", "v2", 0), fence=1)
        await world.router.retire("v2", fence=1)
        await world.router.retire("v2", fence=1)
        assert await world.router.observe() == Split("v1")
        assert set(await world.send(30)) == {"v1"}
        with pytest.raises(ValueError, match="v2"):
            await world.router.apply(Split("v1", "v2", 1), fence=1)

    async def test_hundredths_of_a_percent_are_kept_exactly(self, world: RouterWorld) -> None:
        """1 basis point is read back as 1, and 9,999 as 9,999."""
        if Capability.HUNDREDTHS not in self.capabilities:
            return
        await _live(world, "v1", "v2")
        for weight in (1, 50, 9_999):
            await world.router.apply(Split("v1", "v2", weight), fence=1)
            assert await world.router.observe() == Split("v1", "v2", weight)

    async def test_a_client_who_is_in_stays_in_while_the_weight_grows(self, world: RouterWorld) -> None:
        """And each client gets the same version as long as the weight stays."""
        if Capability.STICKY not in self.capabilities:
            return
        await _live(world, "v1", "v2")
        clients = [uuid.uuid4().hex for _ in range(60)]
        inside: set[str] = set()
        for weight in (500, 2_000, 5_000, 9_000, WEIGHT_MAX):
            await world.router.apply(Split("v1", "v2", weight), fence=1)
            answers = {client: set(await world.send(2, client=client)) for client in clients}
            assert all(len(versions) == 1 for versions in answers.values())
            now = {client for client, versions in answers.items() if versions == {"v2"}}
            assert inside <= now
            inside = now
        assert inside == set(clients)

    async def test_different_releases_begin_with_different_clients(self, world: RouterWorld) -> None:
        """The clients who met the last version first are not the first ones again."""
        if Capability.STICKY not in self.capabilities:
            return
        await _live(world, "v1", "v2", "v3")
        clients = [str(number) for number in range(100)]
        firsts = []
        for candidate in ("v2", "v3"):
            await world.router.apply(Split("v1", candidate, 5_000), fence=1)
            firsts.append({c for c in clients if await world.send(client=c) == [candidate]})
        assert 10 < len(firsts[0] ^ firsts[1]) < 90

    async def test_a_version_can_be_asked_for_by_header(self, world: RouterWorld) -> None:
        """By name or role, at any weight, without being counted; an unknown name is as if nothing was asked."""
        if Capability.FORCED_HEADER not in self.capabilities:
            return
        await _live(world, "v1", "v2")
        await world.router.apply(Split("v1", "v2", 0), fence=1)
        before = await world.counted("v2")
        for word, version in (("v2", "v2"), ("candidate", "v2"), ("stable", "v1"), ("v1", "v1"), ("nope", "v1")):
            assert set(await world.send(10, forced=word)) == {version}, word
        assert await world.counted("v2") == before
        assert await world.router.observe() == Split("v1", "v2", 0)

    async def test_the_split_outlives_the_gateway(self, world: RouterWorld) -> None:
        """A gateway that was killed comes back on the split it had, and remembers the fence."""
        if Capability.RESTART_SAFE not in self.capabilities:
            return
        await _live(world, "v1", "v2")
        await world.router.apply(Split("v1", "v2", WEIGHT_MAX), fence=4)
        await world.restart()
        assert await world.router.observe() == Split("v1", "v2", WEIGHT_MAX)
        assert set(await world.send(30)) == {"v2"}
        with pytest.raises(FencedError):
            await world.router.apply(Split("v1"), fence=3)

    async def test_a_change_of_traffic_drops_nothing(self, world: RouterWorld) -> None:
        """Requests sent while the weight goes up and down are all answered."""
        if Capability.LOSSLESS not in self.capabilities:
            return
        await _live(world, "v1", "v2")
        sending = asyncio.create_task(world.send(400))
        weight = 0
        while not sending.done():
            weight = (weight + 2_500) % (WEIGHT_MAX + 1)
            await world.router.apply(Split("v1", "v2", weight), fence=1)
            await asyncio.sleep(0)
        assert None not in await sending


async def _live(world: RouterWorld, stable: str, *others: str) -> None:
    """Every version known, all traffic on *stable*."""
    await world.router.ensure([await world.arm(version) for version in (stable, *others)], fence=1)
    await world.router.apply(Split(stable), fence=1)


async def _until_idle(world: RouterWorld, version: str) -> None:
    async with asyncio.timeout(10):
        while await world.router.active(version):  # noqa: ASYNC110 - a gateway cannot wake us
            await asyncio.sleep(0.01)
