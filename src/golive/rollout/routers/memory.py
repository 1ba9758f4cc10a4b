"""
A router without a network: the model every other one is measured against, and a gateway to test controllers with.

It passes the suite that the Envoy router passes (:class:`golive.testing.routers.RouterContract`), so a
controller that works on it works on that. Faults are switched on by setting attributes of its :class:`MemoryGateway`.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from golive.errors import RefusedError, UnavailableError
from golive.rollout.ports import WEIGHT_MAX, Arm, Capability, FencedError, Router, Split, UnconfirmedError
from golive.rollout.versions import check_version
from golive.timing import Clock, SystemClock


@dataclass
class MemoryGateway:
    """
    The gateway itself: what survives the controller. Several routers may stand for one gateway.

    Attributes:
        unhealthy: versions that never pass a health check.
        unreachable: whether it answers at all. It goes on splitting traffic all the same.
        confirm_seconds: how late a change is confirmed.
        confirmations_lost: so many of the next changes are made and not confirmed.
        changes_lost: so many of the next changes are not made and not confirmed.
    """

    split: Split | None = None
    arms: dict[str, Arm] = field(default_factory=dict)
    fence: int = 0
    active: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    unhealthy: set[str] = field(default_factory=set)
    unreachable: bool = False
    confirm_seconds: float = 0.0
    confirmations_lost: int = 0
    changes_lost: int = 0

    def drift(self, split: Split) -> None:
        """Somebody changes the traffic by hand."""
        self.split = split

    def route(self, client: str | None = None, forced: str | None = None) -> str | None:
        """
        The version that answers one request; None when none is live.

        Args:
            client: whoever has a name stays on his side while the weight grows.
            forced: the version asked for by header. Unknown ones are ignored.
        """
        if self.split is None:
            return None
        words = {"stable": self.split.stable, "candidate": self.split.candidate or self.split.stable}
        words |= {version: version for version in self.arms}
        if forced in words:
            return words[forced]
        version = self.split.stable
        if self.split.candidate is not None and _place(client, self.split.candidate) < self.split.weight:
            version = self.split.candidate
        self.counted[version] += 1
        return version


class MemoryRouter(Router):
    """Splits the traffic of *gateway*."""

    capabilities = frozenset(Capability)

    def __init__(self, gateway: MemoryGateway | None = None, clock: Clock | None = None) -> None:
        self.gateway = gateway or MemoryGateway()
        self._clock = clock or SystemClock()

    async def ensure(self, arms: Sequence[Arm], *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`."""
        for arm in arms:
            check_version(arm.version)
        self._enter(fence)
        split, known = self.gateway.split, self.gateway.arms
        named = {split.stable, split.candidate} if split else set()
        kept = {version: arm for version, arm in known.items() if version in named}
        self.gateway.arms = kept | {arm.version: arm for arm in arms}
        for arm in arms:
            if arm.version in self.gateway.unhealthy:
                raise UnavailableError(f"version {arm.version}: expected it healthy at {arm.address}, it is not.")

    async def apply(self, split: Split, *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`."""
        self._enter(fence)
        for version in (split.stable, split.candidate):
            if version is not None and version not in self.gateway.arms:
                raise ValueError(f"split {split}: expected versions the gateway knows, got {version!r}.")
        if self.gateway.changes_lost:
            self.gateway.changes_lost -= 1
            raise UnconfirmedError(f"gateway: expected it to confirm {split}, it was not asked.")
        self.gateway.split = split
        if self.gateway.confirm_seconds:
            await self._clock.sleep(self.gateway.confirm_seconds)
        if self.gateway.confirmations_lost:
            self.gateway.confirmations_lost -= 1
            raise UnconfirmedError(f"gateway: expected it to confirm {split}, the answer was lost.")
        if self.gateway.fence > fence:
            raise FencedError(f"gateway: a controller with fence {self.gateway.fence} wrote meanwhile.")

    async def observe(self) -> Split | None:
        """See :class:`~golive.rollout.ports.Router`."""
        return None if self.gateway.unreachable else self.gateway.split

    async def active(self, version: str) -> int:
        """See :class:`~golive.rollout.ports.Router`."""
        self._check_reachable()
        return self.gateway.active[version]

    async def retire(self, version: str, *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`."""
        self._enter(fence)
        split = self.gateway.split
        if split is not None and (version == split.stable or (version == split.candidate and split.weight > 0)):
            raise RefusedError(f"version {version}: expected no traffic on it before it is retired, it is {split}.")
        if self.gateway.active[version]:
            raise RefusedError(f"version {version}: expected no requests in flight before it is retired.")
        if split is not None and version == split.candidate:
            self.gateway.split = Split(split.stable)
        self.gateway.arms.pop(version, None)

    def _enter(self, fence: int) -> None:
        self._check_reachable()
        if fence < self.gateway.fence:
            raise FencedError(f"gateway: expected fence {self.gateway.fence} or higher, got {fence}.")
        self.gateway.fence = fence

    def _check_reachable(self) -> None:
        if self.gateway.unreachable:
            raise UnavailableError("gateway: expected an answer, got none.")


def _place(client: str | None, salt: str) -> int:
    """Where *client* stands in 0..9999; anywhere for one without a name. Salted: not always the same ones go first."""
    if client is None:
        return random.randrange(WEIGHT_MAX)  # noqa: S311 - a share of traffic, not a secret
    digest = hashlib.sha256(f"{salt}\0{client}".encode()).digest()
    return int.from_bytes(digest[:8]) % WEIGHT_MAX
