"""
From cumulative counters to what happened in one tick; everything that makes a snapshot unusable is caught here.

A counter that went down was restarted: the tick is dropped and counting begins anew, so no count is ever negative.
Where the counters go on over a restart of whoever counts (another epoch), the tick in between has no requests in it
whatever happened: it is not *counted*, and says nothing about who gets how many.
Something missing, NaN or older than before is *unreadable*, which holds, never passes and never fails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from golive.rollout.judge.jobs import BrokenJobsError, Jobs, as_requests, difference, read_jobs

STABLE, CANARY = 0, 1
ARMS = ("stable", "canary")

Counts = tuple[list[float], list[float]]
"""Something counted on stable and canary."""


class UnreadableError(ValueError):
    """The snapshot cannot be judged; ``str(error)`` is the reason for people."""


@dataclass(slots=True)
class Tick:
    """
    What happened between two snapshots.

    Attributes:
        t: seconds since the canary first had traffic; negative before.
        seconds: length of the tick, > 0.
        stage, weight, stage_age: as in the snapshot (index, 0..1, seconds).
        requests, errors: per version and route, (2, routes).
        latency: per version and bucket, (2, buckets); empty lists when there is none.
        units: (exposed, bad) per version, or None when units are not counted.
        values: rows that bring their own measurement: (events, exposure) per version or a gauge per version.
        jobs: what became of both versions' jobs in the tick, by queue; None when they are not counted.
        counted: False when the requests of this tick were seen by nobody; then there are none in it.
    """

    t: float
    seconds: float
    stage: int
    weight: float
    stage_age: float
    requests: Counts
    errors: Counts
    latency: Counts
    units: tuple[tuple[float, float], tuple[float, float]] | None = None
    values: dict[str, list[Any]] = field(default_factory=dict)
    jobs: Jobs | None = None
    counted: bool = True

    @property
    def is_history(self) -> bool:
        """Whether the canary had no traffic yet."""
        return self.t < 0 or self.stage < 0

    def total(self, version: int) -> float:
        """Requests of *version*."""
        return sum(self.requests[version])


class Reader:
    """
    Remembers the last counters of one rollout.

    Args:
        routes: their number, or their names where jobs are what moves.
        stages: how many the plan has; None does not check.
        moves: "requests", "jobs" (whose runs then are the requests) or "both".
    """

    def __init__(
        self, routes: int | Sequence[str], buckets: int, moves: str = "requests", stages: int | None = None
    ) -> None:
        self.routes = routes if isinstance(routes, int) else len(routes)
        self.names = () if isinstance(routes, int) else tuple(routes)
        self.buckets, self.moves, self.stages = buckets, moves, stages
        self.before: dict[str, Any] | None = None

    def read(self, snapshot: object) -> Tick:
        """
        The tick that ends with *snapshot*.

        Raises: UnreadableError for the first look, missing or broken counters, restarts and stale snapshots.
        """
        now = self._counters(snapshot)
        before, self.before = self.before, now
        if before is None:
            raise UnreadableError("first look: there is nothing to compare with yet")
        seconds = now["t"] - before["t"]
        if seconds <= 0:
            self.before = before if seconds == 0 else now
            raise UnreadableError(
                "the evidence is stale: nothing newer than the last look" if seconds == 0
                else f"the clock went back by {-seconds:g} s; counting begins anew")  # fmt: skip
        requests = _difference("requests", before, now)
        return Tick(
            now["t"],
            seconds,
            now["stage"],
            now["weight"],
            now["stage_age"],
            requests,
            _difference("errors", before, now),
            _difference("latency", before, now),
            _units(before["units"], now["units"]),
            _values(before["values"], now["values"]),
            _jobs(before["jobs"], now["jobs"]),
            counted=any(map(sum, requests)) or not self._began_anew(before, now),
        )

    def _began_anew(self, before: dict[str, Any], now: dict[str, Any]) -> bool:
        """Whether whoever counts requests began anew since the last look. Jobs are counted where they are kept."""
        epoch = before.get("epoch", "")  # a state of an older golive has none
        return self.moves != "jobs" and epoch != "" and epoch != now["epoch"]

    def _counters(self, snapshot: object) -> dict[str, Any]:
        t = _number(getattr(snapshot, "t", None), "t")
        stage = _whole(getattr(snapshot, "stage", None), self.stages)
        weight = _number(getattr(snapshot, "weight", None), "weight")
        if not 0 <= weight <= 1:
            raise UnreadableError(f"weight is {weight:g}, which is no share between 0 and 1")
        now: dict[str, Any] = {"t": t, "stage": stage, "weight": weight}
        now["epoch"] = str(getattr(snapshot, "epoch", None) or "")
        values = _mappings(getattr(snapshot, "values", None))
        now["stage_age"] = _number(getattr(snapshot, "stage_age", 0.0), "stage_age")
        canary = stage >= 0 and t >= 0
        now["jobs"] = self._read_jobs(snapshot, canary=canary)
        if self.moves == "jobs":
            stable, new = (as_requests(counts, self.names) for counts in now["jobs"])
            return {**now, **{name: (stable[name], new[name]) for name in stable}, "units": None, "values": values}
        for name, size in (("requests", self.routes), ("errors", self.routes), ("latency", self.buckets)):
            counters = getattr(snapshot, name, None)
            now[name] = _table(_as_rows(counters, self.names, size), name, size, canary=canary)
        now["units"] = _pairs(snapshot)
        now["values"] = values
        return now

    def _read_jobs(self, snapshot: object, *, canary: bool) -> list[dict[str, Any]] | None:
        try:
            jobs = read_jobs(getattr(snapshot, "jobs", None), ARMS, canary=canary)
        except BrokenJobsError as error:
            raise UnreadableError(str(error)) from None
        if jobs is None and self.moves != "requests":
            raise UnreadableError("no data: the snapshot has no jobs, and jobs are what this rollout moves")
        return jobs


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableError(f"the snapshot has no usable {name} (got {value!r})") from None
    if not math.isfinite(number):
        raise UnreadableError(f"{name} is {value!r}, which is not a number")
    return number


def _whole(value: Any, stages: int | None) -> int:
    """The stage: a whole number within the plan, or below 0 before the start."""
    number = _number(value, "stage")
    if number != int(number) or (stages is not None and number >= stages):
        raise UnreadableError(f"stage is {number:g}, which the plan does not have")
    return int(number)


def _as_rows(counters: Any, names: Sequence[str], size: int) -> Any:
    """Mappings by version, and by route name or number, as lists; everything else as it is."""
    if isinstance(counters, Mapping):
        counters = [counters.get(STABLE), counters.get(CANARY)]
    if not isinstance(counters, list | tuple):
        return counters
    return [_by_key(row, names, size) if isinstance(row, Mapping) else row for row in counters]


def _by_key(row: Mapping[Any, Any], names: Sequence[str], size: int) -> list[Any]:
    return [row.get(name) for name in names] if names and names[0] in row else [row.get(k) for k in range(size)]


def _table(counters: Any, name: str, size: int, *, canary: bool) -> Counts:
    """Both versions' counters, checked. Before the start the canary may be missing."""
    if counters is None:
        if name == "latency" and size == 0:
            return [], []
        raise UnreadableError(f"no data: the snapshot has no {name}")
    try:
        rows = list(counters)
    except TypeError:
        raise UnreadableError(f"{name} is {counters!r}, which is not a table of counters") from None
    stable = _row(rows, STABLE, name, size)
    if not canary and (len(rows) < 2 or rows[CANARY] is None):
        return stable, [0.0] * size
    return stable, _row(rows, CANARY, name, size)


