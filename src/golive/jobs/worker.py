"""
The worker: claims what it has room for, runs it, settles it. One per process; several processes share a store.

    claim a batch --> ready --> running (at most `concurrency`) --> settling, in groups --> store
         ^                                                             |
         +---- room, or the doorbell, or twice a second ---------------+

It claims ahead only as much as its slots will get through in 20 ms, measured: with jobs that take microseconds a batch
per round trip, with jobs that take seconds none, so that no job waits in a busy worker while another is idle. A slot is
free as soon as the handler has ended; the settlements of many jobs share one commit.

Drain: nothing is claimed any more, what has not started is handed back at once, what runs may end within the grace and
is handed back after it. How it fails: see :mod:`golive.jobs.heart`.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from golive.errors import GoliveError
from golive.jobs import log
from golive.jobs.alive import sign_of_life
from golive.jobs.context import JobContext
from golive.jobs.execution import Outcome, execute, timed_out
from golive.jobs.gate import Gate, waiting_seconds
from golive.jobs.handlers import Handler
from golive.jobs.heart import Heart, Overstay
from golive.jobs.limits import Limits
from golive.jobs.machine import Event, after_failure, retry_delay_seconds
from golive.jobs.model import Claim, Demand, JobId, Settlement, new_job_id
from golive.jobs.ports import JobStore
from golive.jobs.presence import Doing, Presence
from golive.jobs.queues import Breaker
from golive.jobs.settings import JobsSettings
from golive.jobs.settler import Settler
from golive.jobs.stats import WorkerStats

#: Jobs claimed in one round trip.
BATCH_MAX = 200
#: Claimed and not settled: beyond this the worker stops claiming, because the store is slower than the handlers.
UNSETTLED_MAX = 1000
#: How far ahead of its slots a worker claims, and how long a claimed job may wait before it is handed back.
AHEAD_SECONDS = 0.02
READY_SECONDS_MAX = 1.0
#: The doorbell is a hint; this is how often a worker looks without it (also the grain of retries and schedules).
POLL_SECONDS = 0.5
RESCUE_SECONDS = 1.0
RESCUE_MAX = 500
#: How soon progress is stored and a cancellation noticed.
TEND_SECONDS = 0.5
#: A run that ignores its cancellation is settled from outside this long after its time-out.
PATIENCE_SECONDS = 5.0


Chore = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class _Run:
    """A job in a slot."""

    claim: Claim
    handler: Handler
    context: JobContext
    task: asyncio.Task[None] | None = None
    lost: bool = False
    cancelled: bool = False
    started: float = field(default_factory=time.monotonic)


class Worker:
    """
    Runs the jobs of *handlers* until :meth:`stop`.

    Args:
        store: open, and left open.
        queues: only handlers of these queues; None means all.
        concurrency: slots; None takes the settings'.
        limits, breakers: of a handler, by its name; see :mod:`golive.jobs.queues`.
        chores: run beside the jobs until the worker stops: schedules, pruning, webhooks.
    """

    def __init__(
        self, store: JobStore, handlers: Mapping[str, Handler], settings: JobsSettings, *,
        queues: Collection[str] | None = None, concurrency: int | None = None,
        limits: Mapping[str, Limits | None] | None = None, breakers: Mapping[str, Breaker] | None = None,
        chores: Sequence[Chore] = (),
    ) -> None:  # fmt: skip
        self.name = f"{socket.gethostname()}-{os.getpid()}-{new_job_id()[-6:]}"
        self._counts: Counter[str] = Counter()
        self._runs, self._runs_seconds = 0, 0.0
        self._store = store
        self._settings = settings
        self._handlers = {name: each for name, each in handlers.items() if queues is None or each.queue in queues}
        self._concurrency = concurrency or settings.concurrency
        self._gate = Gate(limits or {}, breakers or {})
        self._chores = chores
        self._ready: deque[tuple[Claim, float]] = deque()
        self._running: dict[JobId, _Run] = {}
        self._busy: Counter[str] = Counter()
        self._typical_seconds = 1.0  # moving average; starts pessimistic, so that nothing is claimed ahead
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heart = Heart(store, settings.lease.total_seconds(), self._lost_in_heart)
        self._settler = Settler(store, self._settled)
        queues_served = {each.queue for each in self._handlers.values()}
        self._presence = Presence(store, self.name, settings.version, queues_served, self._doing)

    async def run(self) -> None:
        """Work until :meth:`stop`, then drain. Returns when nothing is left here; raises only for bugs."""
        self._loop = asyncio.get_running_loop()
        unsubscribe = self._store.subscribe(self._ring)
        self._heart.start()
        own = (self._rescue_for_ever, self._tend_for_ever, self._presence.run, self._settler.run)
        background = [asyncio.create_task(chore()) for chore in (*own, *self._chores)]
        log.event("worker.started", worker=self.name, kinds=sorted(self._handlers), concurrency=self._concurrency,
                  version=self._settings.version)  # fmt: skip
        try:
            async with sign_of_life(self._settings.alive_file):
                await self._claim_until_stopped()
        finally:
            unsubscribe()
            for task in background[len(own) :]:  # who drains begins nothing new
                task.cancel()
            await self._drain()
            await self._settler.flush()
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._heart.stop()
            await self._presence.leave()
            log.event("worker.stopped", worker=self.name, counts=dict(self._counts))

    def stop(self) -> None:
        """Begin to drain. Safe in a signal handler of the loop; a second call changes nothing."""
        self._stopping = True
        self._wake.set()

    def stats(self) -> WorkerStats:
        """What it has done so far."""
        ended = {name: self._counts[name] for name in (*_LOGGED.values(), "refused")}
        return WorkerStats(
            self.name, self._concurrency, self.running, runs=self._runs, run_seconds=self._runs_seconds, **ended
        )

    def _doing(self) -> Doing:
        return Doing(self._concurrency, self.running, self._stopping, self._runs)

    @property
    def running(self) -> int:
        """Jobs in slots now."""
        return len(self._running)

    # --- claiming ---------------------------------------------------------------------------------------------------

    async def _claim_until_stopped(self) -> None:
        pause = 0.1
        while not self._stopping:
            self._wake.clear()
            try:
                full = await self._claim_once()
                await self._hand_back_stale()
                pause = 0.1
            except GoliveError as error:
                log.event("worker.store_unavailable", level=log.ERROR, reason=str(error))
                full, pause = False, min(pause * 2, 5.0)
                await asyncio.sleep(pause)
            if not full:
                await self._until_woken(self._gate.pause_seconds(POLL_SECONDS) if self._gate else POLL_SECONDS)

    async def _claim_once(self) -> bool:
        """Claim what there is room for; True if the store may have more and there is room for it."""
        room = self._room()
        demands = self._demands(room)
        if not demands:
            return False
        lease = self._settings.lease.total_seconds()
        claims = await self._store.claim(demands, room, self.name, lease, self._settings.version)
        if self._gate:
            self._gate.claimed(claims)
        now = time.monotonic()
        self._presence.claimed(claims)
        self._heart.hold_all(claims)
        self._ready.extend([(claim, now) for claim in claims])
        self._start_ready()
        return len(claims) == room and self._room() > 0

    def _room(self) -> int:
        ahead = min(BATCH_MAX, int(self._concurrency * AHEAD_SECONDS / self._typical_seconds))
        if self._stopping or len(self._settler) > UNSETTLED_MAX or len(self._ready) > ahead // 2:
            return 0
        return max(0, min(BATCH_MAX, self._concurrency - len(self._running) + ahead - len(self._ready)))

    def _demands(self, room: int) -> list[Demand]:
        demands = []
        for name, handler in self._handlers.items():
            limit = room if handler.concurrency is None else min(room, handler.concurrency - self._busy[name])
            if limit > 0:
                demands.append(Demand(handler.queue, name, limit))
        free = self._concurrency - len(self._running) - len(self._ready)
        return self._gate.admitted(demands, free) if self._gate else demands

    async def _hand_back_stale(self) -> None:
        """A slow job took the slots: what was claimed behind it goes to workers that are free."""
        oldest = time.monotonic() - READY_SECONDS_MAX
        while self._ready and self._ready[0][1] < oldest:
            self._hand_back(self._ready.popleft()[0])

    # --- running ----------------------------------------------------------------------------------------------------

    def _start_ready(self) -> None:
        while self._ready and len(self._running) < self._concurrency and not self._stopping:
            claim, _ = self._ready.popleft()
            run = _Run(claim, self._handlers[claim.kind], self._context(claim))
            self._running[claim.id] = run
            self._busy[claim.kind] += 1
            self._heart.hold(claim, self._overstay(run))
            run.task = asyncio.create_task(self._run(run))

    async def _run(self, run: _Run) -> None:
        claim = run.claim
        try:
            outcome = await execute(run.handler, claim.payload, run.context, self._settings.result_bytes_max)
        except asyncio.CancelledError:  # the drain's patience is over, the lease is lost, or somebody asked for it
            if run.cancelled:
                self._cancel(run)
            elif not run.lost:
                self._hand_back(claim)
        else:
            self._finish(run, outcome, run.context)
            if outcome.abandoned:
                log.event("job.thread_abandoned", level=log.WARNING, job_id=claim.id, kind=claim.kind)
                await asyncio.wait([outcome.abandoned])
        finally:
            del self._running[claim.id]
            self._busy[claim.kind] -= 1
            self._next()

    def _context(self, claim: Claim) -> JobContext:
        return JobContext(
            claim.id, claim.kind, attempt=claim.attempts, attempts_max=claim.attempts_max, tenant=claim.tenant,
            version=self._settings.version,
        )  # fmt: skip

    def _finish(self, run: _Run, outcome: Outcome, context: JobContext) -> None:
        seconds = time.monotonic() - run.started
        self._runs, self._runs_seconds = self._runs + 1, self._runs_seconds + seconds
        self._typical_seconds += 0.1 * (max(seconds, 1e-6) - self._typical_seconds)
        if run.lost:
            return
        settlement = self._settlement(run.claim, outcome, seconds)
        if context.cost:
            settlement = replace(settlement, cost=context.cost)
        self._settler.add(settlement, run.claim)
        if settlement.delay_seconds:
            asyncio.get_running_loop().call_later(settlement.delay_seconds + 0.001, self._wake.set)
        level = log.INFO if outcome.failure is None else log.WARNING
        if not log.enabled(level):
            return
        failure = {} if outcome.failure is None else {"code": outcome.failure.code}
        log.event(
            f"job.{_LOGGED[settlement.event]}", level=level, error=outcome.error, job_id=context.id, kind=context.kind,
            attempt=context.attempt, duration_seconds=round(seconds, 6), worker=self.name, **failure, **context.bound,
        )  # fmt: skip

    def _settlement(self, claim: Claim, outcome: Outcome, seconds: float) -> Settlement:
        if outcome.failure is None:
            return Settlement(
                claim.id, claim.worker, claim.fence, Event.SUCCEED, result=outcome.result, run_seconds=seconds
            )
        failure = outcome.failure
        waits = waiting_seconds(failure, claim, self._settings.hold.total_seconds())
        if waits is not None:
            return Settlement(
                claim.id, claim.worker, claim.fence, Event.HAND_BACK, failure=failure, delay_seconds=waits
            )
        event = after_failure(claim.attempts, claim.attempts_max, failure.retryable)
        delay = 0.0
        if event is Event.RETRY:
            handler = self._handlers[claim.kind]
            base, most = handler.backoff_base.total_seconds(), handler.backoff_max.total_seconds()
            delay = retry_delay_seconds(claim.attempts, base, most, random.random())  # noqa: S311 - jitter, no secret
        return Settlement(
            claim.id, claim.worker, claim.fence, event, failure=failure, delay_seconds=delay, run_seconds=seconds
        )  # fmt: skip

    def _overstay(self, run: _Run) -> Overstay | None:
        seconds = run.handler.timeout_seconds
        if not seconds:
            return None
        return Overstay(
            run.started + seconds + PATIENCE_SECONDS,
            lambda: self._settlement(run.claim, Outcome(failure=timed_out(run.handler)), seconds),
        )

    def _next(self) -> None:
        self._start_ready()
        if self._room() > 0:
            self._wake.set()

    # --- ending -----------------------------------------------------------------------------------------------------

    def _hand_back(self, claim: Claim) -> None:
        self._settler.add(Settlement(claim.id, claim.worker, claim.fence, Event.HAND_BACK), claim)
        log.event("job.handed_back", job_id=claim.id, kind=claim.kind, attempt=claim.attempts, worker=self.name)

    def _cancel(self, run: _Run) -> None:
        claim, seconds = run.claim, time.monotonic() - run.started
        end = Settlement(claim.id, claim.worker, claim.fence, Event.CANCEL, run_seconds=seconds, cost=run.context.cost)
        self._settler.add(end, claim)
        log.event("job.cancelled", job_id=claim.id, kind=claim.kind, attempt=claim.attempts, worker=self.name)

    def _settled(self, batch: Sequence[tuple[Settlement, Claim]], accepted: Sequence[bool]) -> None:
        self._heart.release_all([claim for _, claim in batch])
        for (settlement, claim), yes in zip(batch, accepted, strict=True):
            self._counts[_LOGGED[settlement.event] if yes else "refused"] += 1
            if not yes:
                log.event("job.result_refused", level=log.WARNING, job_id=claim.id, kind=claim.kind,
                          attempt=claim.attempts, worker=self.name,
                          reason="the lease was lost; another worker answers for this job")  # fmt: skip
        if self._room() > 0:  # claiming had stopped, perhaps, because too much was unsettled
            self._wake.set()

    def _ring(self) -> None:
        if not self._wake.is_set():
            self._in_loop(self._wake.set)

    def _lost_in_heart(self, claim: Claim) -> None:
        self._in_loop(lambda: self._lose(claim))

    def _in_loop(self, call: Callable[[], None]) -> None:
        try:
            assert self._loop, "run() comes first"
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has ended; there is nobody left to tell
            return

    def _lose(self, claim: Claim) -> None:
        self._ready = deque(entry for entry in self._ready if entry[0] != claim)
        run = self._running.get(claim.id)
        if run and run.claim.fence == claim.fence and run.task and not run.lost:
            run.lost = True
            run.task.cancel()
            log.event("job.lease_lost", level=log.WARNING, job_id=claim.id, kind=claim.kind, attempt=claim.attempts)

    async def _drain(self) -> None:
        while self._ready:
            self._hand_back(self._ready.popleft()[0])
        tasks = [run.task for run in self._running.values() if run.task]
        log.event("worker.draining", worker=self.name, running=len(tasks))
        if tasks:
            await asyncio.wait(tasks, timeout=self._settings.drain.total_seconds())
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        for run in self._running.values():  # swallowed its cancellation, or a thread that cannot be stopped
            if not run.lost:
                run.lost = True
                if run.cancelled:
                    self._cancel(run)
                else:
                    self._hand_back(run.claim)

    async def _rescue_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RESCUE_SECONDS * (0.5 + random.random()))  # noqa: S311 - spreads workers over time
            try:
                rescued = await self._store.rescue(RESCUE_MAX)
            except GoliveError as error:
                log.event("worker.rescue_failed", level=log.WARNING, reason=str(error))
                continue
            for each in rescued:
                log.event("job.rescued", level=log.WARNING, job_id=each.id, kind=each.kind, attempt=each.attempts,
                          state=each.state, lost_worker=each.worker)  # fmt: skip
            if rescued:
                self._wake.set()

    async def _tend_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TEND_SECONDS)
            try:
                await self._tend(list(self._running.values()))
            except GoliveError as error:
                log.event("worker.tend_failed", level=log.WARNING, reason=str(error))

    async def _tend(self, runs: list[_Run]) -> None:
        """Store what the running jobs say of their progress, and end those somebody wants cancelled."""
        if reports := [(run.claim, said) for run in runs if (said := run.context.take_progress())]:
            await self._store.report(reports)
        wanted = await self._store.cancel_requested([run.claim for run in runs]) if runs else []
        for run in runs:
            if run.claim in wanted and run.task and not (run.lost or run.cancelled):
                run.cancelled = True
                run.task.cancel()

    async def _until_woken(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            pass


_LOGGED = {
    Event.SUCCEED: "succeeded",
    Event.FAIL: "failed",
    Event.RETRY: "retried",
    Event.HAND_BACK: "handed_back",
    Event.CANCEL: "cancelled",
}
