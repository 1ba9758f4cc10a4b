"""
A worker's scheduler: submits the jobs of schedules when they are due, once, however many workers there are.

    read how far each schedule is --> due? --> fire: move it on and submit, in one transaction; one worker gets to

The store keeps how far each schedule is, so that what was missed while nobody was alive is known afterwards. A schedule
that is new, or declared anew with another time, begins now. Each job also has an idempotency key of its own, the
schedule's name and the moment, for the case that two versions of a service declare different times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.model import NewJob, Schedule
from golive.jobs.ports import JobStore
from golive.jobs.schedules import Recurring, due
from golive.timing import format_instant

#: The longest sleep: what other workers fired, and clocks that were set, are noticed after it.
LOOK_SECONDS = 30.0
RETRY_SECONDS = 2.0

#: Makes the job of a schedule for one of its moments, with the given idempotency key.
Make = Callable[[Recurring, datetime, str], NewJob]


class Scheduler:
    """*clock* is seconds since the epoch; a test may own it."""

    def __init__(
        self, store: JobStore, schedules: Sequence[Recurring], make: Make, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._schedules = schedules
        self._make = make
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        begun = False
        while True:
            try:
                if not begun:
                    await self.begin()
                begun, pause = True, await self.step()
            except GoliveError as error:
                log.event("schedules.store_unavailable", level=log.WARNING, reason=str(error))
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    async def begin(self) -> None:
        """Tell the store of schedules it does not know, or knows with another time: they begin now."""
        known = {each.name: each for each in await self._store.schedules()}
        for declared in self._schedules:
            earlier = known.get(declared.name)
            if earlier is None or (earlier.spec, earlier.kind) != (declared.cadence.spec, declared.kind):
                await self._store.fire(self._record(declared, self._clock()), [])

    async def step(self) -> float:
        """Fire what is due; returns the seconds until the next look."""
        known = {each.name: each.fired_at for each in await self._store.schedules()}
        if any(declared.name not in known for declared in self._schedules):  # the store was emptied under us
            await self.begin()
        now, wake = self._clock(), LOOK_SECONDS
        for declared in self._schedules:
            after = known.get(declared.name, now)
            moments = due(declared, after, now)
            if moments:
                await self._fire(declared, moments, now)
            if (following := declared.cadence.next(max(after, now))) is not None:
                wake = min(wake, following - now)
        return max(wake, 0.001)

    async def _fire(self, declared: Recurring, moments: list[float], now: float) -> None:
        jobs = [self._job(declared, datetime.fromtimestamp(moment, UTC)) for moment in moments]
        if await self._store.fire(self._record(declared, moments[-1]), jobs):
            late = round(now - moments[-1], 3)
            log.event("schedule.fired", schedule=declared.name, kind=declared.kind, jobs=len(jobs), late_seconds=late)

    def _job(self, declared: Recurring, moment: datetime) -> NewJob:
        return self._make(declared, moment, f"schedule:{declared.name}:{format_instant(moment)}")

    @staticmethod
    def _record(declared: Recurring, fired_at: float) -> Schedule:
        spec, following = declared.cadence.spec, declared.cadence.next(fired_at)
        return Schedule(declared.name, declared.kind, spec, fired_at, following)