def _row(rows: Sequence[Any], version: int, name: str, size: int) -> list[float]:
    if len(rows) <= version or rows[version] is None:
        raise UnreadableError(f"no data for {ARMS[version]}: its {name} are missing")
    try:
        row = [float(value) for value in rows[version]]
    except (TypeError, ValueError, OverflowError):
        raise UnreadableError(f"no data for {ARMS[version]}: its {name} hold something that is no number") from None
    if len(row) != size:
        raise UnreadableError(f"{name} of {ARMS[version]}: expected {size} counters, got {len(row)}")
    if not math.isfinite(sum(row)):
        raise UnreadableError(f"{name} of {ARMS[version]} hold NaN or infinity")
    if min(row, default=0.0) < 0:
        raise UnreadableError(f"{name} of {ARMS[version]} are negative")
    return row


def _difference(name: str, before: dict[str, Any], now: dict[str, Any]) -> Counts:
    old, new = before[name], now[name]
    arms = [[b - a for a, b in zip(old[version], new[version], strict=True)] for version in (STABLE, CANARY)]
    for version, counts in enumerate(arms):
        if min(counts, default=0.0) < 0:
            raise UnreadableError(f"the counters of {ARMS[version]} began again ({name} went down); counting anew")
    return arms[STABLE], arms[CANARY]


