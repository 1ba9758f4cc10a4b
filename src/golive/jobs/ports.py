"""
What the jobs room needs from a store. ``golive.testing.jobs.JobStoreContract`` is the specification, executable.

A store keeps time itself (leases are compared by one clock, the database's), commits before it answers, and groups
concurrent callers into one commit. All methods may be called from any event loop and by several tasks at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

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
from golive.jobs.split import Split
from golive.jobs.tally import RunTally


class StoreCapability(enum.StrEnum):
    """
    What not every store can do. What a store claims is tested; what it does not claim it refuses by name, where it is
    something that can be asked for. The values are the rows of the table in docs/jobs.md.
    """

    DURABLE = "an acknowledged job survives the process and a power cut"
    SUBMIT_WITHIN = "submit within your own transaction"
    SUBMIT_LARGE = "more than 100 jobs in one submission, all or none"
    ONE_CLOCK = "leases compared by one clock"
    LIMITS = "queue, tenant and rate limits that hold over all workers together"
    COSTS = "what runs cost, by job and by version"
    WAKES_OTHERS = "a submission wakes idle workers of other processes"


class JobStore(Protocol):
    """
    The record of all jobs.

    Attributes:
        capabilities: what it can do beyond the rest of this port.
        result_bytes_max: the longest result it keeps; None leaves that to the settings.

    Every method raises :class:`golive.errors.StateError` (its own files) or :class:`golive.errors.UnavailableError`
    (a server) when the store cannot answer; nothing was stored in part then.
    """

    capabilities: frozenset[StoreCapability]
    result_bytes_max: int | None

    async def open(self) -> None:
        """Connect and bring the schema up to date. Idempotent."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go. Idempotent."""
        ...

    async def submit(self, jobs: Sequence[NewJob]) -> list[Submission]:
        """
        Make *jobs* durable, all or none. A key seen before in its tenant and kind yields the earlier job, whatever the
        payload (compare fingerprints); the id of an earlier job yields that job, so a lost answer can be asked again.
        """
        ...

    async def submit_within(self, connection: Any, jobs: Sequence[NewJob]) -> list[Submission]:
        """
        As :meth:`submit`, inside the transaction the caller has open on *connection*: the jobs exist if and when it
        commits, and are as durable as it is. Workers of a server store may notice them by polling only.

        Raises: UsageError for a connection this store cannot use.
        """
        ...

    async def get(self, job: JobId) -> Job | None:
        """The job, or None."""
        ...

    async def claim(
        self, demands: Sequence[Demand], limit: int, worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """
        At most *limit* due jobs, lowest priority number first, then oldest, each now running under a lease of
        *lease_seconds*. No job is given to two workers. Of one kind never more than its demand, of a paused queue
        nothing, and never more than a demand's :class:`~golive.jobs.limits.Limits` allow over all workers together.

        Raises: UsageError for limits where the store does not have them.
        """
        ...

    async def claim_jobs(
        self, jobs: Sequence[JobId], worker: str, lease_seconds: float, version: str | None
    ) -> list[Claim]:
        """
        As :meth:`claim`, of the jobs named: for engines that hand out single jobs. What is not pending, not due yet, in
        a paused queue or another version's is left out. Limits are that engine's affair.
        """
        ...

    async def overdue(self, demands: Sequence[Demand], seconds: float) -> list[Waiting]:
        """Jobs that have been due for longer than *seconds*, the most urgent first, at most its limit per demand."""
        ...

    async def extend(self, claims: Sequence[Claim], lease_seconds: float) -> list[Claim]:
        """Renew the leases. Returns those of *claims* that are lost: rescued, finished or claimed by someone else."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End claims. False where the claim is no longer held: a zombie's result changes nothing."""
        ...

    async def rescue(self, limit: int) -> list[Rescue]:
        """Put jobs with an expired lease back (at most *limit*), or fail them: ``worker_lost`` at the last attempt."""
        ...

    async def report(self, reports: Sequence[tuple[Claim, Progress]]) -> None:
        """Keep the progress of running jobs. What is no longer held is ignored."""
        ...

    async def cancel(self, job: JobId) -> Job | None:
        """
        Cancel *job*: at once if it is pending; a running one is marked, and its worker ends it (see
        :meth:`cancel_requested`); a finished one stays as it is. Returns the job afterwards, None if there is none.
        """
        ...

    async def cancel_requested(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those of *claims* somebody wants cancelled."""
        ...

    async def redrive(self, job: JobId, payload: bytes | None = None) -> Job | None:
        """
        Put a failed or cancelled *job* back, with a fresh set of attempts and, if it is given, another *payload*; any
        other stays as it is. Returns the job afterwards, None if there is none.
        """
        ...

    async def hasten(self, job: JobId) -> Job | None:
        """Make a pending *job* due now; any other stays as it is. Returns the job afterwards, None if there is none."""
        ...

    async def page(
        self, limit: int, *, state: State | None, kind: str | None, before: JobId | None, queue: str | None = None,
        tenant: str | None = None,
    ) -> list[Job]:  # fmt: skip
        """At most *limit* jobs, newest first, older than *before*: the next page begins at the last one's id."""
        ...

    async def prune(self, keep_seconds: Mapping[State, float], after: JobId | None, limit: int) -> Pruned:
        """
        Look at *limit* jobs in order of age, from *after* on, and remove those that finished longer ago than
        *keep_seconds* says for their state; a state that is not in it is kept for ever. With a job goes its key.
        """
        ...

    async def paused(self) -> list[Pause]:
        """The queues nobody claims from, by name."""
        ...

    async def set_paused(self, queue: str, reason: str | None) -> None:
        """From the next claim on, nothing of *queue* is claimed (what runs runs on); a *reason* of None ends that."""
        ...

    async def schedules(self) -> list[Schedule]:
        """Every schedule that ever fired or was declared here, by name."""
        ...

    async def fire(self, schedule: Schedule, jobs: Sequence[NewJob]) -> bool:
        """
        Move *schedule* on to its ``fired_at`` and submit *jobs*, both or neither. False, and nothing is done, unless
        that is later than what the store has: of several workers one fires.
        """
        ...

    async def unannounced(self, limit: int) -> list[Job]:
        """At most *limit* finished jobs with a webhook that :meth:`announced` was not told of yet."""
        ...

    async def announced(self, jobs: Sequence[Job]) -> None:
        """The ends of *jobs*, these and no later ones, are taken care of."""
        ...

    async def beat(self, beat: WorkerBeat) -> None:
        """
        Keep what a worker says of itself, in place of what it said before, and forget those that have said nothing for
        :data:`~golive.jobs.model.BEAT_KEPT_SECONDS`. A power cut may lose it.
        """
        ...

    async def leave(self, worker: str) -> None:
        """Forget *worker*, which has ended."""
        ...

    async def workers(self) -> list[WorkerBeat]:
        """What every worker said last, by name, with its age."""
        ...

    async def depth(self) -> dict[tuple[str, State], int]:
        """How many jobs are pending, running and failed, by queue; what is zero is left out."""
        ...

    async def oldest(self) -> dict[str, float]:
        """How many seconds the longest-waiting due job of each queue has been due; a queue without one is left out."""
        ...

    async def split(self) -> Split | None:
        """The rule by which two versions of the workers share the claims, or None."""
        ...

    async def set_split(self, split: Split | None) -> None:
        """From the next claim on, workers claim by *split* (see :mod:`golive.jobs.split`); None ends it."""
        ...

    async def runs(self) -> list[RunTally]:
        """What became of the runs of each version, as counters that only grow, by version, kind and end."""
        ...

    async def costs(self) -> dict[tuple[str, str], float]:
        """
        What the runs of each version and kind cost together, in US dollars, as they were settled; only grows. A crash
        may lose the cost of runs that ended just before it, and never counts one twice.

        Raises: UsageError where the store does not keep costs.
        """
        ...

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """
        Call *wake*, from any thread, soon after jobs may have become claimable, by this process or another. A hint:
        it may come without need and may be missed. Returns the function that ends the subscription.
        """
        ...
