"""
What the rollout needs from the world: somebody who moves traffic, somebody who counts it, somebody who runs versions.

Each port has one adapter folder (``routers/``, ``evidence/``, ``deployers/``) and one conformance suite in
:mod:`golive.testing`. A split is always written whole: one desired state, never "raise here, then lower there".
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from golive.errors import ExitCode, GoliveError, RefusedError, UnavailableError

WEIGHT_MAX = 10_000
"""All of the traffic, in basis points (1/10,000). Weights are integers, so that they add up exactly."""


class Split(msgspec.Struct, frozen=True):
    """
    The traffic that is wanted, or seen: *candidate* has *weight* basis points, *stable* has the rest.

    ``Split("v1")`` is all traffic on v1 and no candidate known to the gateway.
    """

    stable: str
    candidate: str | None = None
    weight: int = 0

    def __post_init__(self) -> None:
        assert 0 <= self.weight <= WEIGHT_MAX, f"a weight is 0..{WEIGHT_MAX} basis points, got {self.weight}"
        assert self.candidate is not None or self.weight == 0, "only a candidate has a weight"
        assert self.candidate != self.stable, "a version is never its own candidate"

    def __str__(self) -> str:
        if self.candidate is None:
            return f"{self.stable}=100"
        return f"{self.stable}={percent(WEIGHT_MAX - self.weight)} {self.candidate}={percent(self.weight)}"


def percent(weight: int) -> str:
    """Basis points as a person writes them: 2500 -> ``25``, 50 -> ``0.5``, 1 -> ``0.01``."""
    return f"{weight / 100:.2f}".rstrip("0").rstrip(".")


class Arm(msgspec.Struct, frozen=True):
    """A running version and where it answers, ``host:port``."""

    version: str
    address: str


class JobCounts(msgspec.Struct, frozen=True):
    """
    What became of the runs of one queue's jobs. Cumulative.

    Attributes:
        ends: runs by how they ended: succeeded, failed, retried, lost, rejected, cancelled.
        histogram: runs by duration, one count per bucket of the job store and one above; empty when nobody counted.
        cost: US dollars in all; None when nobody counted.
    """

    ends: dict[str, int]
    histogram: list[int] = []
    cost: float | None = None


class ArmSample(msgspec.Struct, frozen=True):
    """
    What one version has done since the counters began (see :attr:`Sample.epoch`). Cumulative, never negative.

    Attributes:
        requests: answered or failed requests by route; the single key ``"*"`` when routes are not told apart.
            Forced traffic (the ``x-golive-version`` header) and health checks are not in it.
        errors: of these, the failed ones (5xx, and no answer at all), same keys.
        latency: requests by duration, one count per bucket of :attr:`Evidence.bounds` plus one above the last bound;
            not cumulated over buckets. Requests that ran into the gateway's time-out count in the last bucket.
        latency_by_route: the same by declared route, where the source tells routes apart.
        active: requests in flight now.
        healthy: whether the gateway's own health check finds the version fit for traffic; None when it has not looked.
        units: clients that had not failed lately, on any version, each counted once per reading, of all routes; None
            when the source cannot tell clients apart.
        bad_units: of these, the ones that failed: for each client the first failure, where it happened.
        jobs: by queue; None when the source does not count jobs. An empty mapping: none were run.
        levels: measured now, by indicator of the table (``memory_ratio``, ``cpu_ratio``) or by name of a row.
    """

    requests: dict[str, int]
    errors: dict[str, int]
    latency: list[int]
    active: int = 0
    healthy: bool | None = None
    units: int | None = None
    bad_units: int | None = None
    jobs: dict[str, JobCounts] | None = None
    levels: dict[str, float] = {}
    latency_by_route: dict[str, list[int]] = {}


class Sample(msgspec.Struct, frozen=True):
    """
    One reading of all versions, at one instant.

    Attributes:
        at: when it was read.
        epoch: changes whenever the counters started again from zero (a gateway restart): never subtract across epochs.
        arms: by version. A version without a route has no entry.
    """

    at: datetime
    epoch: str
    arms: dict[str, ArmSample]


class Capability(enum.Enum):
    """What a router may be able to do. The contract suite tests both what it claims and what it disclaims."""

    STICKY = "sticky"
    """A user who is in stays in while the weight grows."""
    FORCED_HEADER = "forced_header"
    """A request can ask for a version by header, without touching weights or statistics."""
    LOSSLESS = "lossless"
    """A weight change drops no request."""
    RESTART_SAFE = "restart_safe"
    """The last confirmed split outlives the gateway's restart."""
    HUNDREDTHS = "hundredths"
    """Weights to 0.01 %."""


