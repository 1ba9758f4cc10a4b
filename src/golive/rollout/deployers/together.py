"""Several deployers as one: a version is its web process and its workers, and lives only as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from golive.rollout.ports import Arm, Condition, Deployer, Health

_WORST_FIRST = (Health.DEAD, Health.UNREADY, Health.STARTING, Health.READY)


class DeployersTogether(Deployer):
    """
    Starts, asks and stops every part of a version.

    Args:
        parts: by name ("web", "worker"), for the reasons; the first one's address is the version's.
    """

    def __init__(self, parts: Mapping[str, Deployer]) -> None:
        assert parts, "a version is something"
        self.parts = dict(parts)

    async def prepare(self, version: str) -> None:
        """See :class:`~golive.rollout.ports.Deployer`. One after the other: they may share the release's folder."""
        for part in self.parts.values():
            await part.prepare(version)

    async def start(self, version: str, *, fence: int | None = None) -> Arm:
        """See :class:`~golive.rollout.ports.Deployer`."""
        first, *_ = await asyncio.gather(*(part.start(version, fence=fence) for part in self.parts.values()))
        return first

    async def condition(self, version: str) -> Condition:
        """See :class:`~golive.rollout.ports.Deployer`. As bad as the worst part, which the reason names."""
        conditions = await asyncio.gather(*(part.condition(version) for part in self.parts.values()))
        name, worst = min(zip(self.parts, conditions, strict=True), key=lambda each: _WORST_FIRST.index(each[1].health))
        return worst if worst.health is Health.READY else Condition(worst.health, f"{name}: {worst.reason}")

    async def stop(self, version: str, *, fence: int | None = None) -> None:
        """See :class:`~golive.rollout.ports.Deployer`."""
        await asyncio.gather(*(part.stop(version, fence=fence) for part in self.parts.values()))

    def running(self) -> Sequence[Arm]:
        """See :class:`~golive.rollout.ports.Deployer`. Versions of which anything lives."""
        found: dict[str, Arm] = {}
        for part in self.parts.values():
            for arm in part.running():
                found.setdefault(arm.version, arm)
        return list(found.values())
