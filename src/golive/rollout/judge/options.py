"""
What can be set on a judge, and the paces: named sets of settings that fit together.

Faster means coarser, never just "faster": a pace that decides sooner accepts a wider margin or a shorter look at load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from golive.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Options:
    """
    The settings of a judge. Shares are 0..1, times are seconds.

    Attributes:
        alpha: chance of ever taking back a healthy canary, over all rows, looks and stages.
        beta: chance of ever finding a canary good that is worse than the margin.
        margin: excess share of failed requests that is too much.
        latency_margin: slow-down factor that is too much.
        tolerated_error_factor: errors this many times stable's are not a regression.
        tolerated_latency_factor: a slow-down by this factor is not a regression.
        min_excess: excess share below which no certainty is a reason to roll back.
        harm_budget: failed requests at most, still compatible with the evidence, that the next stage may cost.
        reaction_s: time to notice and take back, for that reckoning.
        dwell_s: least time in a stage up to 50 %.
        bake_s: least time before more than 50 %: two thirds at the last stage up to 40 %, one third at 50 %.
        last_s: least time in a stage above 50 % and below 100 %.
        watch_s: least time at 100 % before the judge says promote, that is: done.
        warm_up_s: left out of latency at the beginning of each stage.
        burst_s: a trouble that passes within this time is not a regression, unless half of everything fails.
        express_s: time since the start in which a regression may be found before a burst could be ruled out.
        fuse_ratio: share of failures at which the fuse aims: found in two ticks.
        warn: evidence from which on the canary is suspicious and not promoted.
        guard: how much likelier "only the canary fails" must be than "both fail" before the comparison with
            stable's past, or an absolute limit, may take the canary back.
        floor_s, ceiling_s: per stage; a floor replaces the dwell or bake of the stage, at the ceiling a human is asked.
        ceiling_default_s: the ceiling of stages that have none of their own.
        watch: "revert" or "hold": what errors beyond the alarm do at 100 %, where nothing is left to compare with.
    """

    alpha: float = 0.01
    beta: float = 0.05
    margin: float = 0.003
    latency_margin: float = 1.20
    tolerated_error_factor: float = 1.25
    tolerated_latency_factor: float = 1.05
    min_excess: float = 0.0005
    harm_budget: float = 20.0
    reaction_s: float = 60.0
    dwell_s: float = 90.0
    bake_s: float = 900.0
    last_s: float = 300.0
    watch_s: float = 0.0
    warm_up_s: float = 60.0
    burst_s: float = 45.0
    express_s: float = 60.0
    fuse_ratio: float = 0.5
    warn: float = 10.0
    guard: float = 30.0
    floor_s: Sequence[float | None] = field(default=())
    ceiling_s: Sequence[float | None] = field(default=())
    ceiling_default_s: float = 3600.0
    watch: str = "revert"

    def ceiling(self, stage: int) -> float:
        """The most time to wait in *stage*, seconds."""
        given = self.ceiling_s[stage] if stage < len(self.ceiling_s) else None
        return self.ceiling_default_s if given is None else given

    def floor(self, stage: int) -> float | None:
        """The least time in *stage* if one was given, seconds."""
        return self.floor_s[stage] if 0 <= stage < len(self.floor_s) else None


#: pace -> settings that differ from the defaults. "fast": 7 to 10 min; "demo": half a minute at 200 requests/s.
PACES: Mapping[str, Mapping[str, float]] = {
    "careful": {},
    "fast": {"dwell_s": 45.0, "bake_s": 200.0, "last_s": 90.0, "warm_up_s": 30.0, "ceiling_default_s": 1800.0},
    "demo": {
        "margin": 0.03, "latency_margin": 2.0, "reaction_s": 3.0, "dwell_s": 6.0, "bake_s": 18.0, "last_s": 4.0,
        "warm_up_s": 2.0, "burst_s": 6.0, "express_s": 10.0, "ceiling_default_s": 120.0,
    },
}  # fmt: skip

_RATIOS = ("alpha", "beta", "margin", "fuse_ratio")
_FACTORS = ("latency_margin", "tolerated_error_factor", "tolerated_latency_factor", "warn", "guard")
_SEQUENCES = ("floor_s", "ceiling_s")


def make_options(pace: str, settings: Mapping[str, object]) -> Options:
    """
    The options of *pace* with *settings* on top.

    Raises: ConfigError naming every fault: unknown names, values out of range.
    """
    if pace not in PACES:
        known = ", ".join(PACES)
        raise ConfigError(f'judge.pace: unknown pace "{pace}"{did_you_mean(pace, list(PACES))} Known: {known}.')
    names = [each.name for each in fields(Options)]
    faults = [f'judge: unknown option "{name}"{did_you_mean(name, names)} Known: {", ".join(names)}.'
              for name in settings if name not in names]  # fmt: skip
    faults += [fault for name, value in settings.items() if name in names and (fault := _fault(name, value))]
    if faults:
        raise ConfigError(*faults)
    return Options(**{**PACES[pace], **{name: _plain(value) for name, value in settings.items()}})  # type: ignore[arg-type]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _fault(name: str, value: object) -> str | None:
    if name == "watch":
        ok, expected = value in ("revert", "hold"), '"revert" or "hold"'
    elif name in _SEQUENCES:
        ok = isinstance(value, list | tuple) and all(each is None or _is_time(each) for each in value)
        expected = "a list of seconds (or None), one per stage"
    elif name in _RATIOS:
        ok, expected = _is_time(value) and 0 < float(value) < 1, "a share between 0 and 1"  # type: ignore[arg-type]
    elif name in _FACTORS:
        ok, expected = _is_time(value) and float(value) > 1, "a factor above 1"  # type: ignore[arg-type]
    else:
        ok, expected = _is_time(value), "a number, 0 or more"
    return None if ok else f"judge.{name}: expected {expected}, got {value!r}."


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value >= 0
