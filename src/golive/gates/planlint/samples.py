"""Limits that lie below the noise of the sample they are judged by. Binomial arithmetic, nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator

from golive.errors import UsageError
from golive.gates.planlint.facts import Finding, PlanFacts
from golive.gates.target import Target
from golive.gates.thresholds import parse_threshold
from golive.promises.behaviour import SoakProbe
from golive.promises.state import PlanLintProbe
from golive.slo.row import Row

BEYOND_MIN = 10
"""Requests that must lie beyond a percentile; of fewer, one more or less moves it by more than a tenth of them."""
TIMES = 3.0
"""A service this many times worse than a limit must not pass it by luck."""
LUCK_MAX = 0.05
_EXPECTED_MAX = 1000.0
"""With more failures expected than this, no limit lies in the noise, and no sum is needed."""


def check(target: Target, facts: PlanFacts) -> Iterator[Finding]:
    """Every limit whose sample is too small."""
    if facts.load_wanted:
        yield from _load(target)
    soak = target.promise(SoakProbe)
    if soak is not None:
        sent = int(soak.duration * soak.rate)
        lucky = _lucky(sent, soak.errors_max)
        if lucky > LUCK_MAX:
            yield Finding(
                "soak-sample",
                ("gates.soak.duration", "gates.soak.errors_max"),
                f"{sent} requests ({soak.duration:g} s at {soak.rate:g} a second) let a service that fails "
                f"{TIMES * soak.errors_max:.3g} of them pass in {lucky:.0%} of runs. "
                f"Soak longer: {_enough(soak.errors_max) / soak.rate:.0f} s.",
            )
    probe = target.promise(PlanLintProbe)
    if probe is not None and probe.rate > 0:
        yield from _alarms(facts, probe.rate)
        yield from _rollout(facts, probe.rate)


def _load(target: Target) -> Iterator[Finding]:
    load = target.load
    sent = load.requests
    if load.concurrency is None:
        sent = min(sent, int(load.rate * load.seconds_max))
    for text in load.thresholds:
        try:
            threshold = parse_threshold(text)
        except UsageError:
            continue  # the load gate says so itself
        digits = threshold.name.rpartition("p")[2]
        if threshold.condition.unit == "seconds" and digits.isdigit() and digits != "100":
            beyond = 1 - float(f"0.{digits}")
            if sent * beyond < BEYOND_MIN - 1e-6:
                yield Finding(
                    "load-percentile-sample",
                    ("gates.load.requests", f'threshold "{text}"'),
                    f"{sent} requests leave {sent * beyond:.2g} beyond {threshold.name}, {BEYOND_MIN} are needed. "
                    f"Send {math.ceil(BEYOND_MIN / beyond - 1e-6)}, or ask for a lower percentile.",
                )
        elif threshold.name in ("error_rate", "success_rate"):
            limit = threshold.condition.value
            limit = 1 - limit if threshold.name == "success_rate" else limit
            lucky = _lucky(sent, limit)
            if lucky > LUCK_MAX:
                yield Finding(
                    "load-error-sample",
                    ("gates.load.requests", f'threshold "{text}"'),
                    f"with {sent} requests a service that fails {TIMES * limit:.3g} of them passes in {lucky:.0%} of "
                    f"runs. Send {_enough(limit)}.",
                )


def _alarms(facts: PlanFacts, rate: float) -> Iterator[Finding]:
    for row in facts.rows:
        shares = _failing(row)
        if shares is None:
            continue
        usual, alarm = shares
        count = int(rate * row.window.total_seconds())
        if usual <= 0 or count * alarm > _EXPECTED_MAX:
            continue
        chance = 1 - at_most(math.floor(count * alarm + 1e-9), count, usual) if count else 0.0
        if chance > LUCK_MAX:
            yield Finding(
                "alarm-in-noise",
                (f"slo.{row.name}.alert_if", f"slo.{row.name}.window"),
                f"{count} requests a window ({rate:g} a second): a service just at its target {row.target} alarms in "
                f"{chance:.0%} of windows by chance. Widen the window, or the room between target and alarm.",
            )


def _rollout(facts: PlanFacts, rate: float) -> Iterator[Finding]:
    """What a candidate gets before everybody has it, each stage lasting as long as it may."""
    compared = [stage for stage in facts.stages if stage.weight < 1]
    if not compared or any(stage.most is None for stage in compared):
        return
    count = int(sum(rate * stage.weight * (stage.most or 0.0) for stage in compared))
    for row in facts.rows:
        shares = _failing(row.for_phase("canary"))
        if shares is None or not 0 < shares[1] < 1:
            continue
        unseen = math.exp(count * math.log1p(-shares[1]))
        if unseen > LUCK_MAX:
            yield Finding(
                "rollout-sample",
                ("rollout.stages", f"slo.{row.name}.alert_if"),
                f"{count} requests in all stages below 100 % ({rate:g} a second): a version that fails "
                f"{shares[1]:.3g} of them shows no failure at all in {unseen:.0%} of rollouts. Let the stages last "
                f"until {math.ceil(math.log(LUCK_MAX) / math.log1p(-shares[1]))} requests.",
            )


def _failing(row: Row) -> tuple[float, float] | None:
    """The failing shares of target and alarm; None for rows that are not about all requests."""
    if row.alert_if is None or row.route or row.queue or row.query:
        return None
    if row.indicator == "error_rate":
        return row.target.value, row.alert_if.value
    if row.indicator == "success_rate":
        return 1 - row.target.value, 1 - row.alert_if.value
    return None


def _lucky(count: int, limit: float) -> float:
    """The chance that a service TIMES worse than *limit* passes it; 0 where no failure is allowed anyway."""
    if limit <= 0 or TIMES * limit >= 1 or count * limit > _EXPECTED_MAX:
        return 0.0
    return at_most(math.floor(count * limit + 1e-9), count, TIMES * limit)


def _enough(limit: float) -> int:
    """A number of requests from which on *limit* is out of the noise: whole failures are allowed, so by those."""
    allowed = 0
    while _lucky(math.ceil(allowed / limit), limit) > LUCK_MAX:
        allowed += 1
    return math.ceil(allowed / limit)


def at_most(most: int, count: int, share: float) -> float:
    """P(X <= *most*) of a binomial X with *count* draws and *share*, both ends of the share excluded."""
    odds, total = math.log(share / (1 - share)), 0.0
    log_term = count * math.log1p(-share)
    for hits in range(min(most, count) + 1):
        total += math.exp(log_term)
        log_term += math.log(max(count - hits, 1) / (hits + 1)) + odds
    return min(total, 1.0)
