"""
A store whose worker is fed by a transport that delivers (SQS): claims are of the jobs in the deliveries.

    receive, in the background --> buffer --> claim: the job in the store, under lease and fence
    heartbeat: the lease, and the delivery stays hidden
    settle: ended -> done, or buried if it is dead; retry, handed back -> again, after the backoff

A delivery whose job cannot be claimed is done if the job has ended, and comes again if it runs elsewhere, is not due or
belongs to another version. Only as much is received as the worker has room for.

How it fails: between claim and settle nothing the transport says matters; a delivery that is lost or comes twice meets
the lease in the store. If the transport is away, running jobs go on and end.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Sequence

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.handlers import Handler
from golive.jobs.machine import Event, State
from golive.jobs.model import Claim, Demand, Job, JobId, Settlement, Waiting
from golive.jobs.ports import JobStore
from golive.jobs.rung import Rung
from golive.jobs.transports.ports import DeliveringTransport, Delivery, TransportCapability

#: One poll; a worker that stops ends within it.
WAIT_SECONDS = 5.0
RECEIVE_MAX = 10
#: A delivery is hidden for so many leases: the store gives up a dead worker first.
HOLD_LEASES = 2.0
#: A job that is another version's, or whose handler this program lacks, is offered to the others after this.
ELSEWHERE_SECONDS = 1.0


class Delivered(Rung):
    """*store*, its claims fed by *transport*. One worker per object."""

    def __init__(
        self, store: JobStore, transport: DeliveringTransport, handlers: Callable[[], Collection[Handler]] = tuple
    ) -> None:
        super().__init__(store, transport, handlers)
        self._deliveries = transport
        self._buffer: deque[Delivery] = deque()
        self._held: dict[JobId, Delivery] = {}
        self._listeners: list[Callable[[], None]] = []
        self._receiving: dict[str, asyncio.Task[None]] = {}
        self._looked_at = float("-inf")
        self._closed: set[str] = set()

    async def close(self) -> None:
        """See the port."""
        if self._receiving:
            await asyncio.wait(self._receiving.values())
        await self._return_buffer()
        await super().close()

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See the port."""
        self._listeners.append(wake)
        return lambda: self._listeners.remove(wake)

    async def claim(
        self, demands: Sequence[Demand], limit: int, worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port. Claims what has been delivered; what has not is asked for, and wakes the worker."""
        taken = self._take(demands, limit)
        claims = await self._claim_taken(taken, worker, lease_seconds, version) if taken else []
        if not self._buffer and len(claims) < limit:
            open_ = {each.queue for each in demands} - await self._paused()
            self._ask(open_, limit - len(claims), HOLD_LEASES * lease_seconds)
        return claims

    async def extend(self, claims: Sequence[Claim], lease_seconds: float) -> list[Claim]:
        """See the port."""
        lost = await self.inner.extend(claims, lease_seconds)
        for claim in lost:
            self._held.pop(claim.id, None)
        held = [delivery for claim in claims if (delivery := self._held.get(claim.id))]
        await self._tell(self._deliveries.hold([*held, *self._buffer], HOLD_LEASES * lease_seconds))
        return lost

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See the port. What goes back to wait comes again as the delivery it came with."""
        accepted = await self.inner.settle(settlements)
        ended: list[Delivery] = []
        for settlement, yes in zip(settlements, accepted, strict=True):
            delivery = self._held.pop(settlement.id, None)
            if not yes:
                continue  # the delivery is in other hands, like the job
            if settlement.event in (Event.RETRY, Event.HAND_BACK):
                if delivery:
                    await self.again(delivery, settlement.delay_seconds)
                else:
                    await self.ring_by_id([settlement.id])
            elif delivery and settlement.event is Event.FAIL:
                await self.bury(delivery)
            elif delivery:
                ended.append(delivery)
        await self._tell(self._deliveries.done(ended))
        return accepted

    def _take(self, demands: Sequence[Demand], limit: int) -> list[tuple[Delivery, bool]]:
        """From the buffer; with each, whether the worker wants it now."""
        room = Counter({(each.queue, each.kind): each.limit for each in demands})
        taken: list[tuple[Delivery, bool]] = []
        wanted = 0
        while self._buffer and wanted < limit:
            delivery = self._buffer.popleft()
            want = room[delivery.queue, delivery.kind] > 0
            room[delivery.queue, delivery.kind] -= want
            wanted += want
            taken.append((delivery, want))
        return taken

    async def _claim_taken(
        self, taken: Sequence[tuple[Delivery, bool]], worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        wanted = {delivery.job: delivery for delivery, want in taken if want}
        for delivery in [delivery for delivery, want in taken if not want]:
            await self.elsewhere(delivery, time.time())
        await self.revive(list(wanted.values()))
        claims = []
        for claim in await self.inner.claim_jobs(list(wanted), worker, lease_seconds, version):
            delivery = wanted.pop(claim.id)
            if (claim.queue, claim.kind) == (delivery.queue, delivery.kind):
                self._held[claim.id] = delivery
                claims.append(claim)
            else:  # the message is not what the job is: forged, or from another application
                await self.inner.settle([Settlement(claim.id, claim.worker, claim.fence, Event.HAND_BACK)])
                wanted[claim.id] = delivery
        for delivery in wanted.values():
            await self._refuse(delivery, await self.inner.get(delivery.job), lease_seconds)
        return claims

    async def _refuse(self, delivery: Delivery, job: Job | None, lease_seconds: float) -> None:
        if job is None or job.state.terminal or (job.queue, job.kind) != (delivery.queue, delivery.kind):
            await self._tell(self._deliveries.done([delivery]))
        elif job.state is State.RUNNING:  # perhaps by a worker that dies
            await self.again(delivery, lease_seconds)
        else:
            await self.elsewhere(delivery, job.run_at)

    async def revive(self, deliveries: Sequence[Delivery]) -> None:
        """What somebody moved out of the dead-letter queue runs again, unless it has died anew since."""
        for delivery in deliveries:
            if delivery.buried_at is None:
                continue
            job = await self.inner.get(delivery.job)
            if job and job.state is State.FAILED and job.finished_at == delivery.buried_at:
                await self.inner.redrive(job.id)

    async def bury(self, delivery: Delivery) -> None:
        """Its job is dead."""
        job = await self.inner.get(delivery.job)
        if job and job.finished_at is not None:
            await self._tell(self._deliveries.bury([delivery], [job.finished_at]))

    async def elsewhere(self, delivery: Delivery, run_at: float) -> bool:
        """
        Its job waits for something else: its time, another version, the end of a pause. It comes again as a new ring
        where that can be delayed, because deliveries are counted, and those that come often end as dead letters. True
        if this one is done with.
        """
        later = max(time.time() + ELSEWHERE_SECONDS, run_at)
        if TransportCapability.DELAYS not in self.transport.capabilities:
            await self.again(delivery, later - time.time())
            return False
        await self._tell(self._anew(delivery, later))
        return True

    async def _anew(self, delivery: Delivery, run_at: float) -> None:
        await self._deliveries.ring([Waiting(delivery.job, delivery.kind, delivery.queue, "", run_at)])
        await self._deliveries.done([delivery])

    async def again(self, delivery: Delivery, delay_seconds: float) -> None:
        """It comes again after this."""
        await self._tell(self._deliveries.again([delivery], delay_seconds))

    async def _paused(self) -> set[str]:
        """What is paused stays in its queue, where nothing counts how often it is looked at."""
        if time.monotonic() > self._looked_at + ELSEWHERE_SECONDS:
            self._looked_at, self._closed = time.monotonic(), {each.queue for each in await self.inner.paused()}
        return self._closed

    def _ask(self, queues: set[str], appetite: int, hold_seconds: float) -> None:
        """Each queue for its part, by a poll of its own: an empty one must not hold up a full one."""
        share = min(RECEIVE_MAX, -(-appetite // max(1, len(queues))))
        for queue in queues:
            if queue not in self._receiving or self._receiving[queue].done():
                self._receiving[queue] = asyncio.create_task(self._receive(queue, share, hold_seconds))

    async def _receive(self, queue: str, limit: int, hold_seconds: float) -> None:
        try:
            found = await self._deliveries.receive({queue}, limit, WAIT_SECONDS, hold_seconds)
        except GoliveError as error:
            log.event("jobs.receive_failed", level=log.ERROR, reason=str(error))
            await asyncio.sleep(ELSEWHERE_SECONDS)
            return
        self._buffer.extend(found)
        if not self._listeners:  # the worker has stopped
            await self._return_buffer()
        for wake in tuple(self._listeners):
            wake()

    async def _return_buffer(self) -> None:
        if self._buffer:
            back, self._buffer = list(self._buffer), deque()
            await self._tell(self._deliveries.again(back, 0.0))

    async def _tell(self, telling: Awaitable[None]) -> None:
        """What the transport does not hear, it finds out by itself: its holds run out."""
        try:
            await telling
        except GoliveError as error:
            log.event("jobs.transport_unavailable", level=log.WARNING, reason=str(error))
