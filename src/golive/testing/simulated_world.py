"""
The world of the simulator: what runs, where the traffic goes, how often it fails. It keeps the truth, which outlives
every controller, and checks, wherever traffic changes, what must hold whatever happens.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import msgspec

from golive.rollout.journal import Entry, Journal
from golive.rollout.machine import State
from golive.rollout.pace import Pace
from golive.rollout.ports import FencedError, Sample, Split
from golive.testing.simulated_hooks import HookRecord
from golive.testing.virtual import VirtualClock

if TYPE_CHECKING:
    from golive.testing.simulated_life import Incarnation

SERVICE, OLD, NEW = "web", "v1", "v2"
PACE = Pace(
    tick=timedelta(seconds=10),
    probe=timedelta(seconds=2),
    inbox=timedelta(seconds=1),
    renew=timedelta(seconds=2),
    ready=timedelta(seconds=60),
    drain=timedelta(seconds=10),
)

READY_SECONDS = 3.0
"""From the start of a version to its being ready."""


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
        kills: the numbers of the points at which the controller is killed: before, within or after a write.
        rivals: the numbers of the points at which a second controller takes over while the first one, which was stalled
            there, goes on and believes it leads.
        slow: seconds that a write at the gateway takes which leaves the candidate with traffic, and a version to answer
            its last request.
        jobs: jobs move beside the requests, by a router of their own.
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
    rivals: tuple[int, ...] = ()
    slow: float = 0.0
    jobs: bool = False
    usurper_at: float | None = None
    people: tuple[tuple[float, str], ...] = ()
    hook_fails: float = 0.0
    hook_lost: float = 0.0


class World:
    """
    The truth: what runs, where the traffic goes, how often it failed. It outlives every controller.

    Attributes:
        points: every point at which a controller could have been killed, in order.
        scripts: what people and fate still have to do, each in its order.
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
        self.deployer_fence = 0
        self.alive: dict[str, float] = {}
        self.revived: set[str] = set()
        self.counts = fresh_counts()
        self.rate = 20.0
        self.epoch = 0
        self.frozen: Sample | None = None
        self.counted_at = 0.0
        self.points: list[str] = []
        self.renewed_in: set[object] = set()
        self.claims = Claims(self)
        self.asked: dict[str, float] = {}
        self.scripts: list[list[Act]] = []
        self.acting = 0
        self.usurp: Callable[[Incarnation], None] = lambda _life: None
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
        dies = {OLD: self.faults.stable_dies_at, NEW: self.faults.candidate_dies_at}.get(version)
        return not (dies is not None and born < dies <= self.now())

    # ---- people and fate

    def recorded(self, entry: Entry) -> None:
        """The journal has one more entry: what was to happen then happens."""
        for script in self.scripts:
            while script and script[0].when(entry):
                act = script.pop(0)
                self.acting += 1
                asyncio.get_running_loop().call_later(act.after, self._act, act)

    def _act(self, act: Act) -> None:
        self.acting -= 1
        act.do(self)

    @property
    def over(self) -> bool:
        """Whether every rollout is, and nobody wants anything more."""
        if any(self.scripts) or self.acting:
            return False
        rollouts = self.journal.rollouts(SERVICE)
        return bool(rollouts) and all(state.final for state in rollouts) and not self.journal.requests(SERVICE)

    # ---- traffic

    def count(self) -> None:
        """Let the requests since the last look happen, *rate* a second, split as the gateway has it."""
        seconds, self.counted_at = self.now() - self.counted_at, self.now()
        total = int(self.rate * seconds)
        share = self.split.weight / 10_000 if self.split.candidate else 0.0
        for version, requests in (
            (self.split.candidate or NEW, round(total * share)), (self.split.stable, total - round(total * share)),
        ):  # fmt: skip
            ratio = 0.002 if version == OLD else self.faults.error_ratio
            ratio = ratio if self.living(version) else 1.0
            failed = sum(self.random.random() < ratio for _ in range(requests)) if 0 < ratio < 1 else requests * ratio
            self.counts[version][0] += requests
            self.counts[version][1] += int(failed)

    def move(self, split: Split, fence: int, asked_at: float) -> None:
        """
        The gateway does as it was told at *asked_at*. Checks, at the only place where traffic changes, what must always
        hold.
        """
        self.fence = checked_fence(fence, self.fence)
        self._check_move(split, asked_at)
        self.count()
        self.split = split
        self.weight_history.append((self.now(), split.weight))
        if self.exposure(split) == 0 and self.abort_at is not None and self.exposed_after_abort is None:
            self.exposed_after_abort = self.now() - self.abort_at

    def exposure(self, split: Split) -> int:
        """The share of the traffic, in basis points, that is not on the version in production."""
        stored, service = self.journalled(), self.journal.service(SERVICE)
        stable = stored.stable if stored else service.version if service else OLD
        return split.weight if split.stable == stable else 10_000

    def check_destination(self, split: Split) -> None:
        """Nobody asks for more traffic for a candidate that does not live."""
        version = split.candidate
        if version is not None and self.exposure(split) > self.exposure(self.split) and not self.living(version):
            self.fail(f"{split} was asked for, and {version} does not live")

    def check_rise(self, before: Split, split: Split) -> None:
        """No share of anything grows beyond what the journal says."""
        wanted, last = self.exposure(split), self.journalled()
        if wanted > self.exposure(before) and (last is None or last.weight < wanted):
            self.fail(f"weight rose to {wanted} and the journal says {last.weight if last else None}")

    def _check_move(self, split: Split, asked_at: float) -> None:
        self.check_rise(self.split, split)
        last = self.journalled()
        if last is None or self.exposure(self.split) == 0 or self.exposure(split) > 0:
            return
        if not self.living(last.stable) and self.living(last.candidate):
            died = self.faults.stable_dies_at or 0.0
            if died < asked_at:
                self.fail("traffic was moved onto a stable version that was dead when it was asked for")

    def journalled(self) -> State | None:
        """The rollout in progress, as the journal has it."""
        stored = self.journal.active(SERVICE)
        return stored[0] if stored else None


class Claims:
    """The truth about the jobs: by which split they are claimed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.split = Split(OLD)
        self.known: set[str] = set()
        self.fence = 0

    def move(self, split: Split, fence: int) -> None:
        """The job store does as told."""
        self.fence = checked_fence(fence, self.fence)
        self.world.check_rise(self.split, split)
        self.split = split


class Act(msgspec.Struct, frozen=True):
    """Something that people or fate do *after* seconds, once the journal has an entry for which *when* holds."""

    when: Callable[[Entry], bool]
    do: Callable[[World], object]
    after: float = 0.0


def fresh_counts() -> dict[str, list[int]]:
    """Counters that begin again: [requests, errors] by version."""
    return defaultdict(lambda: [0, 0], {OLD: [0, 0], NEW: [0, 0]})


def checked_fence(fence: int, seen: int) -> int:
    """*fence*, the highest that was seen from now on. Raises: FencedError."""
    if fence < seen:
        raise FencedError(f"token {fence} is older than {seen}")
    return fence
