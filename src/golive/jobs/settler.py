"""
Group commit for results: while one batch is being made durable the next one fills.

A store that does not answer is asked again until it does; meanwhile the leases are kept alive, and if they are lost
after all, the store refuses the result by its fence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.model import Claim, Settlement
from golive.jobs.ports import JobStore

#: Settlements in one transaction.
BATCH_MAX = 500
#: On the way out a store that is down is given this long; then the leases run out by themselves.
FLUSH_SECONDS_MAX = 10.0

Settled = Callable[[Sequence[tuple[Settlement, Claim]], Sequence[bool]], None]


class Settler:
    """*settled* is told of each batch once it is durable, and which of it was accepted."""

    def __init__(self, store: JobStore, settled: Settled) -> None:
        self._store = store
        self._settled = settled
        self._waiting: list[tuple[Settlement, Claim]] = []
        self._in_flight = 0
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._waiting) + self._in_flight

    def add(self, settlement: Settlement, claim: Claim) -> None:
        """Settle *claim* with the next batch."""
        self._waiting.append((settlement, claim))
        self._empty.clear()
        self._more.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                self._in_flight = len(batch)
                accepted = await self._settle([settlement for settlement, _ in batch])
                self._in_flight = 0
                self._settled(batch, accepted)
            self._empty.set()

    async def flush(self) -> None:
        """Returns when everything added is durable, or the store has been silent for too long."""
        try:
            await asyncio.wait_for(self._empty.wait(), FLUSH_SECONDS_MAX)
        except TimeoutError:
            log.event("worker.unsettled", level=log.ERROR, jobs=len(self))

    async def _settle(self, settlements: list[Settlement]) -> list[bool]:
        pause = 0.05
        while True:
            try:
                return await self._store.settle(settlements)
            except GoliveError as error:
                log.event("worker.store_unavailable", level=log.ERROR, reason=str(error), unsettled=len(self))
                pause = min(pause * 2, 2.0)
                await asyncio.sleep(pause)
