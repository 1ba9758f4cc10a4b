"""
What became of the runs of each version: the evidence a verdict on a worker canary needs. Pure.

Counted in the store, in the transaction that accepts the result, so that every accepted run counts exactly once, over
all workers, and those that died count too. The numbers only grow: take them twice and subtract.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from golive.jobs.machine import Event
from golive.jobs.model import Failure

#: Upper bounds of the duration histogram in seconds: 1 ms doubled up to 35 min. One more bucket is for what is longer.
BOUNDS_SECONDS = tuple(0.001 * 2**power for power in range(22))
#: Versions nobody ran for this long are forgotten when the next split begins.
KEPT_SECONDS = 30 * 86_400.0


class RunEnd(enum.StrEnum):
    """How one run ended. *failed*, *retried* and *lost* speak against the version, *rejected* against the payload."""

    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    """A ``JobError`` with a status below 500."""
    FAILED = "failed"
    RETRIED = "retried"
    LOST = "lost"
    """The worker died, or was cut off."""
    CANCELLED = "cancelled"


class RunTally(msgspec.Struct, frozen=True):
    """
    Runs of one *kind* by one *version* (empty: none set) that ended alike.

    Attributes:
        runs, seconds: how many, and the time they took together.
        histogram: runs by duration, 23 counts; bucket *i* is below ``BOUNDS_SECONDS[i]``, the last one is the rest.
    """

    version: str
    kind: str
    end: RunEnd
    runs: int
    seconds: float
    histogram: tuple[int, ...]


def run_end(event: Event, failure: Failure | None) -> RunEnd | None:
    """What a settlement says of its run; None for a hand-back, which is no end."""
    if event is Event.FAIL and failure and failure.status < 500 and failure.code != "payload_invalid":
        return RunEnd.REJECTED
    return _ENDS.get(event)


def duration_bucket(seconds: float) -> int:
    """The index in :attr:`RunTally.histogram`; PostgreSQL's ``width_bucket`` counts the same."""
    return bisect_right(BOUNDS_SECONDS, seconds)


def tallies(rows: Iterable[tuple[str, str, str, int, int, float]]) -> list[RunTally]:
    """From rows of (version, kind, end, bucket, runs, seconds), in order."""
    grouped: dict[tuple[str, str, str], list[tuple[int, int, float]]] = defaultdict(list)
    for version, kind, end, at, runs, seconds in rows:
        grouped[version, kind, end].append((at, runs, seconds))
    return [
        RunTally(version, kind, RunEnd(end), sum(runs for _, runs, _ in each), sum(seconds for *_, seconds in each),
                 tuple(sum(runs for at, runs, _ in each if at == index) for index in range(len(BOUNDS_SECONDS) + 1)))
        for (version, kind, end), each in sorted(grouped.items())
    ]  # fmt: skip


_ENDS = {
    Event.SUCCEED: RunEnd.SUCCEEDED,
    Event.FAIL: RunEnd.FAILED,
    Event.RETRY: RunEnd.RETRIED,
    Event.CANCEL: RunEnd.CANCELLED,
}
