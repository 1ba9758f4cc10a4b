"""
Jobs as evidence: what became of the runs of both versions' workers, and the rows of the table that are about them.

A snapshot may carry ``jobs``: per version (stable, canary) a mapping from queue to cumulative counts,

    {"reports": {"ends": {"succeeded": 940, "retried": 7, "failed": 2, "lost": 1, "rejected": 3, "cancelled": 0},
                 "histogram": [...], "cost": 4.20, "over_cost": 1}}

*ends* has the names of ``golive.jobs`` (``stats().runs``), *histogram* counts runs by duration between
:data:`JOB_BOUNDS` (one bucket more), *cost* is US dollars in all, *over_cost* how many runs cost more than the limit.
Everything but *ends* may be missing. :func:`job_counts` makes it from tallies. Left out: where the counts come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from golive.rollout.judge.table import Want
from golive.slo.tails import limit_cut

JOB_BOUNDS = tuple(0.001 * 2**power for power in range(22))
"""Upper edges of the duration buckets, seconds; the ones the job stores count by."""
FAULTS = ("failed", "retried", "lost")
"""Ends that speak against the version. ``rejected`` speaks against the payload; it was a run all the same."""
DEAD = "failed"
"""The end after which nothing is tried any more: the job is in the dead-letter view."""
NOT_RUNS = ("cancelled",)
"""A person's wish; it says nothing about the version."""

Jobs = tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]
"""Per version, by queue: *ends*, *histogram*, *cost*, *over_cost*; plain JSON."""


class BrokenJobsError(ValueError):
    """The job counts cannot be used; ``str(error)`` is the reason for people."""


def job_counts(tallies: Iterable[Any], version: str, queues: Mapping[str, str] | None = None) -> dict[str, Any]:
    """
    The counts of one *version* as a snapshot carries them.

    Args:
        tallies: things with ``version``, ``kind``, ``end``, ``runs`` and ``histogram``, such as ``jobs.stats().runs``.
        version: as the workers call themselves.
        queues: kind -> queue, when the table's rows name queues that are not called like the kinds.
    """
    counts: dict[str, Any] = {}
    for tally in tallies:
        if tally.version != version:
            continue
        name = (queues or {}).get(tally.kind, tally.kind)
        held = counts.setdefault(name, {"ends": {}, "histogram": [0] * len(tally.histogram)})
        held["ends"][str(tally.end)] = held["ends"].get(str(tally.end), 0) + tally.runs
        held["histogram"] = [a + b for a, b in zip(held["histogram"], tally.histogram, strict=True)]
    return counts


def read_jobs(jobs: Any, names: tuple[str, str], *, canary: bool) -> list[dict[str, Any]] | None:
    """
    The snapshot's job counts as plain JSON, checked; None when it has none.

    Args:
        names: of the versions, for the reasons.
        canary: whether the canary has begun; before, its counts may be missing.

    Raises: BrokenJobsError naming what is missing or no count.
    """
    if jobs is None:
        return None
    try:
        versions = [jobs[0], jobs[1] if canary or len(jobs) > 1 else None]
    except (TypeError, IndexError, KeyError):
        raise BrokenJobsError(f"jobs is {jobs!r}, which is not a pair of counts") from None
    if not canary and versions[1] is None:
        versions[1] = {}
    return [_version(counts, name) for counts, name in zip(versions, names, strict=True)]


def difference(before: list[dict[str, Any]] | None, now: list[dict[str, Any]] | None) -> Jobs | None:
    """
    What happened between two readings; None when one of them has none. A queue that is new began at nothing.

    Raises: BrokenJobsError when a counter went down.
    """
    if before is None or now is None:
        return None
    stable, canary = (
        {queue: _minus(counts, old.get(queue)) for queue, counts in new.items()}
        for old, new in zip(before, now, strict=True)
    )
    return stable, canary


def runs_and_faults(counts: Mapping[str, Any]) -> tuple[float, float]:
    """Runs of one queue and those that speak against the version."""
    ends = counts["ends"]
    runs = sum(number for end, number in ends.items() if end not in NOT_RUNS)
    return runs, sum(ends.get(end, 0.0) for end in FAULTS)


def all_runs_and_faults(counts: Mapping[str, Any]) -> tuple[float, float]:
    """The same over all queues."""
    each = [runs_and_faults(queue) for queue in counts.values()]
    return sum(runs for runs, _ in each), sum(faults for _, faults in each)


