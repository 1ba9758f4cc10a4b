"""
Several routers as one: requests and jobs of a release move together, by one desired state.

A split is written to all of them at once and holds when all have confirmed it; one that does not answer never keeps the
others from being lowered. In between they may differ, and that is told, never averaged: when they disagree, what is
seen is what differs from the split last wanted, so that the controller restores the plan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from golive.rollout.ports import Arm, FencedError, Router, Split


class RoutersTogether(Router):
    """Applies every change to all of *routers*, at least one."""

    def __init__(self, *routers: Router) -> None:
        assert routers, "there is something to move"
        self.routers = routers
        self.capabilities = frozenset.intersection(*(router.capabilities for router in routers))
        self._wanted: Split | None = None

    async def ensure(self, arms: Sequence[Arm], *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`."""
        await _all(router.ensure(arms, fence=fence) for router in self.routers)

    async def apply(self, split: Split, *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`. Returns when all of them confirmed it."""
        before, self._wanted = self._wanted, split
        try:
            await _all(router.apply(split, fence=fence) for router in self.routers)
        except ValueError:
            self._wanted = before  # refused before anything was written
            raise

    async def observe(self) -> Split | None:
        """See :class:`~golive.rollout.ports.Router`. None also when they disagree and nobody said what is wanted."""
        seen = await asyncio.gather(*(router.observe() for router in self.routers))
        if None in seen:
            return None
        different = [split for split in seen if split != self._wanted]
        if len(set(seen)) == 1 or self._wanted is None:
            return seen[0] if len(set(seen)) == 1 else None
        return max(different, key=lambda split: split.weight if split else 0)

    async def active(self, version: str) -> int:
        """See :class:`~golive.rollout.ports.Router`. Requests and jobs in flight together."""
        return sum(await asyncio.gather(*(router.active(version) for router in self.routers)))

    async def retire(self, version: str, *, fence: int) -> None:
        """See :class:`~golive.rollout.ports.Router`."""
        await _all(router.retire(version, fence=fence) for router in self.routers)


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all, and then raise the gravest of what went wrong: a lost lease before anything else."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    errors.sort(key=lambda error: (not isinstance(error, FencedError), not isinstance(error, ValueError)))
    if errors:
        raise errors[0]
