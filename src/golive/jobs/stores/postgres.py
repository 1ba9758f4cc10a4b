"""
Jobs in PostgreSQL: for more than one machine. Durable, and every commit shared by what waits for it.

Submissions and results commit with ``synchronous_commit=on``, each through a :class:`~golive.jobs.stores.group.Group`;
claims, heartbeats and notifications commit without waiting for the disk, because what a database crash undoes there is
only done again. Leases are compared by the database's clock. Workers are woken by LISTEN/NOTIFY, sent outside the
transaction that inserts (its lock would serialise inserts) and at most once per :data:`NOTIFY_SECONDS`.

How it fails: a lost connection is made again on the next use; a notification that was lost in between costs the
worker's poll interval. After a fail-over the old connection is dropped as soon as the server says it is read-only.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from golive.db.postgres import Line, migrate
from golive.errors import UnavailableError
from golive.jobs import log
from golive.jobs.machine import Event, State, move
from golive.jobs.model import (
    Claim,
    Demand,
    Failure,
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
    pending,
)
from golive.jobs.ports import StoreCapability
from golive.jobs.split import Split
from golive.jobs.stores.group import Group
from golive.jobs.stores.postgres_statements import Statements
from golive.jobs.stores.within import Fetch, fetch_on
from golive.jobs.tally import KEPT_SECONDS, RunTally, run_end, tallies

#: Rows a counter is spread over; two workers that meet on one wait for each other's commits, and nothing else.
STRIPES = 64
#: The first of several submissions is told at once, the others together after this.
NOTIFY_SECONDS = 0.005
RELISTEN_SECONDS = 1.0

_LOST = msgspec.json.encode(Failure("worker_lost", "the worker that ran this job was lost", retryable=True))
_RESCUED = (State.PENDING, State.FAILED, State.CANCELLED)
_decode_split = msgspec.json.Decoder(Split).decode
_decode_progress = msgspec.json.Decoder(Progress).decode
_decode_failure = msgspec.json.Decoder(Failure).decode

#: The lists that have an index in their order; the others sort what another index finds.
_LISTED = (State.PENDING, State.FAILED, None)

Purpose = Literal["submit", "settle", "quick", "read", "list", "listen", "heart"]


class PostgresStore:
    """See :class:`golive.jobs.ports.JobStore`. One line per purpose and event loop, made when first used."""

    capabilities = frozenset(StoreCapability)
    result_bytes_max: int | None = None

    def __init__(self, url: str, table: str = "block_jobs") -> None:
        self._url = url
        self._table = table
        self._sql = Statements(table)
        self._lines: dict[tuple[asyncio.AbstractEventLoop, Purpose], Line] = {}
        self._groups: dict[asyncio.AbstractEventLoop, Group[NewJob, Submission]] = {}
        self._listeners: list[Callable[[], None]] = []
        self._listening: asyncio.Task[None] | None = None
        self._ringing: asyncio.Task[None] | None = None
        self._rung = False
        self._stripe = secrets.randbelow(STRIPES)

    async def open(self) -> None:
        """See the port."""
        await migrate(self._line("read"), self._sql.steps, f"jobs:{self._table}")

    async def close(self) -> None:
        """See the port."""
        loop = asyncio.get_running_loop()
        if group := self._groups.pop(loop, None):
            await group.drain()
        for task in (self._listening, self._ringing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._listening = self._ringing = None
        mine = [key for key in self._lines if key[0] is loop]
        await asyncio.gather(*(self._lines.pop(key).close() for key in mine))

    async def submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port."""
        loop = asyncio.get_running_loop()
        if loop not in self._groups:
            self._groups[loop] = Group(self._submit)
        submissions = await self._groups[loop].add(jobs)
        self._ring()
        return submissions

    async def submit_within(self, connection: Any, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port. *connection* is asyncpg's, psycopg's or SQLAlchemy's, to the store's database."""
        return await self._submit_by(fetch_on(connection), jobs)

    async def get(self, job: JobId) -> Job | None:
        """See the port."""
        rows = await self._fetch("read", self._sql.by_id, [job])
        return _job(rows[0]) if rows else None

    async def claim(
        self, demands: Sequence[Demand], limit: int, worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port."""
        if not demands:
            return []
        if any(demand.limits for demand in demands):
            work = partial(self._sql.limited.claim, demands=demands, limit=limit, worker=worker, version=version)
            rows = await self._line("quick").run(partial(work, lease_seconds=lease_seconds))
            return [_claim(row, worker) for row in sorted(rows, key=lambda row: (row[0], row[1], row[2]))]
        rows = await self._fetch(
            "quick", self._sql.claim, [each.queue for each in demands], [each.kind for each in demands],
            [each.limit for each in demands], limit, worker, version, lease_seconds,
        )  # fmt: skip
        return [_claim(row, worker) for row in sorted(rows, key=lambda row: (row[0], row[1], row[2]))]

    async def claim_jobs(
        self, jobs: Sequence[JobId], worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port."""
        rows = await self._fetch("quick", self._sql.claim_jobs, list(jobs), worker, version, lease_seconds)
        return [_claim(row, worker) for row in rows]

    async def overdue(self, demands: Sequence[Demand], seconds: float) -> list[Waiting]:
        """See the port."""
        columns = [[each.queue for each in demands], [each.kind for each in demands], [each.limit for each in demands]]
        return [Waiting(*row) for row in await self._fetch("read", self._sql.overdue, *columns, seconds)]

    async def extend(self, claims: Sequence[Claim], lease_seconds: float) -> list[Claim]:
        """See the port."""
        rows = await self._fetch("heart", self._sql.extend, *_identities(claims), lease_seconds)
        kept = {(row[0], row[1]) for row in rows}
        return [claim for claim in claims if (claim.id, claim.fence) not in kept]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See the port."""
        accepted = [False] * len(settlements)
        by_worker: dict[str, list[int]] = {}
        rest = []
        for index, each in enumerate(settlements):
            if each.event is Event.SUCCEED:
                by_worker.setdefault(each.worker, []).append(index)
            else:
                rest.append(index)
        for worker, indexes in by_worker.items():
            batch = [settlements[index] for index in indexes]
            rows = await self._fetch(
                "settle", self._sql.succeed, [each.id for each in batch], [each.fence for each in batch],
                [each.result for each in batch], [each.run_seconds for each in batch], worker, self._stripe,
            )  # fmt: skip
            for number in rows[0][0] or ():
                accepted[indexes[number - 1]] = True
        if rest:
            answers = await self._settle([settlements[index] for index in rest])
            for index, answer in zip(rest, answers, strict=True):
                accepted[index] = answer
        if costs := [
            (each.id, each.cost) for each, yes in zip(settlements, accepted, strict=True) if yes and each.cost
        ]:
            await self._fetch("settle", self._sql.upkeep.spend, *map(list, zip(*costs, strict=True)))
        return accepted

    async def _settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Whatever end they have; success, which is most of them, has a statement of its own that carries less."""
        states = [move(State.RUNNING, each.event) for each in settlements]
        rows = await self._fetch(
            "settle", self._sql.settle, *_identities(settlements), [str(state) for state in states],
            [each.result for each in settlements],
            [each.failure and msgspec.json.encode(each.failure) for each in settlements],
            [state.terminal for state in states], [each.delay_seconds for each in settlements],
            [int(each.event is Event.HAND_BACK) for each in settlements],
            [run_end(each.event, each.failure) for each in settlements], [each.run_seconds for each in settlements],
            self._stripe,
        )  # fmt: skip
        accepted = {(row[0], row[1]) for row in rows}
        return [_take((each.id, each.fence), accepted) for each in settlements]

    async def rescue(self, limit: int) -> list[Rescue]:
        """See the port."""
        rows = await self._fetch("quick", self._sql.rescue, limit, _LOST, *map(str, _RESCUED), self._stripe)
        return [Rescue(JobId(id_), kind, State(state), worker, attempts) for id_, kind, state, worker, attempts in rows]

    async def report(self, reports: Sequence[tuple[Claim, Progress]]) -> None:
        """See the port."""
        identities = _identities([claim for claim, _ in reports])
        await self._fetch("quick", self._sql.report, *identities, [msgspec.json.encode(said) for _, said in reports])

    async def cancel(self, job: JobId) -> Job | None:
        """See the port."""
        await self._fetch("settle", self._sql.cancel, job)
        await self._fetch("settle", self._sql.request, job)  # claimed or back in between: its next worker ends it
        return await self.get(job)

    async def cancel_requested(self, claims: Sequence[Claim]) -> list[Claim]:
        """See the port."""
        wanted = {(row[0], row[1]) for row in await self._fetch("read", self._sql.requested, *_identities(claims))}
        return [claim for claim in claims if (claim.id, claim.fence) in wanted]

    async def redrive(self, job: JobId, payload: bytes | None = None) -> Job | None:
        """See the port."""
        await self._fetch("settle", self._sql.redrive, job, payload)
        self._ring()
        return await self.get(job)

    async def hasten(self, job: JobId) -> Job | None:
        """See the port."""
        await self._fetch("settle", self._sql.upkeep.hasten, job)
        self._ring()
        return await self.get(job)

    async def page(
        self, limit: int, *, state: State | None, kind: str | None, before: JobId | None, queue: str | None = None,
        tenant: str | None = None,
    ) -> list[Job]:  # fmt: skip
        """See the port."""
        line: Purpose = "list" if state in _LISTED else "read"
        rows = await self._fetch(line, self._sql.page[state], kind, before, limit, queue, tenant)
        return [_job(row) for row in rows]

    async def prune(self, keep_seconds: Mapping[State, float], after: JobId | None, limit: int) -> Pruned:
        """See the port."""
        return await self._sql.upkeep.prune(partial(self._fetch, "heart"), keep_seconds, after, limit)

    async def paused(self) -> list[Pause]:
        """See the port."""
        return await self._sql.upkeep.paused(partial(self._fetch, "read"))

    async def set_paused(self, queue: str, reason: str | None) -> None:
        """See the port."""
        await self._sql.upkeep.set_paused(partial(self._fetch, "settle"), queue, reason)
        self._ring()

    async def beat(self, beat: WorkerBeat) -> None:
        """See the port."""
        await self._sql.upkeep.beat(partial(self._fetch, "quick"), beat)

    async def leave(self, worker: str) -> None:
        """See the port."""
        await self._sql.upkeep.leave(partial(self._fetch, "quick"), worker)

    async def workers(self) -> list[WorkerBeat]:
        """See the port."""
        return await self._sql.upkeep.workers(partial(self._fetch, "read"))

    async def schedules(self) -> list[Schedule]:
        """See the port."""
        return await self._sql.upkeep.schedules(partial(self._fetch, "read"))

    async def fire(self, schedule: Schedule, jobs: Sequence[NewJob]) -> bool:
        """See the port."""

        async def work(connection: Any) -> bool:
            async with connection.transaction():
                if not await connection.fetch(*self._sql.upkeep.advancing(schedule)):
                    return False
                await self._submit_by(connection.fetch, jobs)
                return True

        fired = await self._line("settle").run(work)
        self._ring()
        return fired

    async def unannounced(self, limit: int) -> list[Job]:
        """See the port."""
        return [_job(row) for row in await self._fetch("read", self._sql.upkeep.unannounced, limit)]

    async def announced(self, jobs: Sequence[Job]) -> None:
        """See the port."""
        await self._sql.upkeep.announced(partial(self._fetch, "settle"), jobs)

    async def depth(self) -> dict[tuple[str, State], int]:
        """See the port."""
        return {(queue, State(state)): count for queue, state, count in await self._fetch("read", self._sql.depth)}

    async def oldest(self) -> dict[str, float]:
        """See the port."""
        return dict(await self._fetch("read", self._sql.oldest))

    async def split(self) -> Split | None:
        """See the port."""
        rows = await self._fetch("read", self._sql.split)
        return _decode_split(rows[0][0]) if rows else None

    async def set_split(self, split: Split | None) -> None:
        """See the port."""
        if split is None:
            await self._fetch("settle", self._sql.end_split)
        else:
            await self._fetch("settle", self._sql.set_split, msgspec.json.encode(split).decode(), KEPT_SECONDS)
        self._ring()

    async def runs(self) -> list[RunTally]:
        """See the port."""
        return tallies(tuple(row) for row in await self._fetch("read", self._sql.runs))

    async def costs(self) -> dict[tuple[str, str], float]:
        """See the port."""
        rows = await self._fetch("read", self._sql.upkeep.costs)
        return {(version, kind): dollars for version, kind, dollars in rows}

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See the port. Call it on the loop that shall listen."""
        self._listeners.append(wake)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        return lambda: self._listeners.remove(wake)

    async def _submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        return await self._submit_by(partial(self._fetch, "submit"), jobs)

    async def _submit_by(self, fetch: Fetch, jobs: Sequence[NewJob]) -> list[Submission]:
        if any(job.webhook for job in jobs):
            rows = await fetch(self._sql.submit_hooked, *_columns(jobs), [job.webhook for job in jobs])
        else:
            rows = await fetch(self._sql.submit, *_columns(jobs))
        made = dict(rows)
        missing = [job for job in jobs if job.id not in made]
        earlier = await self._earlier(fetch, missing) if missing else {}
        return [
            Submission(pending(job, made.pop(job.id)), created=True)
            if job.id in made
            else Submission(_standing(job, earlier), False)
            for job in jobs
        ]

    async def _earlier(self, fetch: Fetch, jobs: Sequence[NewJob]) -> dict[object, Job]:
        keyed = [job for job in jobs if job.idempotency_key is not None]
        rows = await fetch(self._sql.by_id, [job.id for job in jobs])
        if keyed:
            rows += await fetch(
                self._sql.by_key, [job.tenant for job in keyed], [job.kind for job in keyed],
                [job.idempotency_key for job in keyed],
            )  # fmt: skip
        found: dict[object, Job] = {}
        for job in map(_job, rows):
            found[job.id] = found[job.tenant, job.kind, job.idempotency_key] = job
        return found

    async def _fetch(self, purpose: Purpose, sql: str, *arguments: object) -> list[Any]:
        return await self._line(purpose).run(lambda connection: connection.fetch(sql, *arguments))

    def _line(self, purpose: Purpose) -> Line:
        key = (asyncio.get_running_loop(), purpose)
        if key not in self._lines:
            by_index = purpose in ("settle", "quick", "heart", "list")
            self._lines[key] = Line(self._url, durable=purpose in ("submit", "settle"), by_index=by_index)
        return self._lines[key]

    def _ring(self) -> None:
        self._rung = True
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        """At once, and again for as long as jobs keep coming."""
        while self._rung:
            self._rung = False
            try:
                await self._fetch("quick", "select pg_notify($1, '')", f"golive_{self._table}")
            except UnavailableError:  # the workers' poll finds the jobs
                log.event("jobs.notify_failed", level=log.DEBUG)
            await asyncio.sleep(NOTIFY_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                await self._line("listen").listen(f"golive_{self._table}", self._heard)
            except UnavailableError as error:
                log.event("jobs.listen_failed", level=log.WARNING, reason=str(error))
            await asyncio.sleep(RELISTEN_SECONDS)

    def _heard(self) -> None:
        for wake in tuple(self._listeners):
            wake()


def _columns(jobs: Sequence[NewJob]) -> tuple[list[Any], ...]:
    names = (
        "id",
        "kind",
        "queue",
        "tenant",
        "priority",
        "run_at",
        "attempts_max",
        "payload",
        "idempotency_key",
        "fingerprint",
    )
    return tuple([getattr(job, name) for job in jobs] for name in names)


def _identities(claims: Sequence[Claim | Settlement]) -> tuple[list[str], list[str], list[int]]:
    return [each.id for each in claims], [each.worker for each in claims], [each.fence for each in claims]


def _standing(job: NewJob, earlier: dict[object, Job]) -> Job:
    """The job that stands for *job*: the one with its key, or the one with its id."""
    keyed = None if job.idempotency_key is None else earlier.get((job.tenant, job.kind, job.idempotency_key))
    return keyed or earlier[job.id]


def _take(identity: tuple[str, int], accepted: set[tuple[str, int]]) -> bool:
    """True once: a claim that is settled twice in one batch is settled once."""
    found = identity in accepted
    accepted.discard(identity)
    return found


def _claim(row: Any, worker: str) -> Claim:
    _, _, id_, kind, queue, tenant, attempts, attempts_max, payload, created_at, fence, waited = row
    return Claim(JobId(id_), kind, queue, tenant, attempts, attempts_max, payload, created_at, worker, fence, waited)


def _job(row: Any) -> Job:
    values = list(row)
    values[4] = State(values[4])
    values[18] = None if values[18] is None else _decode_failure(values[18])
    values[19] = None if values[19] is None else _decode_progress(values[19])
    return Job(*values)
