"""
What a worker says of itself in the store, every few seconds: that it is there, what it does, how soon it picks jobs up.

Said from the event loop: a worker whose loop is blocked falls silent here, while its leases are renewed (see
:mod:`golive.jobs.heart`). Who was killed falls silent, too, and is forgotten after an hour.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.model import Claim, WorkerBeat
from golive.jobs.ports import JobStore
from golive.jobs.tally import BOUNDS_SECONDS, duration_bucket

BEAT_SECONDS = 5.0


class Doing(NamedTuple):
    """See :class:`golive.jobs.model.WorkerBeat`."""

    slots: int
    running: int
    draining: bool
    runs: int


class Presence:
    """Of the worker *name*; *doing* is asked at each beat."""

    def __init__(
        self, store: JobStore, name: str, version: str | None, queues: Collection[str], doing: Callable[[], Doing]
    ) -> None:
        self._store = store
        self._name, self._version, self._queues = name, version or "", sorted(set(queues))
        self._doing = doing
        self._started_at = time.time()
        self._waits, self._waited_seconds = [0] * (len(BOUNDS_SECONDS) + 1), 0.0

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Count for how long *claims* had been due."""
        for claim in claims:
            self._waits[duration_bucket(claim.waited_seconds)] += 1
            self._waited_seconds += claim.waited_seconds

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._store.beat(self.beat())
            except GoliveError as error:
                log.event("worker.beat_failed", level=log.WARNING, reason=str(error))
            await asyncio.sleep(BEAT_SECONDS * (0.8 + 0.2 * random.random()))  # noqa: S311 - spreads workers over time

    async def leave(self) -> None:
        """The worker has ended."""
        try:
            await self._store.leave(self._name)
        except GoliveError as error:  # it is forgotten like one that was killed
            log.event("worker.beat_failed", level=log.WARNING, reason=str(error))

    def beat(self) -> WorkerBeat:
        """As it is now."""
        return WorkerBeat(
            self._name, socket.gethostname(), os.getpid(), self._version, self._started_at, self._queues,
            *self._doing(), list(self._waits), self._waited_seconds,
        )  # fmt: skip
