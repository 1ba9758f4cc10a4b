"""
A worker's pruning: finished jobs leave the table when their time is over, in small steps, oldest first.

A pass walks the ids (which are in order of time) from the oldest on and stops at the first that is too young, so it
never looks at what is fresh. It rests as long as it works, so that it takes at most half of one connection. All workers
do it; what one has removed costs the others nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.machine import State
from golive.jobs.ports import JobStore

#: Jobs one step looks at: some ten milliseconds of a store's time.
STEP_MAX = 1000
#: A pass begins this often, or a twentieth of the shortest keeping if that is longer, or once an hour.
PASS_SECONDS_MIN, PASS_SECONDS_MAX = 60.0, 3600.0


class Pruner:
    """*keep_seconds* as in :meth:`golive.jobs.ports.JobStore.prune`."""

    def __init__(self, store: JobStore, keep_seconds: Mapping[State, float]) -> None:
        self._store = store
        self._keep = keep_seconds
        self._pause = min(PASS_SECONDS_MAX, max(PASS_SECONDS_MIN, min(keep_seconds.values(), default=0.0) / 20))

    async def run(self) -> None:
        """Until cancelled."""
        while self._keep:
            await asyncio.sleep(self._pause * random.random())  # noqa: S311 - spreads workers over time
            try:
                removed = await self.once()
            except GoliveError as error:
                log.event("jobs.pruning_failed", level=log.WARNING, reason=str(error))
            else:
                if removed:
                    log.event("jobs.pruned", jobs=removed)
            await asyncio.sleep(self._pause / 2)

    async def once(self) -> int:
        """One whole pass; returns how many jobs it removed."""
        removed, after = 0, None
        while True:
            began = time.monotonic()
            step = await self._store.prune(self._keep, after, STEP_MAX)
            removed += len(step.jobs)
            if (after := step.after) is None:
                return removed
            await asyncio.sleep(time.monotonic() - began)
