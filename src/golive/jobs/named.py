"""
Run the jobs an engine names, and end: for engines that call code instead of being asked (an ``rq worker``, a Lambda).

It is the ordinary worker, with all it knows of time-outs, cancellation, heartbeats and draining, on a store that gives
it these jobs and no others. Jobs of one chain run one after the other, and a chain ends with the first that has to come
back; chains run side by side.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from golive.errors import GoliveError
from golive.jobs.handlers import Handler
from golive.jobs.layer import StoreLayer
from golive.jobs.machine import Event
from golive.jobs.model import Claim, Demand, Job, JobId, Settlement, WorkerBeat
from golive.jobs.ports import JobStore
from golive.jobs.settings import JobsSettings
from golive.jobs.worker import Worker


class End(NamedTuple):
    """
    What became of a named job here.

    Attributes:
        event: how its run ended; None if it was not run.
        job: as the store has it; None if there is none.
        delay_seconds: a retry should come back after this.
    """

    event: Event | None
    job: Job | None
    delay_seconds: float = 0.0


async def run_named(
    store: JobStore, handlers: Mapping[str, Handler], settings: JobsSettings, chains: Sequence[Sequence[JobId]],
    *, seconds_max: float | None = None, concurrency: int | None = None,
) -> dict[JobId, End]:  # fmt: skip
    """
    Run what may run of *chains* and tell how each job ended. A job that is missing in the answer was not looked at: its
    chain had stopped, or the time was up.

    Args:
        store: open, and left open.
        seconds_max: then the worker drains: what still runs after the settings' ``drain`` is handed back.
        concurrency: jobs at the same time; None means one of each chain.

    Raises: what the store raises while the jobs are claimed; what has been claimed by then is handed back.
    """
    named = _Named(store, chains)
    worker = Worker(named.whole(), handlers, settings, concurrency=concurrency or max(1, len(chains)))
    named.stop = worker.stop
    timer = None
    if seconds_max is not None:
        timer = asyncio.get_running_loop().call_later(max(0.0, seconds_max), worker.stop)
    try:
        await worker.run()
    finally:
        if timer:
            timer.cancel()
    if named.error:
        raise named.error
    return named.ends


class _Named(StoreLayer):
    def __init__(self, inner: JobStore, chains: Sequence[Sequence[JobId]]) -> None:
        super().__init__(inner)
        self._chains = [deque(dict.fromkeys(chain)) for chain in chains]
        self._waiting = deque(self._chains)
        self._running: dict[JobId, deque[JobId]] = {}
        self.ends: dict[JobId, End] = {}
        self.error: GoliveError | None = None
        self.stop: Callable[[], None] = lambda: None

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See the port: nobody else's jobs are of interest."""
        self._wake = wake
        return lambda: None

    async def beat(self, beat: WorkerBeat) -> None:
        """See the port: it ends with its jobs, so nobody has to know it, and each would cost more than its job."""

    async def leave(self, worker: str) -> None:
        """See the port: it was never there."""

    async def claim(
        self, demands: Sequence[Demand], limit: int, worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port."""
        kinds = {(each.queue, each.kind) for each in demands}
        claims: list[Claim] = []
        try:
            while self._waiting and len(claims) < limit:
                chain = self._waiting.popleft()
                if chain and (claim := await self._next(chain, kinds, worker, lease_seconds, version)):
                    claims.append(claim)
        except GoliveError as error:  # the engine tries again; waiting here would only hold it up
            self.error = error
            self._waiting.clear()
        self._stop_if_idle()
        return claims

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See the port."""
        accepted = await self.inner.settle(settlements)
        for settlement, yes in zip(settlements, accepted, strict=True):
            chain = self._running.pop(settlement.id, None)
            self.ends[settlement.id] = End(
                settlement.event if yes else None, await self.inner.get(settlement.id), settlement.delay_seconds
            )
            if chain and yes and settlement.event not in (Event.RETRY, Event.HAND_BACK):
                self._waiting.append(chain)
                self._wake()
        self._stop_if_idle()
        return accepted

    async def _next(
        self, chain: deque[JobId], kinds: set[tuple[str, str]], worker: str, lease_seconds: float, version: str | None
    ) -> Claim | None:
        """The first of *chain* that can be claimed; those that have ended already are passed over."""
        while chain:
            id_ = chain.popleft()
            job = await self.inner.get(id_)
            claims = []
            if job and not job.state.terminal and (job.queue, job.kind) in kinds:
                claims = await self.inner.claim_jobs([id_], worker, lease_seconds, version)
            if claims:
                self._running[id_] = chain
                return claims[0]
            self.ends[id_] = End(None, job)
            if job and not job.state.terminal:
                return None  # it has to come back, and the rest of its chain after it
        return None

    def _stop_if_idle(self) -> None:
        if not self._waiting and not self._running:
            self.stop()
