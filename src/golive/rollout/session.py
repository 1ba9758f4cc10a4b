"""
What the judge needs to know of one rollout: samples turned into snapshots, with the history of stable before it began.

The judge counts seconds since the candidate first had traffic and knows versions as 0 (stable) and 1 (candidate); the
ports speak of instants and names. This is the border, and it is what is stored beside the journal so that a controller
that starts in the middle goes on with the same evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from golive.rollout import events as ev
from golive.rollout.machine import State
from golive.rollout.ports import WEIGHT_MAX, ArmSample, Sample
from golive.slo.condition import parse_condition
from golive.slo.indicators import indicator_of
from golive.slo.tails import limit_cut
from golive.timing import format_instant, parse_instant

EVERY_ROUTE = "*"
"""The one route of an evidence source that does not tell routes apart."""


class Snapshot(msgspec.Struct, frozen=True):
    """
    The evidence at one instant, as the judge reads it. Index 0 is stable, 1 the candidate; counters are cumulative.

    Attributes:
        t: seconds since the candidate first had traffic, negative before.
        stage: index into the plan, -1 before the start.
        weight: the candidate's share, 0..1.
        stage_age: seconds at this weight.
        requests, errors: (2, routes) counts.
        latency: (2, buckets) counts, not cumulated over buckets.
        epoch: of the sample. The counters here go on over it: what was counted before is carried along.
        units, bad_units: clients at risk and those that failed, (2,); None when the evidence does not count clients.
        values: rows that bring their own measurement, by name, per version: ``[events, exposure]`` or a level.
        jobs: what became of both versions' jobs; see :mod:`golive.rollout.judge.jobs`.
    """

    t: float
    stage: int
    weight: float
    stage_age: float
    requests: tuple[tuple[int, ...], tuple[int, ...]]
    errors: tuple[tuple[int, ...], tuple[int, ...]]
    latency: tuple[tuple[int, ...], tuple[int, ...]]
    epoch: str = ""
    units: tuple[int, int] | None = None
    bad_units: tuple[int, int] | None = None
    values: tuple[dict[str, Any], dict[str, Any]] | None = None
    jobs: tuple[dict[str, Any] | None, dict[str, Any] | None] | None = None


class RowDecision(Protocol):
    """One row of a decision."""

    @property
    def name(self) -> str: ...
    @property
    def verdict(self) -> Any: ...
    @property
    def sentence(self) -> str: ...


class Decision(Protocol):
    """What a judge answers: see :class:`golive.rollout.Judge`."""

    @property
    def action(self) -> Any: ...
    @property
    def confidence(self) -> float: ...
    @property
    def reason(self) -> str: ...
    @property
    def needs_human(self) -> bool: ...
    @property
    def rows(self) -> Sequence[RowDecision]: ...


class Judging(Protocol):
    """The judge, as the controller uses it: one per rollout, pure, with a state that can be stored."""

    def observe(self, snapshot: Snapshot) -> Decision:
        """Take one more look."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Its state as JSON."""
        ...


class JudgeMaker(Protocol):
    """Makes judges for rollouts, from the settings."""

    def __call__(self, state: State, stored: dict[str, Any] | None) -> Judging:
        """A new judge for the plan of *state*, or the one whose :meth:`Judging.to_dict` was *stored*."""
        ...


def _without_verb(reason: str) -> str:
    """The judge's sentence without "hold:" before it; the event says what is to be done."""
    head, colon, rest = reason.partition(": ")
    return rest if colon and head in ("hold", "roll back", "promote") else reason