class Router(Protocol):
    """
    Moves traffic between versions.

    *fence* is the controller's fencing token (an integer that only grows). A router remembers the highest it has seen
    and raises :class:`FencedError` for a lower one, so that a controller that lost its lease changes nothing.
    """

    capabilities: frozenset[Capability]

    async def ensure(self, arms: Sequence[Arm], *, fence: int) -> None:
        """
        Make *arms* known, or refresh where they answer; other versions stay as they are, and no weight moves. Returns
        when each of *arms* is healthy in the gateway's eyes. Must not keep a concurrent :meth:`apply` waiting.

        Raises: UnavailableError when one does not become healthy in time, FencedError.
        """
        ...

    async def apply(self, split: Split, *, fence: int) -> None:
        """
        Make *split* the traffic, atomically. Returns only after it was read back from the gateway. Repeating is safe.

        Raises: UnconfirmedError when the read-back did not come, FencedError, ValueError for a version never ensured.
        """
        ...

    async def observe(self) -> Split | None:
        """The split in force, read from the gateway itself; None when it cannot be known now."""
        ...

    async def active(self, version: str) -> int:
        """Requests in flight on *version*, 0 when the gateway does not know it."""
        ...

    async def retire(self, version: str, *, fence: int) -> None:
        """
        Forget *version*. Its weight must be 0 and nothing may be in flight.

        Raises: RefusedError when it still has weight or requests, FencedError.
        """
        ...


class Evidence(Protocol):
    """Counts what each version did. Reading never changes anything."""

    bounds: tuple[float, ...]
    """Upper edges of the latency buckets in seconds, ascending."""

    async def sample(self) -> Sample:
        """
        Read all counters now.

        Raises: UnavailableError when the source does not answer; the caller holds, it does not judge.
        """
        ...


class Health(enum.Enum):
    """How a running version looks from outside."""

    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    """Alive, and not ready for traffic now."""
    DEAD = "dead"
    """No process, or none that answers."""


class Condition(msgspec.Struct, frozen=True):
    """The health of a version and, when it is not READY, why in one sentence."""

    health: Health
    reason: str = ""


class Deployer(Protocol):
    """
    Runs versions. What it started outlives the controller, and a new controller finds it again.

    *fence* is the token of the controller's lease, as for a :class:`Router`: after a higher one neither starts nor
    stops anything. None is for a person who acts while no controller runs.
    """

    async def prepare(self, version: str) -> None:
        """
        Make sure the release exists and can be started (take the snapshot, check the tag out). Safe to repeat.

        Raises: UnknownVersionError naming the nearest known versions; RefusedError when *version* was shipped before
        with other content.
        """
        ...

    async def start(self, version: str, *, fence: int | None = None) -> Arm:
        """
        Start *version*, or find the instance of it that already runs. Returns without waiting for readiness.

        Raises: UnavailableError when the command cannot be started at all, FencedError.
        """
        ...

    async def condition(self, version: str) -> Condition:
        """How *version* is now. Answers within a second."""
        ...

    async def stop(self, version: str, *, fence: int | None = None) -> None:
        """
        End *version*: SIGTERM, its grace, then SIGKILL. Returns when it is gone. Safe to repeat.

        Raises: FencedError.
        """
        ...

    def running(self) -> Sequence[Arm]:
        """The versions this deployer started and that still live, also from before a crash."""
        ...


class GateVerdict(msgspec.Struct, frozen=True):
    """What the gates said of a version that has no traffic yet: *go*, or why not in one sentence."""

    go: bool
    sentence: str


class Gatekeeper(Protocol):
    """Asked once a candidate is ready and before it gets its first request."""

    async def check(self, arm: Arm) -> GateVerdict:
        """Run the gates against *arm*. Never raises: what cannot be run is not a pass."""
        ...


class FencedError(GoliveError):
    """This controller's lease was taken by another; it must stop acting."""

    exit_code = ExitCode.REFUSED


class UnconfirmedError(UnavailableError):
    """The gateway did not confirm the wanted split in time. What is in force is unknown until it is read again."""


class UnknownVersionError(RefusedError):
    """There is no release of that name."""

    exit_code = ExitCode.USAGE
