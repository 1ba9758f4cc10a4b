"""
What the judge needs to know of one rollout: samples turned into snapshots, with the history of stable before it began.

The judge counts seconds since the candidate first had traffic and knows versions as 0 (stable) and 1 (candidate); the
ports speak of instants and names. This is the border, and it is what is stored beside the journal so that a controller
that starts in the middle goes on with the same evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from golive.rollout import events as ev
from golive.rollout.machine import State
from golive.rollout.ports import WEIGHT_MAX, ArmSample, Sample
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
        epoch: changes when the counters began again from zero.
    """

    t: float
    stage: int
    weight: float
    stage_age: float
    requests: tuple[tuple[int, ...], tuple[int, ...]]
    errors: tuple[tuple[int, ...], tuple[int, ...]]
    latency: tuple[tuple[int, ...], tuple[int, ...]]
    epoch: str = ""


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

    def __init__(self, judge: Judging, began_at: datetime, routes: Sequence[str], bounds: int) -> None:
        self.judge = judge
        self.began_at = began_at
        self.routes = tuple(routes) or (EVERY_ROUTE,)
        self.buckets = bounds + 1

    def teach(self, state: State, history: Iterable[Sample]) -> None:
        """Show the judge what stable did before the candidate had traffic."""
        for sample in history:
            if sample.at < self.began_at and state.stable in sample.arms:
                self.judge.observe(self.snapshot(state, sample, before=True))

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
        return Snapshot(
            t=(sample.at - self.began_at).total_seconds(),
            stage=-1 if before else state.stage,
            weight=0.0 if before else state.weight / WEIGHT_MAX,
            stage_age=0.0 if before else max(0.0, (sample.at - state.entered_at).total_seconds()),
            requests=(self._by_route(arms[0], "requests"), self._by_route(arms[1], "requests")),
            errors=(self._by_route(arms[0], "errors"), self._by_route(arms[1], "errors")),
            latency=(self._buckets(arms[0]), self._buckets(arms[1])),
            epoch=sample.epoch,
        )

    def _by_route(self, arm: ArmSample | None, field: str) -> tuple[int, ...]:
        counts: dict[str, int] = getattr(arm, field) if arm else {}
        return tuple(counts.get(route, 0) for route in self.routes)

    def _buckets(self, arm: ArmSample | None) -> tuple[int, ...]:
        return tuple(arm.latency) if arm else (0,) * self.buckets

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`restore` needs, as JSON."""
        return {"began_at": format_instant(self.began_at), "judge": self.judge.to_dict()}

    @classmethod
    def restore(
        cls, stored: dict[str, Any], state: State, maker: JudgeMaker, routes: Sequence[str], bounds: int
    ) -> Session:
        """The session that was stored by another controller, or by this one before it died."""
        return cls(maker(state, stored["judge"]), parse_instant(stored["began_at"]), routes, bounds)
