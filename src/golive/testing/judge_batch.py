"""
Many judges at once, for simulations: the mathematics of :class:`golive.rollout.Judge` on arrays, one row per rollout.

Nothing is decided here a second time. Lines, stakes, patience, caps, needs and waiting times are read off the real
objects (:class:`Regression`, :class:`Promotion`, :class:`Options`), constants are imported from where they are used,
and ``tests/judge/test_judge_batch.py`` holds every look equal to the scalar judge: action, evidence, confidence, bound.
What is written again is the recurrences, because a thousand rollouts a look have to share each operation.
Left out: rows with their own measurement, units, jobs, broken snapshots, and all words. Needs numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from golive.rollout.judge import regression as reg
from golive.rollout.judge.judge import CLUMP_S, ODDS_MAX, ODDS_MIN, RATE_MEMORY, Judge
from golive.rollout.judge.layout import Line, make_lines, noninferiority_line
from golive.rollout.judge.promotion import Promotion
from golive.rollout.judge.regression import MULTIPLES, Regression
from golive.slo.evalue import NEVER, late_reserve
from golive.slo.noninferiority import RATIO_MIN
from golive.slo.wager import SINCE_SHARE
from golive.testing.judge_batch_parts import (
    Array,
    Baseline,
    Clumping,
    Ladders,
    Wagers,
    keep,
    log_sum,
    rate_gain,
    shared_gain,
)


@dataclass
class Looks:
    """What all judges said at one look, each (rollouts,)."""

    rollback: Array
    promote: Array
    confidence: Array
    evidence: Array
    harm_bound: Array
    incident: Array


class JudgeBatch:
    """
    As many judges as *history* has rollouts, all looking at the same instants.

    Args:
        judge: a new one; its settings are everybody's.
        requests, errors, latency: stable's history by tick of *tick_s*, (ticks, rollouts, routes or buckets).
    """

    by_rollout = (
        "tolerated", "worse", "worse_excess", "cut", "tail", "absolute", "baseline", "clumping", "regression",
        "promotion", "guards", "sums", "prefix", "path", "stage", "rate", "arrivals", "silent", "trouble", "quiet",
    )  # fmt: skip

    def __init__(self, judge: Judge, requests: Array, errors: Array, latency: Array) -> None:
        self.judge, self.options, self.plan = judge, judge.options, judge.plan
        self.routes = len(judge.routes)
        self._lay_out(latency.sum(axis=0))
        rollouts, rows = requests.shape[1], self.rows
        self.baseline = Baseline(rollouts, rows)
        self.clumping = Clumping(rollouts, rows, min(CLUMP_S, max(self.options.burst_s / 3, judge.tick_s)))
        for ticks in zip(requests, errors, latency, strict=True):
            events, exposure = self._count(*ticks)
            self.baseline.look(events, exposure)
            self.clumping.learn(events, exposure, judge.tick_s)
            self.baseline.learn(events, exposure, judge.tick_s, np.ones_like(events, dtype=bool))
        self.regression = Wagers(self.templates, self.which, judge.tick_s)
        self.promotion = Ladders(self.templates[0][2], rollouts)
        self.guards = np.zeros((rollouts, rows, 2, len(MULTIPLES)))
        self.sums = np.zeros((rollouts, rows, 2, 4))
        self.prefix = np.full((rollouts, rows), np.nan)
        self.path: list[Array] = []
        self.stage = np.full(rollouts, -1)
        self.rate, self.arrivals, self.silent = np.zeros(rollouts), np.zeros((rollouts, 3)), np.zeros((rollouts, 2))
        entries = self.regression.entries
        self.trouble, self.quiet = np.zeros((rollouts, entries)), np.zeros((rollouts, entries))

    # ------------------------------------------------------------------ the lines of every rollout

    def _lay_out(self, histograms: Array) -> None:
        """Lines by rollout: errors and routes alike for all, tails padded to the widest rollout."""
        judge = self.judge
        self.templates: list[tuple[list[Line], Regression, Promotion]] = []
        self.which: list[int] = []
        known: dict[tuple[object, ...], int] = {}
        layouts = []
        for histogram in histograms.tolist():
            lines = make_lines(judge.options, judge.wants, judge.routes, judge.bounds, histogram)
            tail = noninferiority_line(lines, judge.bounds, histogram)
            layouts.append((lines, tail))
            key = tuple((line.kind, line.index) for line in lines)
            if key not in known:
                known[key] = len(self.templates)
                regression = Regression(judge.options, lines, judge.wants, [], judge.tick_s)
                promotion = Promotion(judge.options, judge.plan, regression.minute_s, latency=tail is not None)
                self.templates.append((lines, regression, promotion))
            self.which.append(known[key])
        self.rows = max(len(lines) for lines, _ in layouts)
        self.fixed = sum(line.kind != "tail" for line in layouts[0][0])
        self.is_tail = np.arange(self.rows) >= self.fixed

        def table(value: Any, empty: float) -> Array:
            return np.array(
                [[*(value(line) for line in lines), *[empty] * (self.rows - len(lines))] for lines, _ in layouts]
            )

        self.tolerated = table(lambda line: line.tolerated, 1.0)
        self.worse, self.worse_excess = table(lambda line: line.worse, 2.0), table(lambda line: line.worse_excess, 0.0)
        self.cut = table(lambda line: line.index, len(judge.bounds) + 1).astype(int)[:, self.fixed :]
        self.tail = np.array([-1 if tail is None else tail for _, tail in layouts])
        self.absolute = [
            np.array([_line_index(self.templates[k], want) for k in self.which])
            for want in judge.wants if self.templates[0][1].line_of(want) is not None
        ]  # fmt: skip
        self.promises = [want.share for want in judge.wants if self.templates[0][1].line_of(want) is not None]

    def _count(self, requests: Array, errors: Array, latency: Array) -> tuple[Array, Array]:
        """Events and exposure of every line of one version in one tick, (rollouts, rows)."""
        slower = latency[:, ::-1].cumsum(axis=1)[:, ::-1]
        slower = np.concatenate([slower, np.zeros((len(latency), 2))], axis=1)
        tails = np.take_along_axis(slower, self.cut, axis=1)
        every = np.broadcast_to(latency.sum(axis=1)[:, None], tails.shape)
        total = errors.sum(axis=1)[:, None], requests.sum(axis=1)[:, None]
        by_route = (errors, requests) if self.routes > 1 else (errors[:, :0], requests[:, :0])
        exposure = np.concatenate([total[1], by_route[1]], axis=1)
        events = np.minimum(np.concatenate([total[0], by_route[0]], axis=1), exposure)
        return np.concatenate([events, tails], axis=1), np.concatenate([exposure, every], axis=1).astype(float)

    # ------------------------------------------------------------------ one look

    def observe(
        self, t: float, stage: Array, weight: Array, stage_age: Array, requests: Array, errors: Array, latency: Array
    ) -> Looks:
        """
        One look of everybody at *t* seconds, *tick_s* after the last.

        Args:
            stage, weight, stage_age: (rollouts,).
            requests, errors, latency: what was counted in this tick, (2, rollouts, routes or buckets).
        """
        seconds = self.judge.tick_s
        self._enter_stage(stage, weight, requests.sum(axis=2), seconds)
        (b, n_s), (c, n_c) = (self._count(requests[v], errors[v], latency[v]) for v in (0, 1))
        self.baseline.look(b, n_s)
        phi = self._phi()
        incident = self.baseline.incident(phi)
        warm = stage_age < self.options.warm_up_s + 1e-9
        self._bet(t, (c, n_c, b, n_s), self._phi(cautious=True), incident, warm)
        self._prove(t, (c, n_c, b, n_s), phi, incident, warm)
        alone = weight >= 1.0
        self.baseline.learn(b, n_s, seconds, ~incident)
        self.baseline.accept(self.is_tail)
        self.clumping.learn(b, n_s, seconds)
        return self._decide(t, stage, weight, stage_age, requests.sum(axis=2), incident, alone)

    def keep(self, chosen: Array) -> None:
        """Go on with the *chosen* rollouts only (a mask); the others have come to their end."""
        keep(self, chosen)

    def _phi(self, *, cautious: bool = False) -> Array:
        phi = self.clumping.cautious_factor() if cautious else self.clumping.factor()
        phi[:, 1 : self.fixed] = np.maximum(phi[:, 1 : self.fixed], phi[:, :1])
        return phi

    def _enter_stage(self, stage: Array, weight: Array, served: Array, seconds: float) -> None:
        requests = served.sum(axis=0)
        rate = requests / seconds
        self.rate = np.where(self.rate == 0, rate, RATE_MEMORY * self.rate + (1 - RATE_MEMORY) * rate)
        new = stage != self.stage
        self.stage = stage.copy()
        self.guards[new, :, 1], self.sums[new, :, 1] = 0.0, 0.0
        self.promotion.begin_stage(new)
        arrived = np.stack([served[1], requests, weight * requests], axis=1)
        self.arrivals = np.where(new[:, None], 0.0, self.arrivals + arrived)

    def _bet(self, t: float, counts: Sequence[Array], phi: Array, incident: Array, warm: Array) -> None:
        c, n_c, b, n_s = counts
        silent = warm[:, None] & self.is_tail
        self.prefix = np.where(
            ~silent & (c > 0) & np.isnan(self.prefix), self.sums[:, :, 0, 1] + n_c / (c + 1), self.prefix
        )
        self.sums += np.where(silent[..., None], 0.0, np.stack(counts, axis=-1))[:, :, None, :]
        live = ~silent & (c + b > 0) & (n_c > 0) & (n_s > 0)
        ratio_1 = self.tolerated[..., None] * np.array(MULTIPLES)
        gains = shared_gain(
            c[..., None], b[..., None], n_c[..., None], n_s[..., None], self.tolerated[..., None], ratio_1
        )
        gains = np.where(live[..., None], gains / phi[..., None], 0.0)
        self.guards += gains[:, :, None, :]
        usual = self.baseline.cautious_rate()
        alone_gains = self._stand_alone(counts, phi, usual, incident, silent)
        self.regression.bet(np.concatenate([gains.reshape(len(c), -1), alone_gains], axis=1))
        if t <= self.options.express_s:
            self.path.append(self.sums[:, 0, 0, :2].copy())
        self.regression.settle(t)

    def _stand_alone(self, counts: Sequence[Array], phi: Array, usual: Array, incident: Array, silent: Array) -> Array:
        """Gains of fuse, late fuse, pooled and absolute wagers, in the order of the entries; also listens to stable."""
        found = []
        r = np.arange(len(phi))
        for e, (line, multiples, kind, share) in enumerate(self._alone_entries(), start=self.rows):
            c, n_c, b, n_s = (each[r, line] for each in counts)
            u, f, stopped, mute = usual[r, line], phi[r, line], incident[r, line], silent[r, line]
            first = None
            for multiple in multiples:
                null, worse = self._worse(kind, multiple, share, u)
                gain = np.where(worse > 1.5 * null, rate_gain(c, n_c, null, worse), 0.0) / f
                gain = np.where(mute, 0.0, gain)
                found.append(np.where(stopped, np.minimum(gain, 0.0), gain))
                if first is None:
                    first, half = gain, np.maximum(worse / 2, u * 1.01)
            listening = (self.trouble[:, e] > 0) & ~mute
            self.quiet[:, e] += np.where(listening, rate_gain(b, n_s, half, u) / f, 0.0)
            self.trouble[:, e] = np.where(mute, self.trouble[:, e], np.maximum(self.trouble[:, e] + first, 0.0))
            self.quiet[:, e] = np.where(self.trouble[:, e] == 0.0, 0.0, self.quiet[:, e])
        return np.stack(found, axis=1)

    def _alone_entries(self) -> list[tuple[Any, Sequence[float], str, float]]:
        fuses: list[tuple[Any, Sequence[float], str, float]] = [
            (0, (reg.FUSE_NULL,), "fuse", 0.0), (0, (reg.FUSE_NULL_LATE,), "fuse", 0.0),
            (0, reg.POOLED_MULTIPLES, "pooled", 0.0),
        ]  # fmt: skip
        absolute = [(line, reg.ABSOLUTE_MULTIPLES, "absolute", share)
                    for line, share in zip(self.absolute, self.promises, strict=True)]  # fmt: skip
        return [*fuses, *absolute]

    def _worse(self, kind: str, multiple: float, share: float, usual: Array) -> tuple[Array, Array]:
        if kind == "fuse":
            return np.maximum(usual, multiple), np.full_like(usual, self.options.fuse_ratio)
        null = np.maximum(share, usual * self.options.tolerated_error_factor) if kind == "absolute" else usual
        return null, np.minimum(null * multiple, reg.RATE_MAX)

    def _prove(self, t: float, counts: Sequence[Array], phi: Array, incident: Array, warm: Array) -> None:
        r, p = np.arange(len(phi)), self.baseline.rate()
        c, n_c, b, n_s = (each[:, 0, None] for each in counts)
        deltas, usual = np.array(self.promotion.deltas), p[:, 0, None]
        worse, good = np.minimum(usual + deltas, 0.999), np.minimum(usual + RATIO_MIN * deltas, 0.99)
        shared, pooled = shared_gain(c, b, n_c, n_s, worse / usual, good / usual), rate_gain(c, n_c, worse, good)
        self.promotion.bet("errors", shared, pooled, phi[:, 0], incident[:, 0])
        if self.promotion.latency:
            tail = self.tail
            c, n_c, b, n_s = (each[r, tail][:, None] for each in counts)
            usual = p[r, tail][:, None]
            more, excess = self.worse[r, tail][:, None], self.worse_excess[r, tail][:, None]
            worse = np.minimum(np.maximum(more * usual, usual + excess), 0.98)
            good = np.minimum(usual + RATIO_MIN * (worse - usual), 0.97)
            cold = warm[:, None]
            shared = np.where(cold, 0.0, shared_gain(c, b, n_c, n_s, worse / usual, good / usual))
            pooled = np.where(cold, 0.0, rate_gain(c, n_c, worse, good))
            self.promotion.bet("tails", shared, pooled, phi[r, tail], incident[r, tail])
        self.promotion.advance(t)

    # ------------------------------------------------------------------ what it comes to

    def _decide(
        self, t: float, stage: Array, weight: Array, stage_age: Array, served: Array, incident: Array, alone: Array
    ) -> Looks:
        values = self.regression.values(self._whole(t))
        cash = math.log((1 - SINCE_SHARE) * late_reserve(self.regression.minutes))
        lines = self._lines_of_entries(len(stage))
        allowed = np.where(self._guarded(lines, alone), values, NEVER)
        total = log_sum(np.concatenate([allowed, np.full((len(stage), 1), cash)], axis=1))
        suspicion = log_sum(np.concatenate([values, np.full((len(stage), 1), cash)], axis=1))
        lead = np.take_along_axis(lines, allowed.argmax(axis=1)[:, None], axis=1)[:, 0]
        r = np.arange(len(stage))
        trouble = incident[:, 0] | (incident[r, self.tail] if self.promotion.latency else False)
        rollback = (total >= self.regression.goal) & self._visible()[r, lead]
        suspicious = suspicion > math.log(self.options.warn)
        forbidden = trouble | suspicious | self._arrival_fault(weight, served)
        promote = ~rollback & ~forbidden & self.promotion.earned(stage, stage_age, self.rate)
        confidence = 100.0 * (1.0 - np.exp(-np.maximum(self.promotion.proof(0), 0.0)))
        confidence = np.where(suspicious | rollback, np.minimum(confidence, 49.0), confidence)
        return Looks(rollback, promote, confidence, total / math.log(10), self.promotion.harm_bound(), trouble)

    def _lines_of_entries(self, rollouts: int) -> Array:
        """The line each entry bets on, (rollouts, entries): shared, fuse, late fuse, pooled, absolute."""
        shared = np.broadcast_to(np.arange(self.rows), (rollouts, self.rows))
        alone = np.zeros((rollouts, 3), dtype=int)
        return np.concatenate([shared, alone, *(line[:, None] for line in self.absolute)], axis=1)

    def _whole(self, t: float) -> Array:
        """By line: whether the canary failed all along, in time for the express; only asked while that runs."""
        if t > self.options.express_s:
            return np.zeros(self.prefix.shape, dtype=bool)
        c, n = self.sums[:, :, 0, 0], self.sums[:, :, 0, 1]
        began = (
            ~np.isnan(self.prefix)
            & (c >= reg.STEADY_MIN)
            & (np.nan_to_num(self.prefix) * c <= reg.PREFIX_MAX * (n - np.nan_to_num(self.prefix)))
        )
        return (
            began
            & np.array([reg.evenly(list(map(list, path))) for path in np.stack(self.path, axis=1).tolist()])[:, None]
        )

    def _guarded(self, lines: Array, alone: Array) -> Array:
        even = math.log(len(MULTIPLES) - reg.GUARD_FROM)
        guard = (log_sum(self.guards[..., reg.GUARD_FROM :]) - even).max(axis=2)
        guard = np.take_along_axis(guard, lines, axis=1)
        bar = np.log(np.where(self.regression.entry_late, self.options.guard, self.options.guard / 2))
        free = (self.quiet >= self.regression.goal) | (guard >= bar)
        free[alone] = self.options.watch == "revert"
        free[:, : self.rows] = True
        return free

    def _visible(self) -> Array:
        c, n_c, b, n_s = (self.sums[..., k] for k in range(4))
        excess = np.divide(c, n_c, out=np.zeros_like(c), where=n_c > 0) - np.divide(
            b, n_s, out=np.zeros_like(b), where=n_s > 0
        )
        return (excess >= self.options.min_excess).any(axis=2)

    def _arrival_fault(self, weight: Array, served: Array) -> Array:
        total = served.sum(axis=0)
        fault = (self.arrivals[:, 0] == 0) & (served[1] == 0)
        for version, wanted in ((1, weight), (0, 1.0 - weight)):
            missed = self.silent[:, version] + wanted * np.maximum(self.rate * self.judge.tick_s, total)
            self.silent[:, version] = np.where(served[version] > 0, 0.0, missed)
            fault = fault | (self.silent[:, version] >= 10.0)
        canary, requests, expected = self.arrivals.T
        usable = (requests > 0) & (expected > 0) & (expected < requests)
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma = np.sqrt(expected * (1 - expected / requests))
            odds = (canary + 0.5) * (requests - expected) / ((requests - canary + 0.5) * expected)
            off = (np.abs(canary - expected) > 6 * sigma) & ((odds < ODDS_MIN) | (odds > ODDS_MAX))
        return fault | (usable & off)


def _line_index(template: tuple[list[Line], Regression, Promotion], want: Any) -> int:
    index = template[1].line_of(want)
    assert index is not None
    return index
