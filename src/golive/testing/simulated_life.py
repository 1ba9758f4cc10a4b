"""
One life of a controller in the simulated world: the ports through which it reaches the world, which stop working the
moment it is killed, and the points at which that can happen.

A point is an instant before or after something that lasts (a record of the journal, an answer, the lease, a write at a
router, a version started or stopped, a hook begun), or within a transaction of the journal, where nothing of it is
kept. Between what is done in the world and its record in the journal there is thus one on either side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from golive.errors import RefusedError, UnavailableError
from golive.rollout import events as ev
from golive.rollout.controller import Controller
from golive.rollout.journal import Answer, Entry, Journal, Request
from golive.rollout.lease import LEASE_FOR, Holder, Lease
from golive.rollout.machine import Phase, State
from golive.rollout.ports import (
    Arm,
    ArmSample,
    Capability,
    Condition,
    Health,
    Router,
    Sample,
    Split,
    UnconfirmedError,
)
from golive.rollout.routers.together import RoutersTogether
from golive.rollout.session import EVERY_ROUTE, JudgeMaker
from golive.testing.simulated_hooks import SimulatedHooks
from golive.testing.simulated_world import (
    NEW,
    OLD,
    PACE,
    READY_SECONDS,
    SERVICE,
    Killed,
    World,
    checked_fence,
    fresh_counts,
)

STALLS_SECONDS = (0.0, 4.0, 12.0)
"""How long a write of a controller that was stalled, and replaced meanwhile, is on its way: none, and two that are."""


class Incarnation:
    """
    One life of the controller.

    Attributes:
        dead: it was killed.
        stalled: another one took over at an instant at which this one was stalled.
    """

    def __init__(self, world: World, number: int, maker: JudgeMaker) -> None:
        self.world = world
        self.number = number
        self.maker = maker
        self.dead = asyncio.Event()
        self.stalled = False
        self.capabilities: frozenset[Capability] = frozenset()
        self.bounds: tuple[float, ...] = (0.1, 1.0)
        router: Router = self
        self.controller = Controller(
            SERVICE,
            journal=_MortalJournal(self),
            router=RoutersTogether(router, SimulatedClaims(self)) if world.faults.jobs else router,
            evidence=self,
            deployer=self,
            judges=maker,
            clock=world.clock,
            pace=PACE,
            lease=_MortalLease(self),
            hooks=SimulatedHooks(self),
        )

    # ---- the points

    def reach(self, point: str, *, alone: bool = False) -> int:
        """
        A point at which the fates may strike; its number.

        Args:
            alone: nobody else can write now, so that no rival comes here.
        """
        if self.dead.is_set():
            raise Killed
        world = self.world
        world.points.append(point)
        number = len(world.points)
        if number in world.faults.kills:
            self.dead.set()
            world.hooks.lose()
            raise Killed
        if number in world.faults.rivals and not alone:
            self.stalled = True
            world.usurp(self)
        return number

    async def arrive(self, point: str) -> None:
        """As :meth:`reach`, of a coroutine; a write that was on its way when its controller was replaced comes late."""
        try:
            number = self.reach(point)
        except Killed:
            await self.hang()
        else:
            if number in self.world.faults.rivals:
                await self._stall(STALLS_SECONDS[number % len(STALLS_SECONDS)])

    async def _stall(self, seconds: float) -> None:
        """Wait, whatever becomes of whoever waits for this write: it is on its way and cannot be called back."""
        until = self.world.now() + seconds
        while (left := until - self.world.now()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(left)

    def unlucky(self, chance: float) -> bool:
        """Whether something goes wrong now. Everything works again in the end, or nothing could be promised."""
        return self.world.now() < 1500 and self.world.random.random() < chance

    async def hang(self) -> None:
        """A dead process does nothing, for ever."""
        if self.dead.is_set():
            await asyncio.get_running_loop().create_future()

    def takes(self, split: Split) -> float:
        """Seconds until the gateway has *split*; going back is never slow."""
        return self.world.faults.slow if self.world.exposure(split) else 0.0

    # ---- Router

    async def ensure(self, arms: Sequence[Arm], *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        names = " ".join(arm.version for arm in arms)
        await self.arrive(f"before gateway: know {names}")
        self.world.fence = checked_fence(fence, self.world.fence)
        await asyncio.sleep(0.05)
        for arm in arms:
            self.world.known[arm.version] = arm.address
        await self.arrive(f"after gateway: know {names}")

    async def apply(self, split: Split, *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        chance, asked_at = self.world.faults.gateway, self.world.now()
        if self.unlucky(chance):
            raise UnavailableError("the gateway does not answer")
        self.world.check_destination(split)
        await self.arrive(f"before gateway: {split}")
        if self.unlucky(chance):
            await asyncio.sleep(self.world.random.uniform(0, 8))
        if slow := self.takes(split):
            await asyncio.sleep(slow)
        await self.hang()
        self.world.move(split, fence, asked_at)
        await self.arrive(f"after gateway: {split}")
        if self.unlucky(chance):
            raise UnconfirmedError("the gateway did not confirm")

    async def observe(self) -> Split | None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        return None if self.unlucky(self.world.faults.gateway) else self.world.split

    async def active(self, version: str) -> int:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        world = self.world
        world.in_flight[version] = world.random.choice((0, 0, 3))
        if world.faults.slow:
            since = world.asked.setdefault(version, world.now())
            world.in_flight[version] = 3 if world.now() < since + world.faults.slow else 0
        return world.in_flight[version]

    async def retire(self, version: str, *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        await self.arrive(f"before gateway: forget {version}")
        self.world.fence = checked_fence(fence, self.world.fence)
        if self._carries(version):
            self.world.fail(f"{version} was to be retired while it had traffic")
        if self.unlucky(self.world.faults.gateway):
            raise RefusedError("requests in flight")
        self.world.known.pop(version, None)
        await self.arrive(f"after gateway: forget {version}")

    def _carries(self, version: str) -> bool:
        split = self.world.split
        return version == split.stable or (version == split.candidate and split.weight > 0)

    # ---- Evidence

    async def sample(self) -> Sample:
        """See :class:`golive.rollout.ports.Evidence`."""
        await self.hang()
        world, chance = self.world, self.world.faults.evidence
        if self.unlucky(chance):
            raise UnavailableError("no answer from the counters")
        world.count()
        if self.unlucky(chance / 4):
            world.counts = fresh_counts()
            world.epoch += 1
        if world.frozen is not None and self.unlucky(chance):
            return world.frozen
        arms = {
            version: ArmSample({EVERY_ROUTE: count[0]}, {EVERY_ROUTE: count[1]}, [count[0], 0, 0])
            for version, count in world.counts.items()
        }
        world.frozen = Sample(world.clock.now(), str(world.epoch), arms)
        return world.frozen

    # ---- Deployer

    async def prepare(self, version: str) -> None:
        """See :class:`golive.rollout.ports.Deployer`."""
        await self.hang()

    async def start(self, version: str, *, fence: int | None = None) -> Arm:
        """See :class:`golive.rollout.ports.Deployer`."""
        await self.hang()
        await self.arrive(f"before start {version}")
        self._enter_deployer(fence)
        if not self.world.living(version):
            self.world.alive[version] = self.world.now()
        await self.arrive(f"after start {version}")
        return Arm(version, f"{version}:80")

    def _enter_deployer(self, fence: int | None) -> None:
        if fence is not None:
            self.world.deployer_fence = checked_fence(fence, self.world.deployer_fence)

    async def condition(self, version: str) -> Condition:
        """See :class:`golive.rollout.ports.Deployer`."""
        await self.hang()
        if not self.world.living(version):
            return Condition(Health.DEAD, "killed")
        if version == NEW and not self.world.faults.candidate_starts:
            return Condition(Health.STARTING, "still importing")
        ready = self.world.now() - self.world.alive[version] >= READY_SECONDS
        return Condition(Health.READY) if ready else Condition(Health.STARTING, "importing")

    async def stop(self, version: str, *, fence: int | None = None) -> None:
        """See :class:`golive.rollout.ports.Deployer`."""
        await self.hang()
        await self.arrive(f"before stop {version}")
        self._enter_deployer(fence)
        if self._carries(version):
            self.world.fail(f"{version} was stopped while it had traffic")
        if version in self.world.known and self.world.in_flight.get(version) == 0:
            self.world.fail(f"{version} was stopped, idle, before the gateway forgot it")
        self.world.alive.pop(version, None)
        await self.arrive(f"within stop {version}")
        self._enter_deployer(fence)
        await self.arrive(f"after stop {version}")

    def running(self) -> Sequence[Arm]:
        """See :class:`golive.rollout.ports.Deployer`."""
        return [Arm(version, f"{version}:80") for version in self.world.alive if self.world.living(version)]


class SimulatedClaims:
    """The jobs' router, as far as one life of the controller reaches it. Always there, and quick."""

    def __init__(self, life: Incarnation) -> None:
        self.life = life
        self.capabilities: frozenset[Capability] = frozenset()

    async def ensure(self, arms: Sequence[Arm], *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.life.hang()
        claims = self.life.world.claims
        claims.fence = checked_fence(fence, claims.fence)
        claims.known.update(arm.version for arm in arms)

    async def apply(self, split: Split, *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.life.hang()
        await self.life.arrive(f"before jobs: {split}")
        self.life.world.claims.move(split, fence)
        await self.life.arrive(f"after jobs: {split}")

    async def observe(self) -> Split | None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.life.hang()
        return self.life.world.claims.split

    async def active(self, _version: str) -> int:
        """See :class:`golive.rollout.ports.Router`."""
        await self.life.hang()
        return 0

    async def retire(self, version: str, *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.life.hang()
        world = self.life.world
        world.claims.fence = checked_fence(fence, world.claims.fence)
        if version == world.claims.split.stable or (
            version == world.claims.split.candidate and world.claims.split.weight
        ):
            world.fail(f"{version} was to be retired while it had jobs")
        world.claims.known.discard(version)


class _MortalJournal(Journal):
    """The world's journal, as far as this life of the controller reaches it."""

    def __init__(self, life: Incarnation) -> None:
        self.life = life
        self.connection = life.world.journal.connection

    def append(
        self, event: ev.AnyEvent, state: State, judge: dict[str, Any] | None, *, fence: int,
        answer: Answer | None = None,
    ) -> Entry:  # fmt: skip
        what = f"record of {type(event).__name__} in {state.phase}"
        self.life.reach(f"before {what}")
        before = self.service(SERVICE)
        entry = super().append(event, state, judge, fence=fence, answer=answer)
        self._examine(state, before.version if before else OLD)
        self.life.world.recorded(entry)
        self.life.reach(f"after {what}")
        return entry

    def _save(self, state: State, judge: dict[str, Any] | None) -> None:
        super()._save(state, judge)
        self.life.reach(f"within a record in {state.phase}", alone=True)

    def requests(self, service: str) -> list[Request]:
        if self.life.dead.is_set():
            raise Killed
        return super().requests(service)

    def answer(self, answer: Answer, at: datetime, *, service: str, fence: int) -> None:
        self.life.reach("before an answer")
        super().answer(answer, at, service=service, fence=fence)
        self.life.reach("after an answer")

    def adopt(self, service: str, version: str, at: datetime) -> None:
        self.life.reach(f"before {version} is adopted")
        super().adopt(service, version, at)
        self.life.reach(f"after {version} is adopted")

    def _examine(self, state: State, in_production: str) -> None:
        """What every controller that may write believes: the journal's version in production, and who has the users."""
        if self.life.controller.current != in_production:
            self.life.world.fail(f"in production is {in_production}, the controller has {self.life.controller.current}")
        if state.phase in (Phase.PROMOTING, Phase.RETIRING, Phase.LIVE) and state.split != Split(state.candidate):
            self.life.world.fail(f"a rollout that is {state.phase} wants {state.split}, not all for {state.candidate}")


class _MortalLease(Lease):
    """
    A lease that a killed controller neither renews nor gives back. Of the renewals in one phase of one stage only the
    first is a point: the others are the same.
    """

    def __init__(self, life: Incarnation) -> None:
        super().__init__(life.world.journal.connection, SERVICE, Holder(f"host-{life.number}", life.number, ""))
        self.life = life

    def acquire(self, now: datetime) -> int:
        if self.fence:  # it was taken at the point at which the other controller was stalled
            return self.fence
        self.life.reach("before the lease is taken")
        fence = super().acquire(now)
        self.life.reach("after the lease is taken")
        return fence

    def seize(self, now: datetime) -> None:
        """Take the lease of a holder whose term ran out unnoticed."""
        self.fence = super().acquire(now + 2 * LEASE_FOR)
        super().renew(now)

    def renew(self, now: datetime) -> None:
        if self.life.dead.is_set():
            raise Killed
        world = self.life.world
        if world.faults.usurper_at is not None and self.life.number == 0 and world.now() >= world.faults.usurper_at:
            return  # this one believes it still leads: its renewals get lost on the way
        state = world.journalled()
        where = (self.life.number, state and (state.id, state.phase, state.stage))
        told = self.life.reach if where not in world.renewed_in else _nobody
        world.renewed_in.add(where)
        told("before the lease is renewed")
        super().renew(now)
        told("after the lease is renewed")

    def release(self, now: datetime) -> None:
        if not self.life.dead.is_set():
            super().release(now)


def _nobody(_point: str) -> int:
    return 0


def usurper(life: Incarnation, number: int) -> Incarnation:
    """A second controller that has the lease from this instant on, while *life* goes on."""
    rival = Incarnation(life.world, number, life.maker)
    lease = rival.controller.lease
    assert isinstance(lease, _MortalLease)
    lease.seize(life.world.clock.now())
    return rival
