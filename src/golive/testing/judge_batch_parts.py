"""
The evidence of many rollouts at once: wagers, ladders, usual rates and clumping on arrays, one row per rollout.

Each class is the array form of the one it names, with the same constants; :mod:`golive.testing.judge_batch` uses them,
and its test holds both forms equal. The first axis is always the rollout. Needs numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from golive.rollout.judge.layout import Line
from golive.rollout.judge.promotion import HALF, Promotion
from golive.rollout.judge.regression import MULTIPLES, Regression
from golive.slo import baseline as base
from golive.slo import clumping as clump
from golive.slo.evalue import NEVER, late_reserve, late_stake
from golive.slo.noninferiority import LATE, POOLED, SHARED
from golive.slo.wager import DIP_MAX, SINCE_SHARE, BlockClock

Array = Any
"""A numpy array; the first axis is the rollout."""


class Wagers:
    """All wagers of all rollouts, one column per alternative; see :mod:`golive.slo.wager`."""

    by_rollout = ("log_weights", "needs", "now", "since", "late", "late_stake")

    def __init__(
        self, templates: Sequence[tuple[list[Line], Regression, Promotion]], which: Sequence[int], tick_s: float
    ):
        rows = max(len(lines) for lines, _, _ in templates)
        spread = [_columns(lines, regression, rows) for lines, regression, _ in templates]
        first = templates[0][1]
        self.goal, self.minute_s, self.minutes = first.goal, first.minute_s, 0
        self.log_weights = np.array([weights for weights, _ in spread])[np.array(which)]
        columns = next(
            columns for (_, columns), (lines, _, _) in zip(spread, templates, strict=True) if len(lines) == rows
        )
        self.entry = np.array([entry for entry, _ in columns])
        self.entries = int(self.entry.max()) + 1
        self.starts = np.searchsorted(self.entry, np.arange(self.entries))
        patience = [each for _, each in columns]
        self.block = np.array([each.block_s for each in patience])
        self.parts = np.array([each.parts for each in patience])
        self.express = np.array([each.express_s for each in patience])
        self.free = np.array([each.free_s for each in patience])
        self.late_allowed = np.array([each.late for each in patience])
        self.entry_late = self.late_allowed[self.starts]
        self.windowed = np.array([each.window > 0 for each in patience])
        size = max(each.window for each in patience)
        self.clock = BlockClock([self.minute_s, *self.block.tolist()])
        self.log_since = np.where(self.late_allowed, math.log(SINCE_SHARE), 0.0)
        self.needs = self.goal - self.log_weights
        shape = self.log_weights.shape
        self.now = np.zeros(shape)
        self.since = Runs((self.needs - self.log_since) / self.parts, size)
        self.late = Runs(np.full(shape, np.inf), size)
        self.late_stake = np.full(shape, NEVER)

    def bet(self, gains: Array) -> None:
        self.now += gains

    def settle(self, t: float) -> None:
        closed = self.clock.advance(t)
        if not closed:
            return
        self._close(np.isin(self.block, list(closed)), t <= self.free)
        if self.minute_s in closed:
            self.minutes += 1
            stake = math.log((1 - SINCE_SHARE) * late_stake(self.minutes))
            self._close(np.ones_like(self.windowed), np.zeros_like(self.windowed))
            again = self.late_allowed & (self.late_stake + self.late.closed < stake)
            self.late.begin(again, (self.needs - stake) / self.parts)
            self.late_stake[again] = stake

    def values(self, steady: Array) -> Array:
        """Log of the patient wealth by entry, (rollouts, entries). *steady*: by line, while the express runs."""
        whole = np.zeros_like(self.now, dtype=bool)
        if steady.any():
            lines = np.concatenate([steady, np.repeat(steady[:, :1], self.entries - steady.shape[1], axis=1)], axis=1)
            whole = lines[:, self.entry] & (self.express > 0)
        value = self.log_since + self.since.value(self.now, whole, self.windowed)
        late = self.late_stake + self.late.value(self.now, np.zeros_like(whole), self.windowed)
        value = np.where(self.late_stake > NEVER, np.logaddexp(value, np.maximum(late, NEVER)), value)
        return np.logaddexp.reduceat(np.maximum(self.log_weights + value, NEVER), self.starts, axis=1)

    def _close(self, columns: Array, free: Array) -> None:
        self.since.close(self.now, columns, self.windowed, free)
        self.late.close(self.now, columns, self.windowed, np.zeros_like(free))
        self.now[:, columns] = 0.0


class Runs:
    """The wealth of every bet since one beginning; see :class:`golive.slo.wager.Run`."""

    by_rollout = ("cap", "closed", "lowest", "window", "worst", "recent")

    def __init__(self, cap: Array, window: int) -> None:
        self.cap, self.at = cap, 0
        self.closed, self.lowest = np.zeros(cap.shape), np.zeros(cap.shape)
        self.window, self.worst = np.zeros(cap.shape), np.zeros(cap.shape)
        self.recent = np.zeros((*cap.shape, window))

    def begin(self, again: Array, cap: Array) -> None:
        self.cap = np.where(again, cap, self.cap)
        for each in (self.closed, self.lowest, self.window, self.worst, self.recent):
            each[again] = 0.0

    def close(self, now: Array, columns: Array, windowed: Array, free: Array) -> None:
        gain = np.where(free, now, np.minimum(now, self.cap))
        self.closed = np.where(columns, self.closed + gain, self.closed)
        self.lowest = np.minimum(self.lowest, self.closed)
        if not (columns & windowed).any():
            return
        self.window = np.where(windowed, self.window + gain - self.recent[..., self.at], self.window)
        self.recent[..., self.at] = gain
        self.at = (self.at + 1) % self.recent.shape[-1]
        self.worst = np.maximum(self.worst, self.window)

    def value(self, now: Array, whole: Array, windowed: Array) -> Array:
        gain = np.minimum(now, self.cap)
        wealth = self.closed + gain
        plain = (wealth <= 0) | ~windowed | (whole & (self.lowest >= -DIP_MAX))
        left_out = np.maximum(self.window - self.recent[..., self.at] + gain, self.worst)
        return np.where(plain, wealth, wealth - left_out)


class Ladders:
    """The proofs of all rollouts; see :mod:`golive.rollout.judge.promotion`. First axis rollout, second beginning."""

    by_rollout = ("wealth", "minutes")

    def __init__(self, promotion: Promotion, rollouts: int) -> None:
        self.model, self.latency = promotion, promotion.latency
        self.deltas, self.need, self.clock = promotion.deltas, promotion.need, BlockClock([promotion.minute_s])
        self.wealth = {
            (name, form): np.full((rollouts, 2, rungs), math.log(stake))
            for name, rungs in (("errors", len(self.deltas)), ("tails", 1))
            for form, stake in (("shared", SHARED), ("pooled", POOLED))
        }
        self.minutes = np.zeros((rollouts, 2), dtype=int)
        last = len(promotion.plan) - 1
        self.waits = np.array([promotion.waiting_s(stage) for stage in range(last + 1)])
        self.next_weight = np.array([*promotion.plan[1:], np.nan])

    def begin_stage(self, new: Array) -> None:
        for (_, form), wealth in self.wealth.items():
            wealth[new, 1] = math.log(SHARED if form == "shared" else POOLED)
        self.minutes[new, 1] = 0

    def bet(self, name: str, shared: Array, pooled: Array, phi: Array, incident: Array) -> None:
        self.wealth[name, "shared"] += (shared / phi[:, None])[:, None, :]
        self.wealth[name, "pooled"] += np.where(incident[:, None], 0.0, pooled / phi[:, None])[:, None, :]

    def advance(self, t: float) -> None:
        if self.clock.advance(t):
            self.minutes += 1
            stake = np.log(LATE * late_stake(self.minutes) / 2)[..., None]  # type: ignore[arg-type]
            for key, wealth in self.wealth.items():
                self.wealth[key] = np.logaddexp(wealth, stake)

    def value(self, name: str) -> Array:
        """(rollouts, beginnings, rungs)."""
        cash = np.log(LATE * late_reserve(self.minutes))[..., None]  # type: ignore[arg-type]
        return np.logaddexp(np.logaddexp(self.wealth[name, "shared"], self.wealth[name, "pooled"]), cash)

    def proof(self, beginning: int, rung: int = 0) -> Array:
        errors = self.value("errors")[:, beginning, rung]
        return np.minimum(errors, self.value("tails")[:, beginning, 0]) if self.latency else errors

    def harm_bound(self) -> Array:
        refuted = self.value("errors")[:, 0] >= self.need
        return np.where(refuted.any(axis=1), np.array(self.deltas)[refuted.argmax(axis=1)], 1.0)

    def earned(self, stage: Array, stage_age: Array, rate: Array) -> Array:
        waited = stage_age >= self.waits[stage] - 1e-9
        proven = self.proof(0) >= self.need
        harm = self.next_weight[stage] * rate * self.model.options.reaction_s * self.harm_bound()
        below = proven | (harm <= self.model.options.harm_budget)
        above = proven & (self.proof(1, self.model.stage_rung) >= self.need)
        last = stage >= len(self.next_weight) - 1
        return waited & (last | np.where(self.next_weight[stage] <= HALF, below, above))


class Baseline:
    """Stable's usual rates, (rollouts, rows); see :mod:`golive.slo.baseline`."""

    by_rollout = ("exposure", "events", "trouble_s", "window")

    def __init__(self, rollouts: int, rows: int) -> None:
        self.exposure, self.events, self.trouble_s = (np.zeros((rollouts, rows)) for _ in range(3))
        self.window: list[tuple[Array, Array]] = []

    def rate(self) -> Array:
        return (self.events + 0.5) / (self.exposure + 500.0)

    def cautious_rate(self) -> Array:
        s = self.events + 0.5
        return np.maximum((s + base.CAUTION * np.sqrt(s)) / (self.exposure + 100.0), base.RATE_MIN)

    def look(self, events: Array, exposure: Array) -> None:
        self.window = [*self.window, (events, exposure)][-base.WINDOW_TICKS :]

    def incident(self, phi: Array) -> Array:
        events = sum(each for each, _ in self.window)
        expected = self.rate() * sum(each for _, each in self.window)
        spread = expected + base.SIGMAS * np.sqrt(phi * expected)
        return events > np.maximum(expected * base.FACTOR, spread) + base.SLACK_EVENTS

    def learn(self, events: Array, exposure: Array, seconds: float, calm: Array) -> None:
        keep = math.exp(-seconds / base.MEMORY_S)
        self.trouble_s = np.where(calm, 0.0, self.trouble_s + seconds)
        self.exposure = np.where(calm, keep * self.exposure + exposure, self.exposure)
        self.events = np.where(calm, keep * self.events + events, self.events)

    def accept(self, rows: Array) -> None:
        over = (self.trouble_s >= base.NEW_NORMAL_S) & rows
        self.events = np.where(over, sum(each for each, _ in self.window), self.events)
        self.exposure = np.where(over, sum(each for _, each in self.window), self.exposure)
        self.trouble_s[over] = 0.0