def as_requests(counts: Mapping[str, Any], routes: Sequence[str]) -> dict[str, list[float]]:
    """
    One version's jobs where a rollout moves nothing else: runs are its requests, queues its routes, faults its errors.

    What belongs to no route of its own is counted under the last one.
    """
    found = {"requests": [0.0] * len(routes), "errors": [0.0] * len(routes), "latency": [0.0] * (len(JOB_BOUNDS) + 1)}
    for queue, each in counts.items():
        at = routes.index(queue) if queue in routes else len(routes) - 1
        runs, faults = runs_and_faults(each)
        found["requests"][at] += runs
        found["errors"][at] += faults
        found["latency"] = [a + b for a, b in zip(found["latency"], durations(each), strict=True)]
    return found


def durations(counts: Mapping[str, Any]) -> list[float]:
    """Runs of one queue by duration; zeros when nobody counted that."""
    return counts["histogram"] or [0.0] * (len(JOB_BOUNDS) + 1)


def row_value(want: Want, counts: Mapping[str, Mapping[str, Any]]) -> Any:
    """
    What the jobs of one version say about the row *want*: [events, exposure], a level, or None for nothing.

    Failure rates count runs, dead letters jobs that ended for good, durations and costs runs beyond the row's limit.
    """
    row = want.row
    chosen = [each for queue, each in counts.items() if row.queue in (None, queue)]
    if not chosen:
        return None
    runs = sum(runs_and_faults(each)[0] for each in chosen)
    if row.indicator in ("error_rate", "success_rate"):
        return [sum(runs_and_faults(each)[1] for each in chosen), runs]
    if row.indicator == "dead_letters":
        return [sum(each["ends"].get(DEAD, 0.0) for each in chosen), runs]
    if row.indicator == "job_duration":
        return _slow(want, chosen)
    if row.indicator == "cost_per_job":
        return _dear(chosen, runs)
    return None


def _slow(want: Want, chosen: list[Mapping[str, Any]]) -> Any:
    cut = limit_cut(JOB_BOUNDS, want.limit_s)
    known = [each["histogram"] for each in chosen if each["histogram"]]
    return [sum(sum(each[cut:]) for each in known), sum(sum(each) for each in known)] if known else None


def _dear(chosen: list[Mapping[str, Any]], runs: float) -> Any:
    if all(each["over_cost"] is not None for each in chosen):
        return [sum(each["over_cost"] for each in chosen), runs]
    costs = [each["cost"] for each in chosen]
    return sum(costs) / runs if runs > 0 and None not in costs else None


def _version(counts: Any, name: str) -> dict[str, Any]:
    if counts is None:
        raise BrokenJobsError(f"no data for {name}: its jobs are missing")
    try:
        return {str(queue): _queue(each) for queue, each in dict(counts).items()}
    except (TypeError, ValueError, AttributeError):
        raise BrokenJobsError(f"the jobs of {name} hold something that is no count") from None


def _queue(counts: Any) -> dict[str, Any]:
    def get(key: str) -> Any:
        return counts.get(key) if isinstance(counts, Mapping) else getattr(counts, key, None)

    ends = {str(end): _count(number) for end, number in dict(get("ends")).items()}
    histogram = [_count(number) for number in get("histogram") or ()]
    if len(histogram) not in (0, len(JOB_BOUNDS) + 1):
        raise ValueError(histogram)
    cost, over = get("cost"), get("over_cost")
    return {
        "ends": ends,
        "histogram": histogram,
        "cost": None if cost is None else _count(cost),
        "over_cost": None if over is None else _count(over),
    }


def _count(number: Any) -> float:
    value = float(number)
    if not math.isfinite(value) or value < 0:
        raise ValueError(number)
    return value


def _minus(now: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    before = before or {"ends": {}, "histogram": [], "cost": None, "over_cost": None}
    old = before["histogram"] if len(before["histogram"]) == len(now["histogram"]) else [0.0] * len(now["histogram"])
    found: dict[str, Any] = {
        "ends": {end: number - before["ends"].get(end, 0.0) for end, number in now["ends"].items()},
        "histogram": [new - held for new, held in zip(now["histogram"], old, strict=True)],
        "cost": None if now["cost"] is None else now["cost"] - (before["cost"] or 0.0),
        "over_cost": None if now["over_cost"] is None else now["over_cost"] - (before["over_cost"] or 0.0),
    }
    if min([*found["ends"].values(), *found["histogram"], found["cost"] or 0.0, found["over_cost"] or 0.0]) < 0:
        raise BrokenJobsError("the job counters began again; counting anew")
    return found
