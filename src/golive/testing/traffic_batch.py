"""
The days of :mod:`golive.testing.traffic` for many rollouts at once: same rates, same distributions, one random stream.

:func:`ship_batch` is :func:`golive.testing.traffic.ship` a thousand times, fifty times as fast; it needs numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from golive.rollout.judge import Judge
from golive.testing.judge_batch import JudgeBatch
from golive.testing.judge_batch_parts import Array
from golive.testing.traffic import BOUNDS, ROUTE_SHARES, ROUTES, Day, Outcome, bucket_shares


class TrafficBatch:
    """What every rollout's day brings, tick by tick; the first axis is the rollout."""

    def __init__(self, days: Sequence[Day], seed: int, tick_s: float) -> None:
        self.days, self.tick_s = list(days), tick_s
        self.random = np.random.default_rng(seed)
        self.shares = np.array(ROUTE_SHARES)

    def keep(self, chosen: Array) -> None:
        """Go on with the *chosen* rollouts only (a mask)."""
        self.days = [day for day, kept in zip(self.days, chosen.tolist(), strict=True) if kept]

    def tick(self, t: float, weight: Array, stage_age: Array) -> tuple[Array, Array, Array]:
        """Requests, errors and latency of the tick that ends at *t*, (2, rollouts, routes or buckets)."""
        day, middle = self.days[0], t - self.tick_s / 2
        load = day.rps * self.tick_s * self._each(lambda each: each.load(middle))
        if day.burstiness:
            shape = 1 / day.burstiness**2
            load = load * self.random.gamma(shape, 1 / shape, len(load))
        arms = [self._serve(version, load * share, middle, weight, stage_age)
                for version, share in ((0, 1 - weight), (1, weight))]  # fmt: skip
        requests, errors, latency = (np.stack(parts) for parts in zip(*arms, strict=True))
        return requests, errors, latency

    def _each(self, value: Callable[[Day], float]) -> Array:
        return np.array([value(day) for day in self.days])

    def _shape(self, name: str, t: float, weight: Array) -> Array:
        """A shape of every day at its rollout's weight; most rollouts share day and weight."""
        known: dict[tuple[int, float], float] = {}
        found = []
        for day, share in zip(self.days, weight.tolist(), strict=True):
            shape = getattr(day, name)
            key = (id(shape), share)
            if key not in known:
                known[key] = shape(t, share)
            found.append(known[key])
        return np.array(found)

    def _serve(self, version: int, load: Array, t: float, weight: Array, age: Array) -> tuple[Array, Array, Array]:
        day = self.days[0]
        served = self.random.poisson(load[:, None] * self.shares)
        slower = self._each(lambda each: each.shared_slower(t))
        if version == 1:
            slower = slower * self._shape("slower", t, weight)
            if day.cold_s:
                slower = slower * (1 + 2 * np.exp(-age / day.cold_s))
        shares = np.stack([bucket_shares(round(each, 2)) for each in slower.tolist()])
        return served, self._failures(served, version, t, weight), self.random.multinomial(served.sum(axis=1), shares)

    def _failures(self, served: Array, version: int, t: float, weight: Array) -> Array:
        day = self.days[0]
        rate = self._shape("errors", t, weight) if version == 1 and day.errors else np.full(len(served), day.base)
        rate = np.clip(rate + self._each(lambda each: each.shared_errors(t)), 0.0, 1.0)
        rates = np.repeat(rate[:, None], served.shape[1], axis=1)
        if version == 1:
            rates[:, -1] = np.minimum(rates[:, -1] + day.route_errors, 1.0)
        if day.clump > 1:
            return np.minimum(self.random.poisson(served * rates / day.clump) * day.clump, served)
        return self.random.binomial(served, rates)


def ship_batch(
    days: Sequence[Day],
    slo: dict[str, dict[str, object]],
    seed: int,
    *,
    plan: Sequence[float],
    tick_s: float = 10.0,
    history_s: float = 600.0,
    horizon_s: float = 3600.0,
    **options: Any,
) -> list[Outcome]:
    """
    One rollout through each of *days*, which are of one kind (they may differ in what happens when).

    Args:
        options: of the judge, ``pace`` among them.

    Returns: the outcomes in the order of *days*; reasons are left empty.
    """
    traffic = TrafficBatch(days, seed, tick_s)
    nothing = np.zeros(len(days))
    history = [traffic.tick(-k * tick_s, nothing, nothing) for k in range(round(history_s / tick_s) - 1, -1, -1)]
    stable = (np.stack([tick[part][0] for tick in history]) for part in range(3))
    batch = JudgeBatch(Judge(plan, slo, tick_s, BOUNDS, ROUTES, **options), *stable)
    return _walk(batch, traffic, np.array(plan), horizon_s)


def _walk(batch: JudgeBatch, traffic: TrafficBatch, plan: Array, horizon_s: float) -> list[Outcome]:
    number = len(traffic.days)
    outcomes: list[Outcome | None] = [None] * number
    who = np.arange(number)
    stage, entered, failed = np.zeros(number, dtype=int), np.zeros(number), np.zeros(number)
    best, confident_at = np.zeros(number), np.full(number, math.inf)
    last = len(plan) - 1
    for k in range(1, round(horizon_s / traffic.tick_s) + 1):
        t = k * traffic.tick_s
        requests, errors, latency = traffic.tick(t, plan[stage], t - entered)
        failed += errors[1].sum(axis=1)
        looks = batch.observe(t, stage, plan[stage], t - entered, requests, errors, latency)
        best = np.maximum(best, looks.confidence)
        confident_at = np.where(looks.confidence >= 95, np.minimum(confident_at, t), confident_at)
        over = looks.rollback | (looks.promote & (stage == last))
        for i in np.flatnonzero(over):
            ending = "rolled_back" if looks.rollback[i] else "live"
            outcomes[who[i]] = Outcome(ending, t, float(failed[i]), int(stage[i]), best[i], "", float(confident_at[i]))
        entered = np.where(looks.promote, t, entered)
        stage = np.where(looks.promote, np.minimum(stage + 1, last), stage)
        if over.any():
            batch.keep(~over)
            traffic.keep(~over)
            who, stage, entered, failed, best, confident_at = (
                each[~over] for each in (who, stage, entered, failed, best, confident_at)
            )
        if not len(who):
            break
    for place, errors, at, top, sure in zip(who, failed, stage, best, confident_at, strict=True):
        outcomes[place] = Outcome("undecided", horizon_s, float(errors), int(at), float(top), "", float(sure))
    return [outcome for outcome in outcomes if outcome is not None]
