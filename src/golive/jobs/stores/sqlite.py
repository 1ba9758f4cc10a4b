"""
Jobs in a SQLite file: the embedded default. Durable (FULL), shared by the processes of one machine.

Writes go through one :class:`~golive.jobs.stores.lane.Lane` per process, reads through another; SQLite's own lock
orders the processes. Other processes' commits are noticed by :class:`~golive.jobs.stores.sqlite_watch.Watch`. Time is
this machine's clock: all users of the file share it.

Left out: network file systems (no shared memory) and more than one machine; that is what PostgreSQL is for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from golive.db.sqlite import Connection, connect, migrate, storage_errors
from golive.jobs.machine import State
from golive.jobs.model import (
    Claim,
    Demand,
    Job,
    JobId,
    NewJob,
    Pause,
    Progress,
    Pruned,
    Rescue,
    Schedule,
    Settlement,
    Submission,
    Waiting,
    WorkerBeat,
)
from golive.jobs.ports import StoreCapability
from golive.jobs.split import Split, bucket
from golive.jobs.stores import sqlite_statements as statements
from golive.jobs.stores.group import Group
from golive.jobs.stores.lane import Lane
from golive.jobs.stores.sqlite_watch import Watch
from golive.jobs.stores.sqlite_within import within
from golive.jobs.tally import RunTally

T = TypeVar("T")


class SqliteStore:
    """See :class:`golive.jobs.ports.JobStore`. *clock* is seconds since the epoch; a test may own it."""

    capabilities = frozenset(StoreCapability)
    result_bytes_max: int | None = None

    def __init__(self, path: str | Path, table: str = "block_jobs", clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._sql = statements.Statements(table)
        self._clock = clock
        self._groups: dict[asyncio.AbstractEventLoop, Group[NewJob, Submission]] = {}
        self._opening = asyncio.Lock()
        self._writer: Lane | None = None
        self._reader: Lane | None = None
        self._watch: Watch | None = None

    async def open(self) -> None:
        """See the port."""
        async with self._opening:
            if self._writer is None:
                writing, reading = await asyncio.to_thread(self._connect)
                self._watch = Watch(self.path)
                self._reader = Lane(reading, "golive-jobs-reader", "deferred")
                self._writer = Lane(writing, "golive-jobs-writer", "immediate")

    async def close(self) -> None:
        """See the port."""
        if group := self._groups.pop(asyncio.get_running_loop(), None):
            await group.drain()
        async with self._opening:
            writer, reader, watch = self._writer, self._reader, self._watch
            self._writer = self._reader = self._watch = None
            if writer and reader and watch:
                await asyncio.gather(writer.close(), reader.close(), asyncio.to_thread(watch.close))

    async def submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port."""
        loop = asyncio.get_running_loop()
        if loop not in self._groups:
            self._groups[loop] = Group(self._submit)
        submissions = await self._groups[loop].add(jobs)
        if self._watch:  # closed in between, perhaps; the jobs are durable all the same
            self._watch.ring()  # the workers of this process need not wait for the next look
        return submissions

    async def submit_within(self, connection: object, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port. *connection* is sqlite3's or SQLAlchemy's, to the store's file, used in the calling thread."""
        with storage_errors(self.path):
            return await within(connection, self.path, partial(self._sql.submit, jobs=jobs, now=self._clock()))

    async def get(self, job: JobId) -> Job | None:
        """See the port."""
        return await self._read(partial(self._sql.get, job=job))

    async def claim(
        self, demands: Sequence[Demand], limit: int, worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port."""
        now = self._clock()
        work = partial(self._sql.claim, demands=demands, limit=limit, worker=worker, version=version)
        return await self._write(partial(work, now=now, lease_until=now + lease_seconds), durable=False)

    async def claim_jobs(
        self, jobs: Sequence[JobId], worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port."""
        now = self._clock()
        work = partial(self._sql.claim_jobs, jobs=jobs, worker=worker, version=version)
        return await self._write(partial(work, now=now, lease_until=now + lease_seconds), durable=False)

    async def overdue(self, demands: Sequence[Demand], seconds: float) -> list[Waiting]:
        """See the port."""
        return await self._read(partial(self._sql.overdue, demands=demands, before=self._clock() - seconds))

    async def extend(self, claims: Sequence[Claim], lease_seconds: float) -> list[Claim]:
        """See the port."""
        work = partial(self._sql.extend, claims=claims, lease_until=self._clock() + lease_seconds)
        return await self._write(work, durable=False)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See the port."""
        return await self._write(partial(self._sql.settle, settlements=settlements, now=self._clock()))

    async def rescue(self, limit: int) -> list[Rescue]:
        """See the port."""
        return await self._write(partial(self._sql.rescue, limit=limit, now=self._clock()))

    async def report(self, reports: Sequence[tuple[Claim, Progress]]) -> None:
        """See the port."""
        await self._write(partial(self._sql.report, reports=reports), durable=False)

    async def cancel(self, job: JobId) -> Job | None:
        """See the port."""
        return await self._write(partial(self._sql.cancel, job=job, now=self._clock()))

    async def cancel_requested(self, claims: Sequence[Claim]) -> list[Claim]:
        """See the port."""
        return await self._read(partial(self._sql.cancel_requested, claims=claims))

    async def redrive(self, job: JobId, payload: bytes | None = None) -> Job | None:
        """See the port."""
        return await self._write(partial(self._sql.redrive, job=job, payload=payload, now=self._clock()))

    async def hasten(self, job: JobId) -> Job | None:
        """See the port."""
        return await self._write(partial(self._sql.hasten, job=job, now=self._clock()))

    async def page(
        self, limit: int, *, state: State | None, kind: str | None, before: JobId | None, queue: str | None = None,
        tenant: str | None = None,
    ) -> list[Job]:  # fmt: skip
        """See the port."""
        narrow = partial(self._sql.page, state=state, kind=kind, queue=queue, tenant=tenant)
        return await self._read(partial(narrow, limit=limit, before=before))

    async def prune(self, keep_seconds: Mapping[State, float], after: JobId | None, limit: int) -> Pruned:
        """See the port."""
        work = partial(self._sql.upkeep.prune, keep_seconds=keep_seconds, after=after, limit=limit)
        return await self._write(partial(work, now=self._clock()))

    async def paused(self) -> list[Pause]:
        """See the port."""
        return await self._read(self._sql.upkeep.paused)

    async def set_paused(self, queue: str, reason: str | None) -> None:
        """See the port."""
        await self._write(partial(self._sql.upkeep.set_paused, queue=queue, reason=reason, now=self._clock()))

    async def beat(self, beat: WorkerBeat) -> None:
        """See the port."""
        await self._write(partial(self._sql.upkeep.beat, beat=beat, now=self._clock()), durable=False)

    async def leave(self, worker: str) -> None:
        """See the port."""
        await self._write(partial(self._sql.upkeep.leave, worker=worker), durable=False)

    async def workers(self) -> list[WorkerBeat]:
        """See the port."""
        return await self._read(partial(self._sql.upkeep.workers, now=self._clock()))

    async def schedules(self) -> list[Schedule]:
        """See the port."""
        return await self._read(self._sql.upkeep.schedules)

    async def fire(self, schedule: Schedule, jobs: Sequence[NewJob]) -> bool:
        """See the port."""
        fired = await self._write(partial(self._sql.fire, schedule=schedule, jobs=jobs, now=self._clock()))
        if fired and self._watch:
            self._watch.ring()
        return fired

    async def unannounced(self, limit: int) -> list[Job]:
        """See the port."""
        return await self._read(partial(self._sql.unannounced, limit=limit))

    async def announced(self, jobs: Sequence[Job]) -> None:
        """See the port."""
        await self._write(partial(self._sql.upkeep.announced, jobs=jobs))

    async def depth(self) -> dict[tuple[str, State], int]:
        """See the port."""
        return await self._read(self._sql.depth)

    async def oldest(self) -> dict[str, float]:
        """See the port."""
        return await self._read(partial(self._sql.oldest, now=self._clock()))

    async def split(self) -> Split | None:
        """See the port."""
        return await self._read(self._sql.split)

    async def set_split(self, split: Split | None) -> None:
        """See the port."""
        await self._write(partial(self._sql.set_split, split=split, now=self._clock()))

    async def runs(self) -> list[RunTally]:
        """See the port."""
        return await self._read(self._sql.runs)

    async def costs(self) -> dict[tuple[str, str], float]:
        """See the port."""
        return await self._read(self._sql.upkeep.costs)

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See the port."""
        assert self._watch, "open() comes first"
        return self._watch.subscribe(wake)

    async def _submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        return await self._write(partial(self._sql.submit, jobs=jobs, now=self._clock()))

    def _read(self, work: Callable[[Connection], T]) -> asyncio.Future[T]:
        assert self._reader, "open() comes first"
        return self._reader.run(work)

    def _write(self, work: Callable[[Connection], T], *, durable: bool = True) -> asyncio.Future[T]:
        assert self._writer, "open() comes first"
        return self._writer.run(work, durable=durable)

    def _connect(self) -> tuple[Connection, Connection]:
        writing = connect(self.path, check_same_thread=False)
        writing.create_function("golive_bucket", 2, bucket, deterministic=True)
        migrate(writing, self._sql.steps, f"jobs:{self._sql.table}")
        return writing, connect(self.path, create=False, check_same_thread=False)
