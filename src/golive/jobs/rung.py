"""
A store whose jobs are announced by a transport: what becomes claimable is rung, after it is durable.

A ring is a hint, so nobody waits for one: rings are sent from a task of their own, those that gather while a batch is
under way go together, and a transport that is away costs a log line. What was not rung, or was and got lost, the
reconciler finds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from weakref import WeakKeyDictionary

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.handlers import Handler
from golive.jobs.layer import StoreLayer
from golive.jobs.machine import Event, State
from golive.jobs.model import Job, JobId, NewJob, Rescue, Schedule, Settlement, Submission, Waiting
from golive.jobs.ports import JobStore
from golive.jobs.transports.ports import Transport

#: Rings on their way to the transport; beyond, they are left to the reconciler, and the log says so.
UNSENT_MAX = 10_000
BATCH_MAX = 500
#: Closing waits this long for rings on their way.
FLUSH_SECONDS_MAX = 5.0


class Rung(StoreLayer):
    """*store*, with *transport* told of what may run."""

    def __init__(
        self, store: JobStore, transport: Transport, handlers: Callable[[], Collection[Handler]] = tuple
    ) -> None:
        super().__init__(store)
        self.transport = transport
        self._known = handlers
        self._unsent: deque[Waiting] = deque()
        self._sending: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    async def open(self) -> None:
        """See the port."""
        await self.inner.open()
        await self.transport.open(self._known())

    async def close(self) -> None:
        """See the port."""
        await self.flush()
        await self.transport.close()
        await self.inner.close()

    async def submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port. A repeated submission rings again: the first ring may be lost, as the answer was."""
        submissions = await self.inner.submit(jobs)
        self.ring([waiting(each.job) for each in submissions if each.job.state is State.PENDING])
        return submissions

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See the port. What goes back to wait is rung again."""
        accepted = await self.inner.settle(settlements)
        back = [
            each
            for each, yes in zip(settlements, accepted, strict=True)
            if yes and each.event in (Event.RETRY, Event.HAND_BACK)
        ]
        await self.ring_by_id([each.id for each in back])
        return accepted

    async def rescue(self, limit: int) -> list[Rescue]:
        """See the port."""
        rescued = await self.inner.rescue(limit)
        await self.ring_by_id([each.id for each in rescued if each.state is State.PENDING])
        return rescued

    async def redrive(self, job: JobId, payload: bytes | None = None) -> Job | None:
        """See the port."""
        return self._rung(await self.inner.redrive(job, payload))

    async def hasten(self, job: JobId) -> Job | None:
        """See the port."""
        return self._rung(await self.inner.hasten(job))

    async def fire(self, schedule: Schedule, jobs: Sequence[NewJob]) -> bool:
        """See the port."""
        fired = await self.inner.fire(schedule, jobs)
        if fired:
            await self.ring_by_id([job.id for job in jobs])
        return fired

    def _rung(self, job: Job | None) -> Job | None:
        if job and job.state is State.PENDING:
            self.ring([waiting(job)])
        return job

    async def ring_by_id(self, jobs: Sequence[JobId]) -> None:
        """Ring those of *jobs* that wait."""
        found = await asyncio.gather(*(self.inner.get(job) for job in jobs))
        self.ring([waiting(job) for job in found if job and job.state is State.PENDING])

    def ring(self, jobs: Sequence[Waiting]) -> None:
        """Soon, and perhaps never."""
        room = UNSENT_MAX - len(self._unsent)
        if len(jobs) > room:
            log.event("jobs.rings_dropped", level=log.WARNING, dropped=len(jobs) - room)
        self._unsent.extend(jobs[:room])
        loop = asyncio.get_running_loop()  # a heartbeat's, perhaps
        if self._unsent and (loop not in self._sending or self._sending[loop].done()):
            self._sending[loop] = loop.create_task(self._send())

    async def flush(self) -> None:
        """Returns when the rings so far are sent, lost or too late."""
        if sending := self._sending.get(asyncio.get_running_loop()):
            await asyncio.wait([sending], timeout=FLUSH_SECONDS_MAX)

    async def _send(self) -> None:
        while self._unsent:
            batch = [self._unsent.popleft() for _ in range(min(BATCH_MAX, len(self._unsent)))]
            try:
                await self.transport.ring(batch)
            except GoliveError as error:
                log.event("jobs.rings_lost", level=log.WARNING, lost=len(batch), reason=str(error))


def waiting(job: Job) -> Waiting:
    """*job* as a transport needs it."""
    return Waiting(job.id, job.kind, job.queue, job.tenant, job.run_at)