def _pairs(snapshot: object) -> list[list[float]] | None:
    """Cumulative [exposed, bad] units per version, or None when the snapshot does not count units."""
    units, bad = getattr(snapshot, "units", None), getattr(snapshot, "bad_units", None)
    if units is None or bad is None:
        return None
    try:
        pairs = [[float(units[version]), float(bad[version])] for version in (STABLE, CANARY)]
    except (TypeError, ValueError, IndexError, KeyError):
        raise UnreadableError("units or bad_units are incomplete") from None
    if not all(math.isfinite(number) and number >= 0 for pair in pairs for number in pair):
        raise UnreadableError("units or bad_units hold something that is no count")
    return pairs


def _units(before: list[list[float]] | None, now: list[list[float]] | None) -> Any:
    if before is None or now is None:
        return None
    pairs = tuple((new[0] - old[0], new[1] - old[1]) for old, new in zip(before, now, strict=True))
    if any(number < 0 for pair in pairs for number in pair):
        raise UnreadableError("the unit counters began again; counting anew")
    return pairs


def _jobs(before: list[dict[str, Any]] | None, now: list[dict[str, Any]] | None) -> Jobs | None:
    try:
        return difference(before, now)
    except BrokenJobsError as error:
        raise UnreadableError(str(error)) from None


def _mappings(values: Any) -> list[dict[str, Any]] | None:
    """The snapshot's own measurements per version, as plain JSON."""
    if values is None:
        return None
    try:
        return [
            {str(name): _plain(value) for name, value in dict(values[version] or {}).items()}
            for version in (STABLE, CANARY)
        ]
    except (TypeError, ValueError, IndexError, KeyError):
        return None


def _plain(value: Any) -> Any:
    if value is None:
        return None
    try:
        return float(value)
    except TypeError:
        return [float(part) for part in value][:2]


def _values(before: list[dict[str, Any]] | None, now: list[dict[str, Any]] | None) -> dict[str, list[Any]]:
    """By row: a gauge per version as it is, an (events, exposure) pair per version as its difference."""
    found: dict[str, list[Any]] = {}
    for name in dict.fromkeys((*now[STABLE], *now[CANARY])) if now else ():
        found[name] = [_value(before[v].get(name) if before else None, now[v].get(name)) for v in (STABLE, CANARY)]  # type: ignore[index]
    return found


def _value(before: Any, now: Any) -> Any:
    if isinstance(now, float):
        return now if math.isfinite(now) else None
    if not isinstance(now, list) or not isinstance(before, list):
        return None
    pair = [new - old for old, new in zip(before, now, strict=False)]
    return pair if len(pair) == 2 and all(math.isfinite(part) and part >= 0 for part in pair) else None
