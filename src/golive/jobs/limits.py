"""
Limits that hold over all workers together: how many jobs of a queue or of one tenant run, how often, and whose is next.

They are looked at inside the claim, under one lock of the store, so that no two workers spend the same room. Pure: a
store says what is due, what runs and how full the buckets are; :func:`choose` says which jobs are taken.

    due jobs --by queue, in order--> room in the queue? room for the tenant? a token in the bucket? --> claimed
                                      no: the job stays where it is, and nothing is held against it

Order: a queue that is not fair goes by priority and age. A fair one goes by how many jobs of the tenant run already
(fewest first), then by priority and age, so that a tenant with a million jobs waits behind its own. Of very many
tenants a claim looks at some, in turns.

A bucket is GCRA: one number, the moment at which it would be full again. It gives *burst* tokens at once and
*per_second* in the long run, over all workers, whatever their number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from typing import NamedTuple

import msgspec

#: Tenants one claim looks at, so many for each job it wants and so many at least; a claim of a queue with more of them
#: goes on where the last one ended.
TENANTS_PER_JOB, TENANTS_MIN, TENANTS_MAX = 4, 50, 500


class Bucket(msgspec.Struct, frozen=True):
    """A rate towards something downstream. Handlers that name the same bucket share it."""

    name: str
    per_second: float
    burst: int = 1


class Limits(msgspec.Struct, frozen=True):
    """
    What a claim obeys for one demand. None, or False, is no limit, and costs nothing.

    Attributes:
        running_max: jobs of the queue running at the same time, over all workers.
        tenant_running_max: the same for each tenant in the queue.
        fair: the tenant with the fewest running jobs goes first.
        bucket: each claimed job takes a token.
    """

    running_max: int | None = None
    tenant_running_max: int | None = None
    fair: bool = False
    bucket: Bucket | None = None

    @property
    def by_tenant(self) -> bool:
        """True when it matters whose a job is, so that a store must look at each tenant's first jobs."""
        return self.fair or self.tenant_running_max is not None


NO_LIMITS = Limits()


class Due(NamedTuple):
    """A job that could be claimed, as far as a choice needs to know it."""

    queue: str
    kind: str
    tenant: str
    priority: int
    run_at: float
    id: str


class Choice(NamedTuple):
    """The ids to claim, in order, and the new contents of the buckets a token was taken from."""

    ids: list[str]
    full_at: dict[str, float]


def tokens(bucket: Bucket, full_at: float, now: float) -> int:
    """How many tokens *bucket* has at *now*, 0 to its burst. *full_at* in the past (or 0.0) is a full bucket."""
    missing = max(0.0, full_at - now) * bucket.per_second
    return max(0, math.floor(bucket.burst - missing + 1e-6))


def spend(bucket: Bucket, full_at: float, now: float, count: int) -> float:
    """The moment *bucket* is full again once *count* tokens are taken at *now*."""
    return max(full_at, now) + count / bucket.per_second


def per_tenant(limit: int, tenants: int) -> int:
    """How many of each tenant's first jobs a store shows to :func:`choose`: enough to fill *limit*, bounded."""
    return min(limit, 2 + 2 * limit // max(tenants, 1))


def tenants_max(limit: int) -> int:
    """How many tenants a claim of *limit* jobs looks at."""
    return min(TENANTS_MAX, max(TENANTS_MIN, TENANTS_PER_JOB * limit))


def choose(
    limit: int, due: Iterable[Due], demands: Mapping[tuple[str, str], tuple[int, Limits]],
    running: Mapping[tuple[str, str], int], full_at: Mapping[str, float], now: float,
) -> Choice:  # fmt: skip
    """
    Which of the *due* jobs are claimed.

    Args:
        limit: at most so many.
        demands: by queue and kind, how many at most, and under which limits.
        running: jobs that run now, by queue and tenant.
        full_at: the buckets' contents, by name; a missing one is full.
        now: the store's clock, in seconds.
    """
    in_queue, of_tenant = Counter[str](), Counter(running)
    for (queue, _), count in running.items():
        in_queue[queue] += count
    taken, of_demand, left = list[str](), Counter[tuple[str, str]](), dict[str, int]()
    buckets = {limits.bucket.name: limits.bucket for _, limits in demands.values() if limits.bucket}
    for name, bucket in buckets.items():
        left[name] = tokens(bucket, full_at.get(name, 0.0), now)
    spent = Counter[str]()
    for job in _in_order(due, demands, running):
        if len(taken) >= limit:
            break
        most, limits = demands[job.queue, job.kind]
        whose = (job.queue, job.tenant)
        bucket_name = limits.bucket.name if limits.bucket else None
        if (
            of_demand[job.queue, job.kind] >= most
            or (limits.running_max is not None and in_queue[job.queue] >= limits.running_max)
            or (limits.tenant_running_max is not None and of_tenant[whose] >= limits.tenant_running_max)
            or (bucket_name is not None and spent[bucket_name] >= left[bucket_name])
        ):
            continue
        taken.append(job.id)
        of_demand[job.queue, job.kind] += 1
        in_queue[job.queue] += 1
        of_tenant[whose] += 1
        if bucket_name is not None:
            spent[bucket_name] += 1
    return Choice(taken, {name: spend(buckets[name], full_at.get(name, 0.0), now, n) for name, n in spent.items() if n})


def _in_order(
    due: Iterable[Due], demands: Mapping[tuple[str, str], tuple[int, Limits]], running: Mapping[tuple[str, str], int]
) -> Iterable[Due]:
    """Each queue by its own rule; the queues among each other by the priority and age of their first jobs."""
    by_queue: dict[str, list[Due]] = {}
    for job in due:
        by_queue.setdefault(job.queue, []).append(job)
    fair = {queue for (queue, _), (_, limits) in demands.items() if limits.fair}
    ordered = [_by_turn(jobs, running) if queue in fair else sorted(jobs, key=_age) for queue, jobs in by_queue.items()]
    return merge(*ordered, key=_age)


def _by_turn(jobs: Sequence[Due], running: Mapping[tuple[str, str], int]) -> list[Due]:
    """The n-th job of a tenant comes where the tenant would have n more running ones."""
    seen, turns = Counter[str](), list[tuple[int, tuple[int, float, str], Due]]()
    for job in sorted(jobs, key=_age):
        turns.append((running.get((job.queue, job.tenant), 0) + seen[job.tenant], _age(job), job))
        seen[job.tenant] += 1
    return [job for *_, job in sorted(turns)]


def _age(job: Due) -> tuple[int, float, str]:
    return job.priority, job.run_at, job.id
