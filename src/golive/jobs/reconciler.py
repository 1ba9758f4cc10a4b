"""
Makes a doorbell that loses everything lose no job: looks for jobs that are due and that nobody comes for, and rings
again. It also puts back what dead workers held, because workers of other engines do not.

    every few seconds: rescue expired leases; ask the store for jobs due for longer than `patience`, per handler;
    ask the transport which of them it lost; ring those

It runs wherever the application is open: in each web process, in each ``golive worker``, and as a Lambda on a schedule.
Several of them ring the same job at the same time at worst, which is harmless: a job runs for whoever claims it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.handlers import Handler
from golive.jobs.model import Demand
from golive.jobs.rung import Rung

#: Per handler and round: more than this is a backlog, and its oldest are rung first.
RING_MAX = 500
RESCUE_MAX = 500


class Reconciler:
    """
    Args:
        store: open, and left open.
        handlers: what this application runs, as it is when a round begins.
        patience_seconds: a job due for longer than this should have been picked up; also the pause between rounds.
    """

    def __init__(self, store: Rung, handlers: Callable[[], Collection[Handler]], patience_seconds: float) -> None:
        self._store = store
        self._handlers = handlers
        self._patience_seconds = patience_seconds

    async def once(self) -> int:
        """One round. Returns how many jobs were rung again."""
        for each in await self._store.rescue(RESCUE_MAX):
            log.event("job.rescued", level=log.WARNING, job_id=each.id, kind=each.kind, attempt=each.attempts,
                      state=each.state, lost_worker=each.worker)  # fmt: skip
        closed = {each.queue for each in await self._store.paused()}
        handlers = [each for each in self._handlers() if each.queue not in closed]
        demands = [Demand(handler.queue, handler.name, RING_MAX) for handler in handlers]
        overdue = await self._store.overdue(demands, self._patience_seconds)
        lost = await self._store.transport.lost(overdue) if overdue else []
        if lost:
            await self._store.transport.ring(lost)
            log.event("jobs.rung_again", level=log.WARNING, jobs=len(lost))
        return len(lost)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._patience_seconds * (0.75 + random.random() / 2))  # noqa: S311 - spreads processes
            try:
                await self.once()
            except GoliveError as error:
                log.event("jobs.reconcile_failed", level=log.WARNING, reason=str(error))
