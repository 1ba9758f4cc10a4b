"""
What autoscalers and alarms look at, in a metrics registry: ``jobs.measure(chassis.metrics)``.

The numbers are of the whole store, whoever submits and works, so every process that is scraped says the same; take the
maximum over processes, not the sum. How soon jobs were picked up no store keeps, workers say it while they live: a
process shows what they say from its first count on, so take rates of it.

Counting costs the store a scan of what waits, so it is done in the background, and rarely where it takes long; a scrape
costs nothing. A store that is away leaves the numbers as they are, and the age of the last count grows.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.model import BEAT_LATE_SECONDS, WorkerBeat
from golive.jobs.stats import QueueStats, Stats
from golive.jobs.tally import BOUNDS_SECONDS

#: Between two counts, at least; and so many times as long as one took.
COUNT_SECONDS = 5.0
REST_RATIO = 20.0


class Gauge(Protocol):
    """A number that goes up and down."""

    def set(self, value: float, *labels: str) -> None:
        """Of the series of *labels*."""
        ...


class Count(Protocol):
    """A number that only grows."""

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """The series of *labels*, by a number >= 0."""
        ...


class Histogram(Protocol):
    """Counts of values by upper edge."""

    def merge(self, counts: Sequence[int], total: float, *labels: str) -> None:
        """Add *counts*, one for each edge and one for what is beyond, of values that are *total* together."""
        ...


class Meter(Protocol):
    """A registry: the chassis' is one."""

    def gauge(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """The gauge *name*; asked twice it is the same."""
        ...

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Count:
        """The counter *name*; asked twice it is the same."""
        ...

    def histogram(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), *, edges: tuple[float, ...]
    ) -> Histogram:
        """The histogram *name* with upper *edges*; asked twice it is the same."""
        ...


class Measures:
    """*count* is :meth:`golive.jobs.Jobs.stats`; *clock* is seconds since the epoch."""

    def __init__(
        self, meter: Meter, count: Callable[[], Awaitable[Stats]], clock: Callable[[], float] = time.time
    ) -> None:
        self._count, self._clock = count, clock
        by_queue, by_run = ("queue",), ("kind", "version", "end")
        self._pending = meter.gauge("jobs_pending", "Jobs that wait, those for later included.", by_queue)
        self._running = meter.gauge("jobs_running", "Jobs that run.", by_queue)
        self._dead = meter.gauge("jobs_dead", "Jobs that failed for good.", by_queue)
        self._oldest = meter.gauge("jobs_oldest_seconds", "How long the oldest due job has been due.", by_queue)
        self._paused = meter.gauge("jobs_queue_paused", "1 while nobody claims from the queue.", by_queue)
        self._slots = meter.gauge("jobs_worker_slots", "Jobs the workers of this process can run at a time.")
        self._busy = meter.gauge("jobs_worker_busy", "Slots of this process that are taken.")
        self._counted_at = meter.gauge("jobs_counted_timestamp_seconds", "When the numbers of the store were counted.")
        self._runs = meter.counter("jobs_runs_total", "Runs of handlers, by how they ended.", by_run)
        self._seconds = meter.counter("jobs_run_seconds_total", "The time these runs took together.", by_run)
        self._alive = meter.gauge("jobs_workers", "Workers that have lately said that they work.", ("version",))
        self._picked_up = meter.histogram(
            "jobs_pick_up_seconds", "How long jobs had been due when a worker claimed them.", ("version",),
            edges=BOUNDS_SECONDS,
        )  # fmt: skip
        self._versions: set[str] = set()
        self._beats: dict[str, WorkerBeat] | None = None
        self._queues: set[str] = set()
        self._seen: dict[tuple[str, str, str], tuple[int, float]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.once()
            except GoliveError as error:
                log.event("jobs.count_failed", level=log.WARNING, reason=str(error))
            await asyncio.sleep(max(COUNT_SECONDS, REST_RATIO * (time.monotonic() - began)))

    async def once(self) -> None:
        """Count, and say it."""
        stats = await self._count()
        paused = {pause.queue for pause in stats.paused}
        self._queues |= stats.queues.keys() | paused
        for name in self._queues:
            queue = stats.queues.get(name, _NOTHING)
            self._pending.set(queue.pending, name)
            self._running.set(queue.running, name)
            self._dead.set(queue.dead, name)
            self._oldest.set(queue.oldest_seconds, name)
            self._paused.set(float(name in paused), name)
        self._slots.set(sum(worker.slots for worker in stats.workers))
        self._busy.set(sum(worker.running for worker in stats.workers))
        for tally in stats.runs:
            labels = (tally.kind, tally.version, str(tally.end))
            runs, seconds = self._seen.get(labels, (0, 0.0))
            self._runs.inc(*labels, by=max(0, tally.runs - runs))
            self._seconds.inc(*labels, by=max(0.0, tally.seconds - seconds))
            self._seen[labels] = tally.runs, tally.seconds
        self._count_workers(stats.known)
        self._counted_at.set(self._clock())

    def _count_workers(self, beats: Sequence[WorkerBeat]) -> None:
        alive = Counter(each.version for each in beats if each.age_seconds < BEAT_LATE_SECONDS)
        self._versions |= alive.keys()
        for version in self._versions:
            self._alive.set(alive[version], version)
        known = {beat.name: beat for beat in beats}
        begun = known if self._beats is None else self._beats  # what they did before this process counted is not new
        for beat in beats:
            before = begun.get(beat.name)
            waits, seconds = (before.waits, before.waited_seconds) if before else ([0] * len(beat.waits), 0.0)
            more = [new - old for new, old in zip(beat.waits, waits, strict=True)]
            self._picked_up.merge(more, beat.waited_seconds - seconds, beat.version)
        self._beats = known


_NOTHING = QueueStats()
