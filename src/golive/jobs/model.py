"""
The records that cross the store's border: a job, what is submitted, what is claimed, how a run ended.

Instants are seconds since the epoch (float) here and in the tables, and RFC 3339 on the wire. Payload and result are
JSON bytes from end to end: they are decoded once, by the code that runs the handler.
"""

from __future__ import annotations

import os
import re
import time
from typing import NewType

import msgspec

from golive.jobs.limits import Limits
from golive.jobs.machine import Event, State

JobId = NewType("JobId", str)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    Why a run failed. *code* and *message* are for the client; *exception* is for the operator and never leaves.

    *wait_seconds*, unless None: this run could not be; the job waits that long, and nothing is held against it. 0.0
    leaves the time to the worker.
    """

    code: str
    message: str
    status: int = 500
    retryable: bool = False
    exception: str = ""
    wait_seconds: float | None = None


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a run is, 0..1, in its own words."""

    ratio: float
    message: str = ""


class NewJob(msgspec.Struct, frozen=True):
    """A job as it is submitted. *run_at* None means at once, by the store's clock."""

    id: JobId
    kind: str
    payload: bytes
    queue: str = "default"
    tenant: str = ""
    attempts_max: int = 3
    priority: int = 0
    run_at: float | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    webhook: str | None = None


class Job(msgspec.Struct, frozen=True):
    """A job as the store knows it."""

    id: JobId
    kind: str
    queue: str
    tenant: str
    state: State
    priority: int
    run_at: float
    attempts: int
    attempts_max: int
    payload: bytes
    created_at: float
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    worker: str | None = None
    version: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    result: bytes | None = None
    failure: Failure | None = None
    progress: Progress | None = None
    cancel_requested: bool = False
    webhook: str | None = None
    cost: float | None = None


class Submission(msgspec.Struct, frozen=True):
    """The answer to a submission: the job, and False if an earlier one with the same key stands for it."""

    job: Job
    created: bool


class Demand(msgspec.Struct, frozen=True):
    """A worker's appetite: at most *limit* jobs of *kind* from *queue*, under *limits* that hold over all workers."""

    queue: str
    kind: str
    limit: int
    limits: Limits | None = None


class Waiting(msgspec.Struct, frozen=True):
    """A pending job as a doorbell needs it: whose it is and where it waits. *run_at* is when it is, or was, due."""

    id: JobId
    kind: str
    queue: str
    tenant: str
    run_at: float


class Claim(msgspec.Struct, frozen=True):
    """
    A job in the hands of one worker. *fence* is what proves it: see :mod:`golive.jobs.machine`.

    *waited_seconds* is for how long it had been due when it was claimed.
    """

    id: JobId
    kind: str
    queue: str
    tenant: str
    attempts: int
    attempts_max: int
    payload: bytes
    created_at: float
    worker: str
    fence: int
    waited_seconds: float = 0.0


class Settlement(msgspec.Struct, frozen=True):
    """
    How a claim ends: one of the events SUCCEED, FAIL, RETRY, HAND_BACK or CANCEL, with what belongs to it.

    *cost* is what the handler says its run cost, in US dollars.
    """

    id: JobId
    worker: str
    fence: int
    event: Event
    result: bytes | None = None
    failure: Failure | None = None
    delay_seconds: float = 0.0
    run_seconds: float = 0.0
    cost: float = 0.0


class Rescue(msgspec.Struct, frozen=True):
    """A job whose lease ran out, and where it went."""

    id: JobId
    kind: str
    state: State
    worker: str
    attempts: int


class Pause(msgspec.Struct, frozen=True, omit_defaults=True):
    """A queue nobody claims from, since *at* (seconds since the epoch), and why."""

    queue: str
    at: float
    reason: str = ""


class WorkerBeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What a worker says of itself every few seconds.

    Attributes:
        name: unique among all workers there ever were.
        started_at: seconds since the epoch, by its own clock.
        queues: what it works for.
        slots, running: jobs it can run at the same time, and does.
        draining: True once it claims nothing any more.
        runs: finished runs of handlers.
        waits: jobs it claimed by how long they had been due, 23 counts with the bounds of a tally's histogram.
        waited_seconds: the time these had been due, together.
        age_seconds: how long ago it said so, by the store's clock; set by the store.
    """

    name: str
    host: str
    pid: int
    version: str
    started_at: float
    queues: list[str]
    slots: int
    running: int
    draining: bool
    runs: int
    waits: list[int]
    waited_seconds: float
    age_seconds: float = 0.0


#: A worker that has said nothing for this long is gone; after the second it is forgotten.
BEAT_LATE_SECONDS = 20.0
BEAT_KEPT_SECONDS = 3600.0


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What a store keeps of a schedule: up to which moment it has fired.

    Attributes:
        name: unique in the store.
        kind: the handler whose jobs it makes.
        spec: as it was declared, for people: ``0 3 * * * Europe/Berlin``.
        fired_at: occurrences up to here are done with.
        next_at: when the next one is due, for people.
    """

    name: str
    kind: str
    spec: str
    fired_at: float
    next_at: float | None = None


class Pruned(msgspec.Struct, frozen=True):
    """The jobs one step of pruning removed, and where the next step begins; None when this one came to the end."""

    jobs: list[JobId]
    after: JobId | None


def pending(new: NewJob, now: float) -> Job:
    """*new* as a store has it that has just taken it, at *now*."""
    run_at = now if new.run_at is None else new.run_at
    return Job(
        new.id, new.kind, new.queue, new.tenant, State.PENDING, new.priority, run_at, 0, new.attempts_max,
        new.payload, now, new.idempotency_key, new.fingerprint, webhook=new.webhook,
    )  # fmt: skip


def new_job_id() -> JobId:
    """A UUIDv7: 74 random bits that nobody guesses, in order of time, so that new rows sit together. RFC 9562, 5.7."""
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10))
    low = 0x8000 | (chance >> 48) & 0x3FFF
    return JobId(
        f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-"
        f"{0x7000 | chance >> 68:04x}-{low:04x}-{chance & 0xFFFFFFFFFFFF:012x}"
    )


def id_at(at: float) -> JobId:
    """The lowest id a job made at *at* can have; whatever is lower is older."""
    milliseconds = max(0, int(at * 1000))
    return JobId(f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7000-8000-000000000000")


def is_job_id(text: str) -> bool:
    """True for the spelling :func:`new_job_id` produces. Anything else names no job."""
    return _UUID.fullmatch(text) is not None