class Clumping:
    """phi, (rollouts, rows); see :mod:`golive.slo.clumping`."""

    by_rollout = ("squares", "events", "pairs", "before", "now")

    def __init__(self, rollouts: int, rows: int, interval_s: float) -> None:
        self.interval_s, self.age_s = interval_s, 0.0
        self.squares, self.events, self.pairs = (np.zeros((rollouts, rows)) for _ in range(3))
        self.before: tuple[Array, Array] | None = None
        self.now: tuple[Array, Array] = (np.zeros((rollouts, rows)), np.zeros((rollouts, rows)))

    def factor(self) -> Array:
        phi = (clump.PRIOR_EVENTS * clump.PRIOR_PHI + self.squares) / (clump.PRIOR_EVENTS + self.events)
        return np.where(phi > clump.PHI_NOISE, np.minimum(phi, clump.PHI_MAX), 1.0)

    def cautious_factor(self) -> Array:
        phi = self.factor()
        error = phi * np.sqrt(2 * phi / (clump.PRIOR_EVENTS + self.events))
        return np.minimum(phi + 2 * error * np.minimum(phi - 1.0, 1.0), clump.PHI_MAX)

    def learn(self, events: Array, exposure: Array, seconds: float) -> None:
        self.now = (self.now[0] + events, self.now[1] + exposure)
        self.age_s += seconds
        if self.age_s >= self.interval_s - 1e-9:
            if self.before is not None:
                self._compare(*self.before, *self.now)
            zeros = np.zeros_like(self.squares)
            self.before, self.now, self.age_s = self.now, (zeros, zeros), 0.0

    def _compare(self, b_0: Array, n_0: Array, b_1: Array, n_1: Array) -> None:
        events = b_0 + b_1
        usable = (n_0 > 0) & (n_1 > 0) & (events > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.sqrt(n_0 / n_1)
            square = np.minimum((b_1 * scale - b_0 / scale) ** 2 / events, clump.RATIO_MAX)
        usual = (clump.PRIOR_EVENTS + self.events) / (1 + self.pairs)
        weight = np.where(usable, np.minimum(events, clump.WEIGHT_MAX * usual), 0.0)
        self.squares += weight * np.where(usable, square, 0.0)
        self.events += weight
        self.pairs += usable


def _columns(lines: Sequence[Line], regression: Regression, rows: int) -> tuple[list[float], list[tuple[int, Any]]]:
    """Log weights by column, and (entry, patience) of each; tails that a rollout lacks weigh nothing."""
    weights: list[float] = []
    columns: list[tuple[int, Any]] = []
    spare = rows - len(lines)
    for i, entry in enumerate(regression.entries):
        if i == len(lines):
            weights += [NEVER] * (spare * len(MULTIPLES))
            columns += [(i + k, regression.entries[i - 1].wager.patience[0]) for k in range(spare) for _ in MULTIPLES]
        weights += entry.wager.log_weights
        columns += [(i + (spare if i >= len(lines) else 0), patience) for patience in entry.wager.patience]
    return weights, columns


def keep(part: Any, chosen: Array) -> None:
    """The *chosen* rollouts of everything *part* names in ``by_rollout``."""
    for name in part.by_rollout:
        setattr(part, name, _kept(getattr(part, name), chosen))


def _kept(value: Any, chosen: Array) -> Any:
    if isinstance(value, np.ndarray):
        return value[chosen]
    if isinstance(value, dict):
        return {key: _kept(each, chosen) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_kept(each, chosen) for each in value)
    if value is not None:
        keep(value, chosen)
    return value


def shared_gain(c: Array, b: Array, n_c: Array, n_s: Array, ratio_0: Array, ratio_1: Array) -> Array:
    """:func:`golive.slo.evalue.shared_gain` on arrays."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = c * np.log(ratio_1 / ratio_0) - (c + b) * np.log((ratio_1 * n_c + n_s) / (ratio_0 * n_c + n_s))
    return np.where((n_c > 0) & (n_s > 0) & (c + b > 0), gain, 0.0)


def rate_gain(k: Array, n: Array, p_0: Array, p_1: Array) -> Array:
    """:func:`golive.slo.evalue.rate_gain` on arrays."""
    return k * np.log(p_1 / p_0) + (n - k) * np.log((1 - p_1) / (1 - p_0))


def log_sum(terms: Array) -> Array:
    top = terms.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(terms - top).sum(axis=-1, keepdims=True)))[..., 0]
