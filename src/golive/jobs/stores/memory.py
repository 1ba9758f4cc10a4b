"""
Jobs in this process's memory: for tests and throw-away tools. Passes the suite every store passes; keeps nothing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import NamedTuple

from msgspec.structs import replace

from golive.errors import UsageError
from golive.jobs.limits import NO_LIMITS, Due, choose
from golive.jobs.machine import TRANSITIONS, Event, State, after_expiry, move, unless_cancelled
from golive.jobs.model import (
    BEAT_KEPT_SECONDS,
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
from golive.jobs.split import Split, may_claim
from golive.jobs.tally import RunEnd, RunTally, duration_bucket, run_end, tallies


class _Held(NamedTuple):
    worker: str
    fence: int
    until: float


class MemoryStore:
    """See :class:`golive.jobs.ports.JobStore`. *clock* is seconds since the epoch."""

    capabilities = frozenset(
        {StoreCapability.SUBMIT_LARGE, StoreCapability.ONE_CLOCK, StoreCapability.LIMITS, StoreCapability.COSTS}
    )
    result_bytes_max: int | None = None

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # a worker renews its leases from a thread of its own
        self._jobs: dict[JobId, Job] = {}
        self._keys: dict[tuple[str, str, str], JobId] = {}
        self._held: dict[JobId, _Held] = {}
        self._fences: Counter[JobId] = Counter()
        self._listeners: list[Callable[[], None]] = []
        self._split: Split | None = None
        self._runs: dict[tuple[str, str, str, int], tuple[int, float]] = {}
        self._costs: Counter[tuple[str, str]] = Counter()
        self._paused: dict[str, Pause] = {}
        self._beats: dict[str, tuple[float, WorkerBeat]] = {}
        self._schedules: dict[str, Schedule] = {}
        self._full_at: dict[str, float] = {}
        self._announced: dict[JobId, float | None] = {}

    async def open(self) -> None:
        """See the port."""

    async def close(self) -> None:
        """See the port. The jobs stay with this object, as a file would keep them."""

    async def submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port."""
        with self._lock:
            submissions = [self._submit(new) for new in jobs]
        for wake in tuple(self._listeners):
            wake()
        return submissions

    async def submit_within(self, connection: object, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port."""
        raise UsageError("jobs in memory: expected a database, got none. There is no transaction to submit within.")

    async def get(self, job: JobId) -> Job | None:
        """See the port."""
        return self._jobs.get(job)

    async def claim(
        self, demands: Sequence[Demand], limit: int, worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port."""
        now = self._clock()
        with self._lock:
            due = [job for job in self._jobs.values() if job.state is State.PENDING and job.run_at <= now]
            due = [job for job in due if may_claim(self._split, job.id, version)]
            demands = [demand for demand in demands if demand.queue not in self._paused]
            if any(demand.limits for demand in demands):
                chosen = self._within_limits(due, demands, limit, now)
                return [self._claim(job, worker, now, lease_seconds, version) for job in chosen]
            chosen = [job for demand in demands for job in _first(demand.limit, _matching(due, demand))]
            return [self._claim(job, worker, now, lease_seconds, version) for job in _first(limit, chosen)]

    async def claim_jobs(
        self, jobs: Sequence[JobId], worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """See the port."""
        now = self._clock()
        with self._lock:
            named = [job for id_ in dict.fromkeys(jobs) if (job := self._jobs.get(id_))]
            due = [job for job in named if job.state is State.PENDING and job.run_at <= now]
            due = [job for job in due if job.queue not in self._paused]
            return [
                self._claim(job, worker, now, lease_seconds, version)
                for job in due
                if may_claim(self._split, job.id, version)
            ]

    async def overdue(self, demands: Sequence[Demand], seconds: float) -> list[Waiting]:
        """See the port."""
        latest = self._clock() - seconds
        with self._lock:
            late = [job for job in self._jobs.values() if job.state is State.PENDING and job.run_at < latest]
        return [
            Waiting(job.id, job.kind, job.queue, job.tenant, job.run_at)
            for demand in demands
            for job in _first(demand.limit, _matching(late, demand))
        ]

    async def extend(self, claims: Sequence[Claim], lease_seconds: float) -> list[Claim]:
        """See the port."""
        with self._lock:
            for claim in claims:
                if self._holds(claim):
                    self._held[claim.id] = _Held(claim.worker, claim.fence, self._clock() + lease_seconds)
            return [claim for claim in claims if not self._holds(claim)]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """See the port."""
        with self._lock:
            return [self._settle(settlement) for settlement in settlements]

    async def rescue(self, limit: int) -> list[Rescue]:
        """See the port."""
        with self._lock:
            expired = [job for job, held in self._held.items() if held.until < self._clock()]
            return [self._rescue(self._jobs[job]) for job in expired[:limit]]

    async def report(self, reports: Sequence[tuple[Claim, Progress]]) -> None:
        """See the port."""
        with self._lock:
            for claim, progress in reports:
                if self._holds(claim):
                    self._jobs[claim.id] = replace(self._jobs[claim.id], progress=progress)

    async def cancel(self, job: JobId) -> Job | None:
        """See the port."""
        with self._lock:
            found = self._jobs.get(job)
            if found and found.state is State.PENDING:
                cancelled = move(found.state, Event.CANCEL)
                self._jobs[job] = replace(found, state=cancelled, finished_at=self._clock(), cancel_requested=True)
            elif found and found.state is State.RUNNING:
                self._jobs[job] = replace(found, cancel_requested=True)
            return self._jobs.get(job)

    async def cancel_requested(self, claims: Sequence[Claim]) -> list[Claim]:
        """See the port."""
        with self._lock:
            return [claim for claim in claims if self._holds(claim) and self._jobs[claim.id].cancel_requested]

    def _within_limits(self, due: list[Job], demands: Sequence[Demand], limit: int, now: float) -> list[Job]:
        wanted = {(each.queue, each.kind): (each.limit, each.limits or NO_LIMITS) for each in demands}
        asked = [job for job in due if (job.queue, job.kind) in wanted]
        running = Counter((self._jobs[id_].queue, self._jobs[id_].tenant) for id_ in self._held)
        seen = [Due(job.queue, job.kind, job.tenant, job.priority, job.run_at, job.id) for job in asked]
        choice = choose(limit, seen, wanted, running, self._full_at, now)
        self._full_at |= choice.full_at
        return [self._jobs[JobId(id_)] for id_ in choice.ids]

    async def redrive(self, job: JobId, payload: bytes | None = None) -> Job | None:
        """See the port."""
        with self._lock:
            found = self._jobs.get(job)
            if found and (found.state, Event.REDRIVE) in TRANSITIONS:
                self._jobs[job] = replace(
                    found, state=move(found.state, Event.REDRIVE), attempts=0, run_at=self._clock(), finished_at=None,
                    progress=None, cancel_requested=False, payload=found.payload if payload is None else payload,
                )  # fmt: skip
                self._announced.pop(job, None)
        for wake in tuple(self._listeners):
            wake()
        return self._jobs.get(job)

    async def hasten(self, job: JobId) -> Job | None:
        """See the port."""
        with self._lock:
            found = self._jobs.get(job)
            if found and found.state is State.PENDING:
                self._jobs[job] = replace(found, run_at=min(found.run_at, self._clock()))
        for wake in tuple(self._listeners):
            wake()
        return self._jobs.get(job)

    async def page(
        self, limit: int, *, state: State | None, kind: str | None, before: JobId | None, queue: str | None = None,
        tenant: str | None = None,
    ) -> list[Job]:  # fmt: skip
        """See the port."""
        with self._lock:
            matching = [
                job
                for job in self._jobs.values()
                if state in (None, job.state) and kind in (None, job.kind) and (before is None or job.id < before)
                and queue in (None, job.queue) and tenant in (None, job.tenant)
            ]  # fmt: skip
        return sorted(matching, key=lambda job: job.id, reverse=True)[:limit]

    async def prune(self, keep_seconds: Mapping[State, float], after: JobId | None, limit: int) -> Pruned:
        """See the port."""
        now = self._clock()
        with self._lock:
            seen = sorted(id_ for id_ in self._jobs if after is None or id_ > after)[:limit]
            gone = [id_ for id_ in seen if _is_over(self._jobs[id_], keep_seconds, now)]
            for id_ in gone:
                job = self._jobs.pop(id_)
                if job.idempotency_key is not None:
                    del self._keys[job.tenant, job.kind, job.idempotency_key]
        return Pruned(gone, seen[-1] if len(seen) == limit else None)

    async def paused(self) -> list[Pause]:
        """See the port."""
        return [self._paused[queue] for queue in sorted(self._paused)]

    async def set_paused(self, queue: str, reason: str | None) -> None:
        """See the port."""
        with self._lock:
            self._paused.pop(queue, None)
            if reason is not None:
                self._paused[queue] = Pause(queue, self._clock(), reason)
        for wake in tuple(self._listeners):
            wake()

    async def beat(self, beat: WorkerBeat) -> None:
        """See the port."""
        with self._lock:
            now = self._clock()
            self._beats = {name: kept for name, kept in self._beats.items() if kept[0] >= now - BEAT_KEPT_SECONDS}
            self._beats[beat.name] = (now, beat)

    async def leave(self, worker: str) -> None:
        """See the port."""
        with self._lock:
            self._beats.pop(worker, None)

    async def workers(self) -> list[WorkerBeat]:
        """See the port."""
        with self._lock:
            now = self._clock()
            return [replace(beat, age_seconds=now - at) for _, (at, beat) in sorted(self._beats.items())]

    async def schedules(self) -> list[Schedule]:
        """See the port."""
        return [self._schedules[name] for name in sorted(self._schedules)]

    async def fire(self, schedule: Schedule, jobs: Sequence[NewJob]) -> bool:
        """See the port."""
        with self._lock:
            known = self._schedules.get(schedule.name)
            if known and known.fired_at >= schedule.fired_at:
                return False
            self._schedules[schedule.name] = schedule
        await self.submit(jobs)
        return True

    async def unannounced(self, limit: int) -> list[Job]:
        """See the port."""
        with self._lock:
            ended = (job for job in self._jobs.values() if job.webhook is not None and job.state.terminal)
            return [job for job in ended if self._announced.get(job.id) != job.finished_at][:limit]

    async def announced(self, jobs: Sequence[Job]) -> None:
        """See the port."""
        with self._lock:
            self._announced |= {job.id: job.finished_at for job in jobs}

    async def depth(self) -> dict[tuple[str, State], int]:
        """See the port."""
        counted = (State.PENDING, State.RUNNING, State.FAILED)
        return dict(Counter((job.queue, job.state) for job in self._jobs.values() if job.state in counted))

    async def oldest(self) -> dict[str, float]:
        """See the port."""
        now, ages = self._clock(), dict[str, float]()
        with self._lock:
            for job in self._jobs.values():
                if job.state is State.PENDING and job.run_at <= now:
                    ages[job.queue] = max(ages.get(job.queue, 0.0), now - job.run_at)
        return ages

    async def split(self) -> Split | None:
        """See the port."""
        return self._split

    async def set_split(self, split: Split | None) -> None:
        """See the port."""
        self._split = split

    async def runs(self) -> list[RunTally]:
        """See the port."""
        with self._lock:
            return tallies((*key, *counts) for key, counts in self._runs.items())

    async def costs(self) -> dict[tuple[str, str], float]:
        """See the port."""
        with self._lock:
            return {key: float(dollars) for key, dollars in self._costs.items()}

    def _tally(self, job: Job, end: RunEnd | None, seconds: float) -> None:
        if end is not None:
            key = (job.version or "", job.kind, str(end), duration_bucket(seconds))
            runs, spent = self._runs.get(key, (0, 0.0))
            self._runs[key] = (runs + 1, spent + seconds)

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See the port."""
        self._listeners.append(wake)
        return lambda: self._listeners.remove(wake)

    def _submit(self, new: NewJob) -> Submission:
        key = None if new.idempotency_key is None else (new.tenant, new.kind, new.idempotency_key)
        earlier = (self._keys.get(key) if key else None) or (new.id if new.id in self._jobs else None)
        if earlier:
            return Submission(self._jobs[earlier], created=False)
        job = pending(new, self._clock())
        self._jobs[new.id] = job
        if key:
            self._keys[key] = new.id
        return Submission(job, created=True)

    def _claim(self, job: Job, worker: str, now: float, lease_seconds: float, version: str | None) -> Claim:
        attempts = job.attempts + 1
        self._jobs[job.id] = replace(
            job, state=move(job.state, Event.CLAIM), attempts=attempts, worker=worker, version=version, started_at=now
        )
        self._fences[job.id] += 1
        fence = self._fences[job.id]
        self._held[job.id] = _Held(worker, fence, now + lease_seconds)
        return Claim(
            job.id,
            job.kind,
            job.queue,
            job.tenant,
            attempts,
            job.attempts_max,
            job.payload,
            job.created_at,
            worker,
            fence,
            now - job.run_at,
        )

    def _holds(self, claim: Claim | Settlement) -> bool:
        held = self._held.get(claim.id)
        return held is not None and (held.worker, held.fence) == (claim.worker, claim.fence)

    def _settle(self, settlement: Settlement) -> bool:
        if not self._holds(settlement):
            return False
        job, now = self._jobs[settlement.id], self._clock()
        self._tally(job, run_end(settlement.event, settlement.failure), settlement.run_seconds)
        if settlement.cost:
            self._costs[job.version or "", job.kind] += settlement.cost  # type: ignore[assignment]
            job = replace(job, cost=(job.cost or 0.0) + settlement.cost)
        state = move(job.state, unless_cancelled(settlement.event, job.cancel_requested))
        self._release(
            replace(
                job,
                state=state,
                result=settlement.result,
                failure=settlement.failure or job.failure,
                run_at=job.run_at if state.terminal else now + settlement.delay_seconds,
                finished_at=now if state.terminal else None,
                attempts=job.attempts - (settlement.event is Event.HAND_BACK),
            )
        )
        return True

    def _rescue(self, job: Job) -> Rescue:
        event = after_expiry(job.attempts, job.attempts_max, job.cancel_requested)
        state, now = move(job.state, event), self._clock()
        failure = Failure("worker_lost", "the worker that ran this job was lost", retryable=True)
        self._tally(job, RunEnd.LOST, now - (job.started_at or now))
        self._release(
            replace(job, state=state, failure=failure, run_at=now, finished_at=now if state.terminal else None)
        )
        return Rescue(job.id, job.kind, state, job.worker or "", job.attempts)

    def _release(self, job: Job) -> None:
        self._jobs[job.id] = job
        del self._held[job.id]


def _matching(jobs: Iterable[Job], demand: Demand) -> Iterable[Job]:
    return (job for job in jobs if (job.queue, job.kind) == (demand.queue, demand.kind))


def _first(limit: int, jobs: Iterable[Job]) -> list[Job]:
    return nsmallest(limit, jobs, key=lambda job: (job.priority, job.run_at, job.id))


def _is_over(job: Job, keep_seconds: Mapping[State, float], now: float) -> bool:
    keep = keep_seconds.get(job.state)
    return keep is not None and job.finished_at is not None and job.finished_at < now - keep
