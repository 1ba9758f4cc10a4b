"""
The world of the simulator: what runs, where the traffic goes, how often it fails, and the ports through which one life
of a controller reaches it. It keeps the truth and checks, at every write, what must hold whatever happens.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

import msgspec

from golive.errors import RefusedError, UnavailableError
from golive.rollout import events as ev
from golive.rollout.controller import Controller
from golive.rollout.journal import Entry, Journal
from golive.rollout.lease import Holder, Lease
from golive.rollout.machine import Phase, State
from golive.rollout.pace import Pace
from golive.rollout.ports import (
    Arm,
    ArmSample,
    Capability,
    Condition,
    FencedError,
    Health,
    Sample,
    Split,
    UnconfirmedError,
)
from golive.rollout.session import EVERY_ROUTE, JudgeMaker, Snapshot
from golive.testing.simulated_hooks import HookRecord, SimulatedHooks
from golive.testing.virtual import VirtualClock

SERVICE, OLD, NEW = "web", "v1", "v2"
PACE = Pace(
    tick=timedelta(seconds=10),
    probe=timedelta(seconds=2),
    inbox=timedelta(seconds=1),
    renew=timedelta(seconds=2),
    ready=timedelta(seconds=60),
    drain=timedelta(seconds=10),
)


class Broken(AssertionError):
    """An invariant does not hold. The message begins with the seed."""


class Killed(BaseException):
    """The controller was killed at this instruction."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """
    What goes wrong in one world. Probabilities 0..1 are per call; instants are virtual seconds.

    Attributes:
        gateway: a write is refused, confirmed late, or done without confirmation.
        evidence: a reading fails, is stale, or the counters start again.
        error_ratio: the share of the candidate's requests that fail (stable: 0.2 %).
        candidate_starts: whether it ever becomes ready.
        candidate_dies_at, stable_dies_at: None never.
        kills: the numbers of the writes at which the controller is killed, before or after the write.
        usurper_at: when a second controller takes over although the first one lives.
        people: (at, verb) requests.
        hook_fails: a hook fails; *hook_lost*: one that runs when a controller is killed is never heard of again.
    """

    gateway: float = 0.0
    evidence: float = 0.0
    error_ratio: float = 0.002
    candidate_starts: bool = True
    candidate_dies_at: float | None = None
    stable_dies_at: float | None = None
    kills: tuple[int, ...] = ()
    usurper_at: float | None = None
    people: tuple[tuple[float, str], ...] = ()
    hook_fails: float = 0.0
    hook_lost: float = 0.0


class Outcome(msgspec.Struct, frozen=True):
    """
    How one simulated rollout ended.

    Attributes:
        took: virtual seconds.
        abort_seconds: from the answered abort to weight 0 at the gateway, when somebody aborted in time.
        failed_requests: of the candidate, as far as users saw them.
    """

    state: State
    entries: list[Entry]
    took: float
    kills: int
    abort_seconds: float | None
    failed_requests: int


class SimpleJudge:
    """A stand-in for the judge: quick, deterministic, right enough to drive the machine. Not for production."""

    def __init__(self) -> None:
        self.base = [0, 0]

    def observe(self, snapshot: Snapshot) -> Any:
        """Half per cent more errors than usual on 300 requests is a regression, fewer is fine."""
        if snapshot.stage < 0:
            return _Answer("hold", "history")
        requests, errors = sum(snapshot.requests[1]) - self.base[0], sum(snapshot.errors[1]) - self.base[1]
        if requests < 0:
            self.base = [0, 0]
            return _Answer("hold", "the counters began again")
        if errors >= 4 and errors > 0.05 * requests:
            return _Answer("rollback", f"{errors} of {requests} requests failed")
        if requests >= 60 or snapshot.stage_age > 300:
            return _Answer("promote", f"{errors} of {requests} requests failed")
        return _Answer("hold", f"needs {60 - requests} more requests")

    def to_dict(self) -> dict[str, Any]:
        """Its state."""
        return {"base": self.base}

    @classmethod
    def make(cls, state: State, stored: dict[str, Any] | None) -> SimpleJudge:
        """See :class:`golive.rollout.session.JudgeMaker`."""
        judge = cls()
        if stored:
            judge.base = list(stored["base"])
        return judge


class _Answer(msgspec.Struct, frozen=True):
    action: str
    reason: str
    confidence: float = 50.0
    needs_human: bool = False
    rows: tuple[Any, ...] = ()


class World:
    """
    The truth: what runs, where the traffic goes, how often it failed. It outlives every controller.

    Attributes:
        broken: the first check that failed, wherever it was made; a task of the controller may have swallowed it.
        broke: set with it.
    """

    def __init__(self, seed: int, faults: Faults) -> None:
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311 - a repeatable world, not a secret
        self.faults = faults
        self.clock = VirtualClock()
        self.journal = Journal(":memory:")
        self.split = Split(OLD)
        self.known: dict[str, str] = {}
        self.in_flight: dict[str, int] = {}
        self.fence = 0
        self.alive: dict[str, float] = {}
        self.revived: set[str] = set()
        self.counts = {OLD: [0, 0], NEW: [0, 0]}
        self.rate = 20.0
        self.epoch = 0
        self.frozen: Sample | None = None
        self.counted_at = 0.0
        self.writes = 0
        self.exposed_after_abort: float | None = None
        self.abort_at: float | None = None
        self.hooks = HookRecord(self)
        self.weight_history: list[tuple[float, int]] = []
        self.broken: Broken | None = None
        self.broke = asyncio.Event()

    def fail(self, what: str) -> NoReturn:
        """Stop the simulation with the seed that repeats it."""
        self.broken = self.broken or Broken(f"seed {self.seed}: {what} ({self.faults})")
        self.broke.set()
        raise self.broken

    def now(self) -> float:
        """Virtual seconds since the world began."""
        return self.clock.monotonic()

    # ---- versions

    def living(self, version: str) -> bool:
        """Whether *version* runs; fate strikes once, a revived version lives on."""
        born = self.alive.get(version)
        if born is None:
            return False
        dies = self.faults.stable_dies_at if version == OLD else self.faults.candidate_dies_at
        return not (dies is not None and born < dies <= self.now())

    # ---- traffic

    def count(self) -> None:
        """Let the requests since the last look happen, *rate* a second, split as the gateway has it."""
        seconds, self.counted_at = self.now() - self.counted_at, self.now()
        total = int(self.rate * seconds)
        share = self.split.weight / 10_000 if self.split.candidate == NEW else float(self.split.stable == NEW)
        for version, requests in ((NEW, round(total * share)), (OLD, total - round(total * share))):
            ratio = self.faults.error_ratio if version == NEW else 0.002
            ratio = ratio if self.living(version) else 1.0
            failed = sum(self.random.random() < ratio for _ in range(requests)) if 0 < ratio < 1 else requests * ratio
            self.counts[version][0] += requests
            self.counts[version][1] += int(failed)

    def move(self, split: Split, fence: int) -> None:
        """The gateway does as told. Checks, at the only place where traffic changes, what must always hold."""
        if fence < self.fence:
            raise FencedError(f"token {fence} is older than {self.fence}")
        self.fence = fence
        self._check_move(split)
        self.count()
        self.split = split
        self.weight_history.append((self.now(), split.weight))
        if split.weight == 0 and split.stable == OLD and self.abort_at is not None and self.exposed_after_abort is None:
            self.exposed_after_abort = self.now() - self.abort_at

    def _check_move(self, split: Split) -> None:
        exposed = exposure(self.split)
        wanted = exposure(split)
        last = self._journalled()
        if wanted > exposed and (last is None or last.weight < wanted):
            self.fail(f"weight rose to {wanted} and the journal says {last.weight if last else None}")
        if wanted < exposed and wanted == 0 and not self.living(OLD) and self.living(NEW):
            died = self.faults.stable_dies_at or 0.0
            if self.now() - died > 5 * PACE.probe.total_seconds():
                self.fail("traffic was moved onto a stable version that has been dead for long")

    def _journalled(self) -> State | None:
        stored = self.journal.active(SERVICE)
        return stored[0] if stored else None


def exposure(split: Split) -> int:
    return 10_000 if split.stable == NEW else split.weight


class Incarnation:
    """One life of the controller: its ports, which stop working the moment it is killed."""

    def __init__(self, world: World, number: int, maker: JudgeMaker) -> None:
        self.world = world
        self.number = number
        self.dead = asyncio.Event()
        self.capabilities: frozenset[Capability] = frozenset()
        self.bounds: tuple[float, ...] = (0.1, 1.0)
        self.controller = Controller(
            SERVICE,
            journal=_MortalJournal(self),
            router=self,
            evidence=self,
            deployer=self,
            judges=maker,
            clock=world.clock,
            pace=PACE,
            lease=_MortalLease(self),
            hooks=SimulatedHooks(self),
        )

    def write(self) -> None:
        """Every write comes by here, before and after; the fates count them."""
        if self.dead.is_set():
            raise Killed
        self.world.writes += 1
        if self.world.writes in self.world.faults.kills:
            self.dead.set()
            self.world.hooks.lose()
            raise Killed

    def unlucky(self, chance: float) -> bool:
        """Whether something goes wrong now. Everything works again in the end, or nothing could be promised."""
        return self.world.now() < 1500 and self.world.random.random() < chance

    async def hang(self) -> None:
        """A dead process does nothing, for ever."""
        if self.dead.is_set():
            await asyncio.get_running_loop().create_future()

    # ---- Router

    async def ensure(self, arms: Sequence[Arm], *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        if fence < self.world.fence:
            raise FencedError("an older token")
        await asyncio.sleep(0.05)
        for arm in arms:
            self.world.known[arm.version] = arm.address

    async def apply(self, split: Split, *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        chance = self.world.faults.gateway
        if self.unlucky(chance):
            raise UnavailableError("the gateway does not answer")
        await self.die_here()
        if self.unlucky(chance):
            await asyncio.sleep(self.world.random.uniform(0, 8))
        await self.hang()
        self.world.move(split, fence)
        await self.die_here()
        if self.unlucky(chance):
            raise UnconfirmedError("the gateway did not confirm")

    async def die_here(self) -> None:
        """One of the writes at which the fates may strike."""
        try:
            self.write()
        except Killed:
            await self.hang()

    async def observe(self) -> Split | None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        return None if self.unlucky(self.world.faults.gateway) else self.world.split

    async def active(self, version: str) -> int:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        self.world.in_flight[version] = self.world.random.choice((0, 0, 3))
        return self.world.in_flight[version]

    async def retire(self, version: str, *, fence: int) -> None:
        """See :class:`golive.rollout.ports.Router`."""
        await self.hang()
        if fence < self.world.fence:
            raise FencedError("an older token")
        if version == self.world.split.stable or (version == self.world.split.candidate and self.world.split.weight):
            self.world.fail(f"{version} was to be retired while it had traffic")
        if self.unlucky(self.world.faults.gateway):
            raise RefusedError("requests in flight")
        self.world.known.pop(version, None)

    # ---- Evidence

    async def sample(self) -> Sample:
        """See :class:`golive.rollout.ports.Evidence`."""
        await self.hang()
        world, chance = self.world, self.world.faults.evidence
        if self.unlucky(chance):
            raise UnavailableError("no answer from the counters")
        world.count()
        if self.unlucky(chance / 4):
            world.counts = {OLD: [0, 0], NEW: [0, 0]}
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

    async def start(self, version: str) -> Arm:
        """See :class:`golive.rollout.ports.Deployer`."""
        await self.hang()
        if not self.world.living(version):
            self.world.alive[version] = self.world.now()
        return Arm(version, f"{version}:80")

    async def condition(self, version: str) -> Condition:
        """See :class:`golive.rollout.ports.Deployer`."""
        await self.hang()
        if not self.world.living(version):
            return Condition(Health.DEAD, "killed")
        if version == NEW and not self.world.faults.candidate_starts:
            return Condition(Health.STARTING, "still importing")
        ready = self.world.now() - self.world.alive[version] >= 3
        return Condition(Health.READY) if ready else Condition(Health.STARTING, "importing")

    async def stop(self, version: str) -> None:
        """See :class:`golive.rollout.ports.Deployer`."""
        await self.hang()
        if version == self.world.split.stable or (version == self.world.split.candidate and self.world.split.weight):
            self.world.fail(f"{version} was stopped while it had traffic")
        if version in self.world.known and self.world.in_flight.get(version) == 0:
            self.world.fail(f"{version} was stopped, idle, before the gateway forgot it")
        self.world.alive.pop(version, None)

    def running(self) -> Sequence[Arm]:
        """See :class:`golive.rollout.ports.Deployer`."""
        return [Arm(version, f"{version}:80") for version in self.world.alive if self.world.living(version)]


class _MortalJournal(Journal):
    """The world's journal, as far as this life of the controller reaches it."""

    def __init__(self, life: Incarnation) -> None:
        self.life = life
        self.connection = life.world.journal.connection

    def append(self, event: ev.AnyEvent, state: State, judge: dict[str, Any] | None, *, fence: int) -> Entry:
        self.life.write()
        before = self.service(SERVICE)
        entry = super().append(event, state, judge, fence=fence)
        self._examine(state, before.version if before else OLD)
        self.life.write()
        return entry

    def _examine(self, state: State, in_production: str) -> None:
        """What every controller that may write believes: the journal's version in production, and who has the users."""
        if self.life.controller.current != in_production:
            self.life.world.fail(f"in production is {in_production}, the controller has {self.life.controller.current}")
        if state.phase in (Phase.PROMOTING, Phase.RETIRING, Phase.LIVE) and state.split != Split(state.candidate):
            self.life.world.fail(f"a rollout that is {state.phase} wants {state.split}, not all for {state.candidate}")


class _MortalLease(Lease):
    """A lease that a killed controller neither renews nor gives back."""

    def __init__(self, life: Incarnation) -> None:
        super().__init__(life.world.journal.connection, SERVICE, Holder(f"host-{life.number}", life.number, ""))
        self.life = life

    def renew(self, now: Any) -> None:
        if self.life.dead.is_set():
            raise Killed
        stalled = self.life.world.faults.usurper_at
        if stalled is not None and self.life.number == 0 and self.life.world.now() >= stalled:
            return  # this one believes it still leads: its renewals get lost on the way
        super().renew(now)

    def release(self, now: Any) -> None:
        if not self.life.dead.is_set():
            super().release(now)
