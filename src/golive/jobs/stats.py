"""Plain numbers about queues and workers, for metrics, autoscalers and dashboards. No exporter lives here."""

from __future__ import annotations

import msgspec

from golive.jobs.machine import State
from golive.jobs.model import Pause, WorkerBeat
from golive.jobs.ports import JobStore
from golive.jobs.split import Split
from golive.jobs.tally import RunTally


class QueueStats(msgspec.Struct, frozen=True):
    """One queue, all processes together. *oldest_seconds* is how long the longest-waiting due job has been due."""

    pending: int = 0
    running: int = 0
    dead: int = 0
    oldest_seconds: float = 0.0


class WorkerStats(msgspec.Struct, frozen=True):
    """
    One worker of this process, since it started.

    Attributes:
        slots: jobs it can run at the same time; *running* of them are taken.
        succeeded, failed, retried, handed_back, cancelled: how claims ended here, once durable.
        refused: results of claims that were lost to another worker.
        runs, run_seconds: finished runs of handlers, and the time they took together.
    """

    name: str
    slots: int
    running: int
    succeeded: int
    failed: int
    retried: int
    handed_back: int
    cancelled: int
    refused: int
    runs: int
    run_seconds: float


class Stats(msgspec.Struct, frozen=True):
    """
    What :meth:`golive.jobs.Jobs.stats` returns: by queue, the workers of this process, and what became of the runs of
    each version in all of them, with the split of claims between two versions if there is one, the paused queues, and
    what every worker of the store said last.
    """

    queues: dict[str, QueueStats]
    workers: list[WorkerStats]
    runs: list[RunTally] = []
    split: Split | None = None
    paused: list[Pause] = []
    known: list[WorkerBeat] = []


async def queue_stats(store: JobStore, known: set[str]) -> dict[str, QueueStats]:
    """Every queue of *store*, and those of *known* that are empty. Counting scans what waits: ask every few seconds."""
    depth, oldest = await store.depth(), await store.oldest()
    return {
        queue: QueueStats(
            pending=depth.get((queue, State.PENDING), 0),
            running=depth.get((queue, State.RUNNING), 0),
            dead=depth.get((queue, State.FAILED), 0),
            oldest_seconds=oldest.get(queue, 0.0),
        )
        for queue in sorted(known | {queue for queue, _ in depth})
    }