class Session:
    """
    One rollout's judge and the instant its candidate first had traffic.

    Args:
        history: samples of stable from before, oldest first; they teach the judge what is normal.
    """

    def __init__(self, judge: Judging, began_at: datetime, routes: Sequence[str], bounds: Sequence[float]) -> None:
        self.judge = judge
        self.began_at = began_at
        self.routes = tuple(routes) or (EVERY_ROUTE,)
        self.bounds = tuple(bounds)
        self.buckets = len(self.bounds) + 1
        self.units: bool | None = None
        self.thread = Thread()

    def teach(self, state: State, history: Iterable[Sample]) -> None:
        """Show the judge what stable did before the candidate had traffic."""
        usable = [sample for sample in history if sample.at < self.began_at and state.stable in sample.arms]
        if usable:
            self.units = _has_units(usable[-1].arms[state.stable])
        for sample in usable:
            if _has_units(sample.arms[state.stable]) == self.units:
                self.judge.observe(self.snapshot(state, sample, before=True))

    def missing(self, state: State, sample: Sample) -> str:
        """Why *sample* cannot be judged: the version it says nothing about. Empty when it can."""
        missing = [version for version in (state.stable, state.candidate) if version not in sample.arms]
        return f"no evidence: there are no counts of {' and '.join(missing)}" if missing else ""

    def fits(self, state: State, sample: Sample) -> bool:
        """
        Whether *sample* counts what the judge was taught to count. Failures of clients and failed requests are not the
        same thing; when one takes the place of the other, a new judge has to begin.
        """
        units = all(_has_units(sample.arms[version]) for version in (state.stable, state.candidate))
        if self.units is None:
            self.units = units
        return self.units == units

    def look(self, state: State, sample: Sample) -> ev.Verdict:
        """Judge one sample of the stage *state* is in."""
        return self.judged(self.snapshot(state, sample), sample.at)

    def judged(self, snapshot: Snapshot, at: datetime) -> ev.Verdict:
        """Judge a snapshot: a new one, or one of the journal whose verdict is recomputed."""
        decision = self.judge.observe(snapshot)
        return ev.Verdict(
            at=at,
            stage=snapshot.stage,
            action=str(decision.action),  # type: ignore[arg-type]  # the judge's words are the event's words
            confidence=round(float(decision.confidence), 2),
            reason=_without_verb(decision.reason),
            rows=tuple(ev.RowVerdict(row.name, str(row.verdict), row.sentence) for row in decision.rows),
            needs_human=bool(decision.needs_human),
            evidence=msgspec.to_builtins(snapshot),
        )

    def snapshot(self, state: State, sample: Sample, *, before: bool = False) -> Snapshot:
        """*sample* as the judge reads it."""
        arms = (sample.arms.get(state.stable), None if before else sample.arms.get(state.candidate))
        slow = _slow_rows(state)
        counts = self.thread.go_on(sample.epoch, [self._counts(arm, slow) for arm in arms])
        stable, candidate = counts
        return Snapshot(
            t=(sample.at - self.began_at).total_seconds(),
            stage=-1 if before else state.stage,
            weight=0.0 if before else state.weight / WEIGHT_MAX,
            stage_age=0.0 if before else max(0.0, (sample.at - state.entered_at).total_seconds()),
            requests=(stable[self._requests], candidate[self._requests]),
            errors=(stable[self._errors], candidate[self._errors]),
            latency=(stable[self._latency], candidate[self._latency]),
            epoch=sample.epoch,
            units=(stable[self._units], candidate[self._units]) if self.units else None,
            bad_units=(stable[self._units + 1], candidate[self._units + 1]) if self.units else None,
            jobs=_jobs(arms[0], sample.arms.get(state.candidate), before=before),
            values=_values(state, arms, [self._pairs(row, slow) for row in counts]),
        )

    # Where the counters of one version are in its row of numbers: requests, errors, latency, units, bad units, and a
    # pair for each row about the latency of one route: slow ones, and all.

    @property
    def _requests(self) -> slice:
        return slice(0, len(self.routes))

    @property
    def _errors(self) -> slice:
        return slice(len(self.routes), 2 * len(self.routes))

    @property
    def _latency(self) -> slice:
        return slice(2 * len(self.routes), self._units)

    @property
    def _units(self) -> int:
        return 2 * len(self.routes) + self.buckets

    def _counts(self, arm: ArmSample | None, slow: Sequence[SlowRow]) -> tuple[int, ...]:
        if arm is None:
            return (0,) * (self._units + 2 + 2 * len(slow))
        by_route = (*self._by_route(arm.requests), *self._by_route(arm.errors))
        pairs = [number for row in slow for number in row.pair(arm, self.bounds)]
        return (*by_route, *arm.latency, arm.units or 0, arm.bad_units or 0, *pairs)

    def _pairs(self, counts: Sequence[int], slow: Sequence[SlowRow]) -> dict[str, list[int]]:
        """The latency of single routes, by row: slow requests and all; nothing of a route without any."""
        at = self._units + 2
        pairs = {row.name: list(counts[at + 2 * number : at + 2 * number + 2]) for number, row in enumerate(slow)}
        return {name: pair for name, pair in pairs.items() if pair[1] > 0}

    def _by_route(self, counts: dict[str, int]) -> tuple[int, ...]:
        """One count per route of the judge; what belongs to none of them is in the count of all the others."""
        named = {route: counts.get(route, 0) for route in self.routes if route != EVERY_ROUTE}
        others = sum(counts.values()) - sum(named.values())
        return tuple(named.get(route, others) for route in self.routes)

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`restore` needs, as JSON."""
        return {
            "began_at": format_instant(self.began_at),
            "judge": self.judge.to_dict(),
            "units": self.units,
            "thread": msgspec.to_builtins(self.thread),
        }

    @classmethod
    def restore(
        cls, stored: dict[str, Any], state: State, maker: JudgeMaker, routes: Sequence[str], bounds: Sequence[float]
    ) -> Session:
        """The session that was stored by another controller, or by this one before it died."""
        session = cls(maker(state, stored["judge"]), parse_instant(stored["began_at"]), routes, bounds)
        session.units = stored.get("units")
        session.thread = msgspec.convert(stored.get("thread", {}), Thread)
        return session


def _jobs(stable: ArmSample | None, candidate: ArmSample | None, *, before: bool) -> Any:
    """
    Both versions' jobs; None when neither has any, so that a source without jobs is told from one that lost them.

    The candidate's are there *before* it begins: the store remembers what it did when it was shipped the last time.
    """
    jobs = [None if arm is None else msgspec.to_builtins(arm.jobs) for arm in (stable, candidate)]
    if before and jobs[0] is not None and jobs[1] is None:
        jobs[1] = {}
    return None if jobs == [None, None] else tuple(jobs)


def _values(state: State, arms: Sequence[ArmSample | None], pairs: Sequence[dict[str, list[int]]]) -> Any:
    """The levels and pairs of both versions under the names of the rows that ask for them."""
    rows = list(state.judging.get("slo", {}))
    found = tuple(
        {**{row: level for row in rows if (level := _level(row, arm)) is not None}, **counted}
        for arm, counted in zip(arms, pairs, strict=True)
    )
    return found if any(found) else None


def _level(row: str, arm: ArmSample | None) -> float | None:
    """Measured for the row by its name, or for the indicator it ends in."""
    if arm is None:
        return None
    indicator = indicator_of(row)
    return arm.levels.get(row, arm.levels.get(indicator[0].name) if indicator else None)


class SlowRow(NamedTuple):
    """A row about the latency of one route: what is slower than *limit_s* counts."""

    name: str
    route: str
    limit_s: float

    def pair(self, arm: ArmSample, bounds: Sequence[float]) -> tuple[int, int]:
        """Requests of the route that were slow, and all of them."""
        counts = arm.latency_by_route.get(self.route, [])
        return sum(counts[limit_cut(bounds, self.limit_s) :]), sum(counts)


def _slow_rows(state: State) -> list[SlowRow]:
    """In the order of the table the rollout was started with, so that their counters stay in their places."""
    found = []
    for name, row in state.judging.get("slo", {}).items():
        indicator, limit = indicator_of(name), row.get("alert_if") or row.get("target")
        if indicator is not None and indicator[0].name == "latency" and row.get("route") and limit:
            found.append(SlowRow(name, str(row["route"]), parse_condition(limit, "seconds").value))
    return found


def _has_units(arm: ArmSample) -> bool:
    return arm.units is not None and arm.bad_units is not None


class Thread(msgspec.Struct):
    """
    Counters that go on over a restart of whoever counts. The first reading of an epoch adds nothing: what happened in
    between is not known, and is neither good nor bad.

    Attributes:
        epoch: of the last reading.
        base: what the source said at the first reading of this epoch.
        carried: what was counted by then; *last* what was said last. All (versions, counters).
    """

    epoch: str | None = None
    base: list[list[int]] = []
    carried: list[list[int]] = []
    last: list[list[int]] = []

    def go_on(self, epoch: str, counts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        """*counts* as if the counters had never begun again."""
        if self.last and len(self.last[0]) < len(counts[0]):
            self._widen(counts)
        if self.epoch is None:
            self.base = self.carried = [[0] * len(row) for row in counts]
        elif epoch != self.epoch:
            self.base, self.carried = [list(row) for row in counts], self.last
        self.epoch = epoch
        self.last = [
            [carried + now - base for carried, now, base in zip(*rows, strict=True)]
            for rows in zip(self.carried, counts, self.base, strict=True)
        ]
        return [tuple(row) for row in self.last]

    def _widen(self, counts: Sequence[Sequence[int]]) -> None:
        """Counters that are new since the thread was stored, by an older golive, begin here."""
        known = len(self.last[0])
        for version, row in enumerate(counts):
            more = list(row[known:])
            self.base[version] = [*self.base[version], *more]
            self.carried[version] = [*self.carried[version], *[0] * len(more)]
            self.last[version] = [*self.last[version], *[0] * len(more)]
