"""What became of jobs in some stretch of time, for the rows and lines of ``explain`` and the live view. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from golive.rollout.judge.jobs import DEAD, JOB_BOUNDS, difference, durations, read_jobs, runs_and_faults
from golive.slo.row import Row
from golive.slo.tails import quantile_estimate

Queues = Mapping[str, Mapping[str, Any]]
"""By queue: *ends*, *histogram*, *cost*; as in :mod:`golive.rollout.judge.jobs`."""
NOTHING: Queues = {}


def counts_of(jobs: Any) -> list[dict[str, Any]] | None:
    """Both versions' cumulative counts in a snapshot; None when it has none. A broken one is the judge's to tell."""
    try:
        return read_jobs(jobs, ("stable", "canary"), canary=False)
    except ValueError:
        return None


def between(before: list[dict[str, Any]] | None, now: list[dict[str, Any]] | None) -> tuple[Queues, Queues]:
    """What both versions did in between; nothing where that is not known."""
    try:
        return difference(before, now) or (NOTHING, NOTHING)
    except ValueError:
        return NOTHING, NOTHING


def plus(one: Queues, other: Queues) -> Queues:
    """Both together."""
    return {queue: _sum(one.get(queue), other.get(queue)) for queue in sorted({*one, *other})}


def runs_of(jobs: Queues, queue: str | None = None) -> tuple[int, int]:
    """Runs, and those that speak against the version."""
    each = [runs_and_faults(counts) for counts in _chosen(jobs, queue)]
    return round(sum(runs for runs, _ in each)), round(sum(faults for _, faults in each))


def measured_jobs(row: Row, jobs: Queues) -> float | None:
    """The value of a row that is about jobs, in its base unit; None when nothing was counted."""
    chosen = list(_chosen(jobs, row.queue))
    runs, faults = runs_of(jobs, row.queue)
    if not chosen or runs <= 0:
        return None
    if row.indicator in ("error_rate", "success_rate"):
        return faults / runs if row.indicator == "error_rate" else 1.0 - faults / runs
    if row.indicator == "dead_letters":
        return float(sum(counts["ends"].get(DEAD, 0) for counts in chosen))
    if row.indicator == "cost_per_job":
        costs = [counts["cost"] for counts in chosen]
        return None if None in costs else sum(costs) / runs
    if row.indicator == "job_duration" and row.quantile is not None:
        histogram = [sum(column) for column in zip(*(durations(counts) for counts in chosen), strict=True)]
        return quantile_estimate(histogram, JOB_BOUNDS, row.quantile) if sum(histogram) > 0 else None
    return None


def _chosen(jobs: Queues, queue: str | None) -> Iterable[Mapping[str, Any]]:
    return [counts for name, counts in jobs.items() if queue in (None, name)]


def _sum(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if one is None or other is None:
        return one or other or {}
    ends = {end: one["ends"].get(end, 0) + other["ends"].get(end, 0) for end in {**one["ends"], **other["ends"]}}
    histogram = [a + b for a, b in zip(durations(one), durations(other), strict=True)]
    costs = (one["cost"], other["cost"])
    return {"ends": ends, "histogram": histogram, "cost": None if None in costs else sum(costs)}
