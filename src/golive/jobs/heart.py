"""
A worker's heart: renews its leases from a thread of its own, so that a handler which blocks the event loop does not
look dead to the other workers.

It beats for a job only as long as the job may run. A run that is past its time-out and still there, because it swallows
its cancellation or blocks the loop for good, is settled from here as a time-out; the rest of the worker goes on or not,
the job does not hang.

How it fails: if the process is stopped (SIGSTOP, a frozen container), no beat comes, the lease runs out, another worker
takes the job, and whatever this one says later is refused by the fence.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.model import Claim, JobId, Settlement
from golive.jobs.ports import JobStore

#: A lease survives two lost beats.
BEATS_PER_LEASE = 3


class Overstay(NamedTuple):
    """When a run is past all patience (monotonic seconds), and how it is settled then: asked only if it comes to it."""

    at: float
    settle: Callable[[], Settlement]


class Heart:
    """*on_lost* is called, in the heart's thread, with each claim that is no longer this worker's."""

    def __init__(self, store: JobStore, lease_seconds: float, on_lost: Callable[[Claim], None]) -> None:
        self._store = store
        self._lease_seconds = lease_seconds
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._held: dict[JobId, tuple[Claim, Overstay | None]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="golive-jobs-heart", daemon=True)

    def start(self) -> None:
        """Once."""
        self._thread.start()

    async def stop(self) -> None:
        """After the last claim has been settled or given back."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    def hold(self, claim: Claim, overstay: Overstay | None = None) -> None:
        """Keep *claim* alive, until *overstay* if that is given."""
        with self._lock:
            self._held[claim.id] = (claim, overstay)

    def hold_all(self, claims: Sequence[Claim]) -> None:
        """Keep *claims* alive until they are held with an end, or released."""
        with self._lock:
            self._held.update((claim.id, (claim, None)) for claim in claims)

    def release_all(self, claims: Sequence[Claim]) -> None:
        """The claims are settled or given back."""
        with self._lock:
            for claim in claims:
                if (held := self._held.get(claim.id)) and held[0].fence == claim.fence:
                    del self._held[claim.id]

    def _main(self) -> None:
        with asyncio.Runner() as runner:  # one loop for all beats: a store may keep a connection per loop
            while not self._stop.wait(self._lease_seconds / BEATS_PER_LEASE):
                runner.run(self._beat())

    async def _beat(self) -> None:
        now = time.monotonic()
        with self._lock:
            held = list(self._held.values())
        ended = [(claim, overstay) for claim, overstay in held if overstay and overstay.at <= now]
        alive = [claim for claim, overstay in held if not overstay or overstay.at > now]
        try:
            lost = await self._store.extend(alive, self._lease_seconds) if alive else []
            await self._store.settle([overstay.settle() for _, overstay in ended])
        except GoliveError as error:  # the next beat tries again; until then the lease is still good
            log.event("worker.heartbeat_failed", level=log.WARNING, reason=str(error))
            return
        gone = [*lost, *(claim for claim, _ in ended)]
        self.release_all(gone)
        for claim in gone:
            self._on_lost(claim)
