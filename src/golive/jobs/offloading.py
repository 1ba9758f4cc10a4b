"""
A store whose large results are kept elsewhere: what a row then holds is a reference, which is JSON too.

    settle: result over the limit --> put, durable --> the reference in its place --> the store

A zombie writes under its own fence, and its settlement is refused: nothing points to what it wrote. What nobody points
to, and what is older than it is kept for, is swept now and then.

Nobody can forge a reference: a handler's own result that looks like one is put elsewhere whatever its size, and a
reference names nothing, for the name comes from the job and the claim.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.layer import StoreLayer
from golive.jobs.model import Job, Settlement
from golive.jobs.ports import JobStore
from golive.jobs.results.ports import ResultStore, name_of

#: Results on their way at the same time.
PUTS_MAX = 8
SWEEP_SECONDS = 600.0
SWEEP_MAX = 1000
#: How long a signed link is good for.
LINK_SECONDS = 300

_MARK = b'{"golive_result":'


class Reference(msgspec.Struct, frozen=True):
    """Where a result is: under its job's id and this *fence*; *bytes* long; kept until *expires_at*."""

    bytes: int
    fence: int
    expires_at: float

    @property
    def expired(self) -> bool:
        """It may be gone, and is not handed out."""
        return self.expires_at < time.time()


class _Wrapped(msgspec.Struct, frozen=True):
    golive_result: Reference


_decode = msgspec.json.Decoder(_Wrapped).decode


class Offloading(StoreLayer):
    """
    Args:
        inline_bytes_max: what is longer goes to *results*.
        keep_seconds: how long it stays there.
    """

    def __init__(self, store: JobStore, results: ResultStore, inline_bytes_max: int, keep_seconds: float) -> None:
        super().__init__(store)
        self.results = results
        self._inline_bytes_max = inline_bytes_max
        self._keep_seconds = keep_seconds
        self._swept_at = time.monotonic()

    async def open(self) -> None:
        """See the port."""
        await self.results.open()
        await self.inner.open()

    async def close(self) -> None:
        """See the port."""
        await self.inner.close()
        await self.results.close()

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See the port. Raises what the place of the results raises; nothing is settled then."""
        places = asyncio.Semaphore(PUTS_MAX)
        kept = await asyncio.gather(*(self._kept(each, places) for each in settlements))
        accepted = await self.inner.settle(kept)
        if time.monotonic() > self._swept_at + SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            await self._sweep()
        return accepted

    def reference(self, job: Job) -> Reference | None:
        """Where *job*'s result is, if it is not in the job."""
        if job.result is None or not job.result.startswith(_MARK):
            return None
        return _decode(job.result).golive_result

    async def link(self, job: Job, reference: Reference) -> str | None:
        """For a client; None if this place has no links."""
        return await self.results.link(name_of(job.id, reference.fence), LINK_SECONDS)

    async def read(self, job: Job, reference: Reference) -> AsyncIterator[bytes] | None:
        """The result in pieces; None when it has expired."""
        if reference.expired:
            return None
        return await self.results.get(name_of(job.id, reference.fence))

    async def _kept(self, settlement: Settlement, places: asyncio.Semaphore) -> Settlement:
        result = settlement.result
        if result is None or (len(result) <= self._inline_bytes_max and not result.startswith(_MARK)):
            return settlement
        async with places:
            await self.results.put(name_of(settlement.id, settlement.fence), result)
        reference = Reference(len(result), settlement.fence, time.time() + self._keep_seconds)
        return msgspec.structs.replace(settlement, result=msgspec.json.encode(_Wrapped(reference)))

    async def _sweep(self) -> None:
        try:
            removed = await self.results.sweep(time.time() - self._keep_seconds, SWEEP_MAX)
        except GoliveError as error:
            log.event("jobs.sweep_failed", level=log.WARNING, reason=str(error))
            return
        if removed:
            log.event("jobs.results_expired", removed=removed)
