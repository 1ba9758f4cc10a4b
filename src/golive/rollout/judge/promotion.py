"""
Whether the next stage is earned. Promotion is a question of its own: not "is there evidence of harm?" but "is the harm
that is still possible small enough for what comes next?".

- Up to 50 %: the worst excess not yet refuted, at the next weight and for one reaction time, fits the harm budget.
- Beyond 50 %: an excess as large as the margin is refuted on every row, and three times that in this stage alone.
- Always: the stage had its time, nothing is suspicious, and stable is not in trouble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from golive.rollout.judge.layout import Counts
from golive.rollout.judge.options import Options
from golive.slo.noninferiority import Refutation, excess_gains, factor_gains, ladder_of
from golive.slo.wager import BlockClock

SOAK_MAX, SOAK_MIN = 0.4, 0.08
"""Most of the waiting is done at the last stage in this range: nearly what 50 % tells per minute, at half the harm."""
HALF = 0.5 + 1e-9
STAGE_MARGIN = 3.0
"""Within one stage alone, an excess of so many margins has to be refuted: enough for what a new weight can break."""


@dataclass(frozen=True, slots=True)
class Look:
    """
    One line in one tick.

    Attributes:
        counts: events and exposure of both versions.
        phi: their clumping.
        usual: stable's pooled rate before this tick, 0..1.
        incident: stable is in trouble: the pooled form proves nothing.
        worse, worse_excess: for tails, the ratio and the least excess that is too much.
    """

    counts: Counts
    phi: float
    usual: float
    incident: bool
    worse: float = 0.0
    worse_excess: float = 0.0


class Promotion:
    """The ladders of one rollout: errors, the tail when there is latency, and failed jobs where both kinds move."""

    def __init__(
        self, options: Options, plan: Sequence[float], minute_s: float, *, latency: bool, jobs: bool = False
    ) -> None:
        self.options, self.plan, self.latency = options, list(plan), latency
        self.deltas = ladder_of(options.margin)
        wanted = STAGE_MARGIN * options.margin
        self.stage_rung = next((i for i, d in enumerate(self.deltas) if d >= wanted), len(self.deltas) - 1)
        self.need = math.log(1 / options.beta)
        self.clock = BlockClock([minute_s])
        self.minute_s = minute_s
        self.errors = [Refutation(len(self.deltas)), Refutation(len(self.deltas))]
        self.tails = [Refutation(1), Refutation(1)]
        self.jobs = [Refutation(len(self.deltas)), Refutation(len(self.deltas))] if jobs else []

    def begin_stage(self) -> None:
        """A new stage: what was shown in this stage begins anew."""
        self.errors[1], self.tails[1] = Refutation(len(self.deltas)), Refutation(1)
        self.jobs[1:] = [Refutation(len(self.deltas)) for _ in self.jobs[1:]]

    def observe(self, t: float, errors: Look, tail: Look | None, jobs: Look | None = None) -> None:
        """Add one tick; *tail* is None while warming up or without latency evidence, *jobs* where none move."""
        for ladder, look in ((self.errors, errors), (self.jobs, jobs)):
            if look is not None:
                x = look.counts
                _bet(ladder, excess_gains(x.c, x.b, x.n_c, x.n_s, look.usual, self.deltas), look)
        if tail is not None:
            x = tail.counts
            gains = factor_gains(x.c, x.b, x.n_c, x.n_s, tail.usual, tail.worse, tail.worse_excess)
            _bet(self.tails, gains, tail)
        if self.clock.advance(t):
            for refutation in (*self.errors, *self.tails, *self.jobs):
                refutation.start_late()

    def proof(self, beginning: int, rung: int = 0) -> float:
        """
        Nats against "worse" on the least proven row, since the start (0) or in this stage (1).

        "Worse" is by the margin; for errors another *rung* of the ladder may be asked.
        """
        proofs = [ladder[beginning].value(rung) for ladder in (self.errors, self.jobs) if ladder]
        if self.latency:
            proofs.append(self.tails[beginning].value(0))
        return min(proofs)

    def harm_bound(self) -> float:
        """The smallest excess error rate that is refuted since the start, of requests and jobs; 1 when none is."""
        return max(self._bound(ladder[0]) for ladder in (self.errors, self.jobs) if ladder)

    def _bound(self, refuted: Refutation) -> float:
        return next((delta for rung, delta in enumerate(self.deltas) if refuted.value(rung) >= self.need), 1.0)

    def earned(self, stage: int, stage_age: float, rate: float) -> bool:
        """
        Whether the evidence and the time suffice for what follows *stage*.

        Args:
            stage: index into the plan.
            stage_age: seconds in it.
            rate: requests per second on both versions.
        """
        if stage_age < self.waiting_s(stage) - 1e-9:
            return False
        if stage >= len(self.plan) - 1:
            return True
        proven = self.proof(0) >= self.need
        if self.plan[stage + 1] <= HALF:
            return proven or self.next_harm(stage, rate) <= self.options.harm_budget
        return proven and self.proof(1, self.stage_rung) >= self.need

    def next_harm(self, stage: int, rate: float) -> float:
        """Failed requests the next stage may cost within one reaction time, at the worst excess not yet refuted."""
        return self.plan[stage + 1] * rate * self.options.reaction_s * self.harm_bound()

    def waiting_s(self, stage: int) -> float:
        """The least time in *stage*, seconds."""
        floor = self.options.floor(stage)
        if floor is not None:
            return floor
        if stage >= len(self.plan) - 1:
            return self.options.watch_s
        if self.plan[stage] > HALF:
            return self.options.last_s
        return max(self.options.dwell_s, self._bake_s(stage))

    def _bake_s(self, stage: int) -> float:
        """This stage's part of the bake: two thirds at the soak stage, one third (or all) before more than half."""
        soak = max((i for i, weight in enumerate(self.plan) if weight <= SOAK_MAX), default=-1)
        split = 0 <= soak < len(self.plan) - 1 and self.plan[soak] >= SOAK_MIN and self.plan[soak + 1] <= HALF
        if split and stage == soak:
            return self.options.bake_s * 2 / 3
        if self.plan[stage + 1] > HALF:
            return self.options.bake_s / 3 if split else self.options.bake_s
        return 0.0

    def to_dict(self) -> dict[str, Any]:
        """The state, as plain JSON."""
        return {
            "clock": self.clock.to_dict(),
            "errors": [each.to_dict() for each in self.errors],
            "tails": [each.to_dict() for each in self.tails],
            "jobs": [each.to_dict() for each in self.jobs],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`to_dict` gave."""
        self.clock.restore(state["clock"])
        for held, saved in zip(
            (*self.errors, *self.tails, *self.jobs), (*state["errors"], *state["tails"], *state["jobs"]), strict=True
        ):
            held.restore(saved)


def _bet(refutations: Sequence[Refutation], gains: tuple[list[float], list[float]], look: Look) -> None:
    shared = [gain / look.phi for gain in gains[0]]
    pooled = [0.0 if look.incident else gain / look.phi for gain in gains[1]]
    for refutation in refutations:
        refutation.bet(shared, pooled)
