"""
The judge over counters that were recorded anywhere: what it would have said of a canary, and when. Pure.

Counters of two versions become the snapshots of one rollout. Its stages are the weights that were recorded; without
them there is one, at the share the candidate had over the whole recording.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from golive.rollout.plan import Plan, Stage, make_plan
from golive.rollout.ports import WEIGHT_MAX
from golive.rollout.session import Decision, Judging

Counters = Mapping[str, Sequence[tuple[float, float]]]
"""``requests`` and ``errors`` of one version: (seconds since the epoch, gained since the start), ascending."""


@dataclass
class Verdict:
    """
    What the judge said.

    Attributes:
        began: when the candidate first had traffic, seconds since the epoch; None when it never had.
        looks: how often it looked after that.
        rollback_at, promoted: when it would have taken the candidate back; (weight, when) of every stage it found good.
        last: its last decision, or the one that took the candidate back.
    """

    began: float | None = None
    looks: int = 0
    rollback_at: float | None = None
    promoted: list[tuple[int, float]] = field(default_factory=list)
    last: Decision | None = None
    last_at: float = 0.0


def plan_for(stable: Counters, candidate: Counters, weights: Sequence[tuple[float, float]]) -> Plan:
    """The stages of the recording: *weights* as (seconds, share 0..1), or the share the candidate had in all."""
    seen = sorted({max(1, min(round(share * WEIGHT_MAX), WEIGHT_MAX)) for _, share in weights if share > 0})
    if not seen:
        total = [sum(gained for _, gained in each["requests"]) for each in (stable, candidate)]
        share = total[1] / sum(total) if sum(total) else 0.5
        seen = [max(1, min(round(share * WEIGHT_MAX), WEIGHT_MAX - 1))]
    if seen[-1] != WEIGHT_MAX:
        seen.append(WEIGHT_MAX)
    return make_plan([Stage(weight, timedelta(0)) for weight in seen], watch=timedelta(0), at_once=len(seen) == 1)


def judge_counters(
    stable: Counters, candidate: Counters, weights: Sequence[tuple[float, float]], plan: Plan,
    make: Callable[[], Judging], shape: tuple[int, int],
) -> Verdict:  # fmt: skip
    """
    Feed the judge with *stable* and *candidate*, until it takes the candidate back.

    Args:
        shape: routes and latency buckets of the judge's snapshots; everything is on its last route, nothing in buckets.
    """
    verdict = Verdict()
    judge = make()
    totals = _Totals(stable, candidate, shape)
    stage, entered = -1, 0.0
    for at in totals.instants:
        counted = totals.at(at)
        if verdict.began is None and counted["requests"][1][-1] > 0:
            verdict.began = at
        here = -1 if verdict.began is None else _stage(at, weights, plan)
        if here != stage:
            stage, entered = here, at
        began = verdict.began if verdict.began is not None else totals.instants[-1] + 1.0
        weight = plan.stages[stage].weight / WEIGHT_MAX if stage >= 0 else 0.0
        look = SimpleNamespace(t=at - began, stage=stage, weight=weight, stage_age=at - entered, **counted)
        decision: Decision = judge.observe(look)  # type: ignore[arg-type]  # a judge reads attributes, not a class
        if stage < 0:
            continue
        verdict.looks, verdict.last, verdict.last_at = verdict.looks + 1, decision, at
        if str(decision.action) == "rollback":
            verdict.rollback_at = at
            return verdict
        if str(decision.action) == "promote" and plan.stages[stage].weight not in dict(verdict.promoted):
            verdict.promoted.append((plan.stages[stage].weight, at))
    return verdict


def _stage(at: float, weights: Sequence[tuple[float, float]], plan: Plan) -> int:
    """The stage whose weight was recorded last before *at*; the first one when there are no weights."""
    number = bisect_right(weights, at, key=lambda pair: pair[0]) - 1
    if number < 0:
        return 0
    wanted = round(weights[number][1] * WEIGHT_MAX)
    return next((n for n, stage in enumerate(plan.stages) if stage.weight >= wanted), len(plan.stages) - 1)


class _Totals:
    """Both versions' counters at every instant either was counted at."""

    def __init__(self, stable: Counters, candidate: Counters, shape: tuple[int, int]) -> None:
        self._arms = (stable, candidate)
        self._routes, self._buckets = shape
        gained = [{name: dict(arm[name]) for name in ("requests", "errors")} for arm in self._arms]
        self.instants = sorted({at for arm in gained for series in arm.values() for at in series})
        self._sums = [[0.0, 0.0] for _ in self._arms]
        self._gained = gained

    def at(self, moment: float) -> dict[str, Any]:
        """Cumulative; instants must be asked in order."""
        for sums, gained in zip(self._sums, self._gained, strict=True):
            for number, name in enumerate(("requests", "errors")):
                sums[number] += gained[name].get(moment, 0.0)
        rows = {
            name: [[0.0] * (self._routes - 1) + [sums[number]] for sums in self._sums]
            for number, name in enumerate(("requests", "errors"))
        }
        return {**rows, "latency": [[0.0] * self._buckets for _ in self._arms]}
