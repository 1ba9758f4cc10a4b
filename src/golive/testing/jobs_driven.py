"""
Test an application's jobs without a worker, without a database and without waiting.

    with driven(jobs) as drive:
        job = await jobs.submit("invoice", {"order": 7})
        await drive.run_until_empty()          # retries included: time jumps to whatever is due next

    with driven(jobs, inline=True):            # each job has run when its submission returns
        ...

    with driven(jobs, at=datetime(2026, 3, 28, tzinfo=UTC)) as drive:
        await drive.advance("24h")             # schedules fire on the way

Inside, the application keeps its jobs in memory, on a clock of its own that moves only when it is told to. Runs are the
real worker's: payloads are validated, time-outs and retries are what they are in production. What a handler itself
sleeps, it sleeps; and limits over all workers and breakers are not looked at, because there is one worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from golive.jobs.app import Jobs
from golive.jobs.layer import StoreLayer
from golive.jobs.machine import State
from golive.jobs.model import Job, JobId, NewJob, Submission
from golive.jobs.named import run_named
from golive.jobs.ports import JobStore
from golive.jobs.scheduler import Scheduler
from golive.jobs.stores.memory import MemoryStore
from golive.timing import parse_duration

#: Runs in one go; more is a job that submits itself, or one that never ends.
RUNS_MAX = 10_000
#: Jobs that wait at the same time, at most.
WAITING_MAX = 100_000


class Drive:
    """What :func:`driven` gives. *now* is the virtual moment, in seconds since the epoch."""

    def __init__(self, jobs: Jobs, at: float) -> None:
        self.now = at
        self.store = MemoryStore(self._clock)
        self._jobs = jobs
        self._scheduler: Scheduler | None = None

    async def run_until_empty(self) -> list[Job]:
        """
        Run every pending job to its end, whenever it is due. Schedules do not fire: they never end.

        Returns: the jobs that ran, as they are now, in the order of their first runs.
        Raises: AssertionError naming the jobs that are left when nothing can go on, or after :data:`RUNS_MAX` runs.
        """
        ran: dict[JobId, None] = {}
        runs = 0
        while waiting := await self.waiting():
            due = [job.id for job in waiting if job.run_at <= self.now]
            if not due:
                self.now = min(job.run_at for job in waiting)
                continue
            done = await self._run(due)
            runs += len(done)
            ran |= dict.fromkeys(done)
            if not done or runs > RUNS_MAX:
                left = ", ".join(f"{job.kind} {job.id}" for job in waiting[:5])
                raise AssertionError(f"expected every job to end, got {len(waiting)} that do not, such as {left}.")
        return [job for id_ in ran if (job := await self.store.get(id_))]

    async def advance(self, by: str | timedelta) -> list[Job]:
        """
        Let time pass, ``"24h"``: what falls due on the way runs then, and schedules fire.

        Returns: the jobs that ran, as they are now.
        Raises: AssertionError after :data:`RUNS_MAX` runs.
        """
        length = parse_duration(by) if isinstance(by, str) else by
        until = self.now + length.total_seconds() + 1e-6  # a datetime has whole microseconds
        ran: dict[JobId, None] = {}
        runs = 0
        scheduler = await self._scheduled()
        while True:
            await scheduler.step()
            done = await self._run([job.id for job in await self.waiting() if job.run_at <= self.now])
            ran |= dict.fromkeys(done)
            runs += len(done)
            assert runs <= RUNS_MAX, f"expected at most {RUNS_MAX} runs within {length}, got more"
            moments = [job.run_at for job in await self.waiting() if job.run_at > self.now]
            moments += [at for each in self._jobs.schedules.values() if (at := each.cadence.next(self.now)) is not None]
            if not moments or min(moments) > until:
                break
            self.now = min(moments)
        self.now = max(self.now, until - 1e-6)
        return [job for id_ in ran if (job := await self.store.get(id_))]

    async def waiting(self) -> list[Job]:
        """The pending jobs, oldest first."""
        return (await self.store.page(WAITING_MAX, state=State.PENDING, kind=None, before=None))[::-1]

    async def run(self, jobs: Sequence[JobId]) -> None:
        """Run *jobs* to their ends, and time to whatever they wait for."""
        for id_ in jobs:
            for _ in range(RUNS_MAX):
                job = await self.store.get(id_)
                if job is None or job.state is not State.PENDING:
                    break
                self.now = max(self.now, job.run_at)
                if not await self._run([id_]):
                    break  # paused, perhaps: it stays where it is

    async def _run(self, due: Sequence[JobId]) -> list[JobId]:
        """One attempt of each; returns those that had one."""
        if not due:
            return []
        ends = await run_named(self.store, self._jobs.handlers, self._jobs.settings, [[id_] for id_ in due])
        return [id_ for id_, end in ends.items() if end.event is not None]

    async def _scheduled(self) -> Scheduler:
        if self._scheduler is None:
            schedules = list(self._jobs.schedules.values())
            self._scheduler = Scheduler(self.store, schedules, self._jobs.occurrence, self._clock)
            await self._scheduler.begin()
        return self._scheduler

    def _clock(self) -> float:
        return self.now


class _Inline(StoreLayer):
    """Runs what is submitted, before the submission returns. What is due in the future waits."""

    def __init__(self, inner: JobStore, drive: Drive) -> None:
        super().__init__(inner)
        self._drive = drive

    async def submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port."""
        submissions = await self.inner.submit(jobs)
        now = self._drive.now
        await self._drive.run([each.job.id for each in submissions if each.job.run_at <= now])
        return [Submission(await self.inner.get(each.job.id) or each.job, each.created) for each in submissions]


class _Anywhere(StoreLayer):
    """Takes any connection: what is submitted within a transaction is there at once."""

    async def submit_within(self, connection: Any, jobs: Sequence[NewJob]) -> list[Submission]:
        """See the port."""
        del connection
        return await self.inner.submit(jobs)


@contextmanager
def driven(jobs: Jobs, *, inline: bool = False, at: datetime | None = None) -> Iterator[Drive]:
    """
    *jobs* on a store in memory, with its time in the test's hands. See :mod:`golive.testing.jobs_driven`.

    Args:
        inline: run each job when it is submitted, its retries included; what has a ``run_at`` in the future waits.
        at: when it is, an aware datetime; None means now.

    ``within=`` is taken with any connection and not waited for: the job is there at once, whatever becomes of it.
    """
    drive = Drive(jobs, float(int(time.time())) if at is None else at.astimezone(UTC).timestamp())
    before = jobs.store, jobs._opened
    store: JobStore = drive.store
    if inline:
        store = _Inline(store, drive).whole()
    jobs.store, jobs._opened = _Anywhere(store).whole(), True
    try:
        yield drive
    finally:
        jobs.store, jobs._opened = before
