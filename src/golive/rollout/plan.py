"""
The plan of a rollout: its stages, how long each must and may last, and who is asked before.

A plan is checked whole when it is made; every fault is named with its place. The presets are the plans of the documents
golive comes from, under the names people know.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import msgspec

from golive.errors import ConfigError, did_you_mean
from golive.rollout.hooks import Hook
from golive.rollout.ports import WEIGHT_MAX, percent
from golive.timing import format_duration

STAGES_MAX = 50
"""More stages than this is a typing error, not a plan."""

OnInconclusive = Literal["ask", "extend", "rollback"]


class Stage(msgspec.Struct, frozen=True):
    """
    One step of the traffic.

    Attributes:
        weight: the candidate's share in basis points, 1..10,000.
        floor: the least time at this weight, however good the evidence.
        ceiling: the most time to wait for enough evidence; None waits for ever.
        approval: the group that must agree before this weight is reached; None asks nobody.
        needed: how many different people of that group must agree.
    """

    weight: int
    floor: timedelta
    ceiling: timedelta | None = None
    approval: str | None = None
    needed: int = 1

    def __str__(self) -> str:
        text = f"{percent(self.weight)} % for at least {format_duration(self.floor)}"
        if self.ceiling is not None:
            text += f", at most {format_duration(self.ceiling)}"
        return text + (f", after approval by {self.approval}" if self.approval else "")


class Plan(msgspec.Struct, frozen=True):
    """
    What will happen, in order. Use :func:`make_plan` or :func:`preset`: they check.

    Attributes:
        stages: ascending weights, the last one 10,000.
        watch: how long the old version stays warm after the last stage, for a rollback in one write.
        on_inconclusive: what happens when a stage reaches its ceiling undecided.
        judged: False for the return to a version that served before: its stages pass by time alone.
        failed_probes_max: bad probes of the candidate in a row that blow the fuse: one is noise, three half a second
            apart are an outage.
        approval_expires: agreement that is not complete after this time is void, and is asked for anew; None never.
        freeze: windows in which no weight rises; *window*: when given, weights rise only inside one. See
            :mod:`golive.rollout.calendar`. Going back is never frozen.
        hooks: at most one for each point.
    """

    stages: tuple[Stage, ...]
    watch: timedelta = timedelta(hours=24)
    on_inconclusive: OnInconclusive = "ask"
    failed_probes_max: int = 3
    judged: bool = True
    approval_expires: timedelta | None = None
    freeze: tuple[str, ...] = ()
    window: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()

    @property
    def weights(self) -> tuple[float, ...]:
        """The shares 0..1, one per stage."""
        return tuple(stage.weight / WEIGHT_MAX for stage in self.stages)

    def shortest(self) -> timedelta:
        """The time to 100 % when every stage passes at its floor; approvals not counted."""
        return sum((stage.floor for stage in self.stages), timedelta())


def weight_of(value: float, place: str) -> int:
    """
    A percentage as typed (``0.5``, ``10``) in basis points.

    Raises: ConfigError for anything that is not more than 0, at most 100 and a multiple of 0.01.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ConfigError(f"{place}: expected a percentage such as 10 or 0.5, got {value!r}. Write a number.")
    if not 0 < value <= 100:
        raise ConfigError(f"{place}: expected more than 0 and at most 100 percent, got {value:g}.")
    weight = round(value * 100)
    if abs(weight - value * 100) > 1e-6:
        raise ConfigError(f"{place}: expected a multiple of 0.01 percent, got {value!r}. The finest step is 0.01.")
    return weight


def make_plan(
    stages: Sequence[Stage],
    *,
    watch: timedelta = timedelta(hours=24),
    on_inconclusive: OnInconclusive = "ask",
    failed_probes_max: int = 3,
    judged: bool = True,
    at_once: bool = False,
    place: str = "rollout.stages",
) -> Plan:
    """
    Check *stages* and make the plan.

    Args:
        at_once: allow the first stage to be 100 % (blue-green, or the return to a version that served before).
        place: where the stages were written, for the messages.

    Raises: ConfigError naming every fault.
    """
    faults = list(_faults(stages, at_once, place))
    if watch < timedelta(0):
        faults.append(f"rollout.watch: expected 0s or more, got {format_duration(watch)}.")
    if faults:
        raise ConfigError(*faults)
    if failed_probes_max < 1:
        raise ConfigError(f"rollout.fuse.failed_probes: expected 1 or more, got {failed_probes_max}.")
    return Plan(tuple(stages), watch, on_inconclusive, failed_probes_max, judged)


def _faults(stages: Sequence[Stage], at_once: bool, place: str) -> list[str]:
    if not stages:
        return [f'{place}: expected at least two stages, got none. Write stages, or preset = "progressive".']
    faults = []
    if len(stages) > STAGES_MAX:
        faults.append(f"{place}: expected at most {STAGES_MAX} stages, got {len(stages)}.")
    for number, (before, after) in enumerate(itertools.pairwise(stages), start=1):
        if after.weight <= before.weight:
            faults.append(
                f"{place}/{number}/weight: expected more than the {percent(before.weight)} % of the stage before, "
                f"got {percent(after.weight)}. Stages only go up."
            )
    if stages[-1].weight != WEIGHT_MAX:
        faults.append(
            f"{place}/{len(stages) - 1}/weight: expected the last stage to be 100, got {percent(stages[-1].weight)}. "
            "A rollout ends with all traffic on one version."
        )
    if stages[0].weight == WEIGHT_MAX and not at_once:
        faults.append(
            f"{place}/0/weight: expected less than 100 in the first stage: nothing would be judged before everybody "
            'is on the new version. Start lower, or say strategy = "blue-green".'
        )
    for number, stage in enumerate(stages):
        if stage.floor < timedelta(0):
            faults.append(f"{place}/{number}/soak: expected 0s or more, got {format_duration(stage.floor)}.")
        if stage.ceiling is not None and stage.ceiling < stage.floor:
            faults.append(
                f"{place}/{number}/max_soak: expected at least the soak of {format_duration(stage.floor)}, "
                f"got {format_duration(stage.ceiling)}."
            )
    return faults


def _hours(*hours: float) -> list[timedelta]:
    return [timedelta(hours=each) for each in hours]


def _preset(weights: Sequence[float], floors: Sequence[timedelta], approvals: Sequence[str | None] = ()) -> list[Stage]:
    asked = [*approvals, *[None] * (len(weights) - len(approvals))]
    return [
        Stage(round(weight * 100), floor, None, group)
        for weight, floor, group in zip(weights, floors, asked, strict=True)
    ]


_MINUTE = timedelta(minutes=1)

#: name -> (stages, watch). Sources: the seed documents 001, 003, 004 and the AWS CodeDeploy names.
PRESETS: dict[str, tuple[list[Stage], timedelta]] = {
    # 003: 10 % and 50 % for a day each, 100 % watched for two; two roles of approver.
    "canary-10-50-100": (
        _preset([10, 50, 100], _hours(24, 24, 0), [None, "eng-lead", "product"]),
        timedelta(hours=48),
    ),
    # 004: the orchestrator's ladder. The evidence sets the pace; the floors are what it never goes below.
    "progressive": (
        _preset([1, 5, 25, 50, 95, 100], [minutes * _MINUTE for minutes in (1.5, 1.5, 10, 5, 5, 0)]),
        timedelta(hours=24),
    ),
    # 001: a canary in the low-traffic window, a day of observation, then everybody.
    "canary-24h": (_preset([5, 100], _hours(24, 0)), timedelta(hours=24)),
    "blue-green": (_preset([100], _hours(0)), timedelta(hours=1)),
    # Half a minute on a laptop at about 100 requests per second; only as careful as that allows.
    "demo": (_preset([5, 25, 50, 100], [timedelta(seconds=s) for s in (4, 5, 5, 2)]), timedelta(seconds=5)),
    **{
        f"Canary10Percent{minutes}Minutes": (
            _preset([10, 100], [minutes * _MINUTE, 0 * _MINUTE]),
            timedelta(hours=1),
        )
        for minutes in (5, 10, 15, 30)
    },
    **{
        f"Linear10PercentEvery{minutes}Minute{'s' if minutes > 1 else ''}": (
            _preset(list(range(10, 101, 10)), [minutes * _MINUTE] * 9 + [0 * _MINUTE]),
            timedelta(hours=1),
        )
        for minutes in (1, 2, 3, 10)
    },
    "AllAtOnce": (_preset([100], _hours(0)), timedelta(hours=1)),
}  # fmt: skip

_AT_ONCE = {"blue-green", "AllAtOnce"}


def preset(
    name: str,
    *,
    watch: timedelta | None = None,
    on_inconclusive: OnInconclusive = "ask",
    failed_probes_max: int = 3,
) -> Plan:
    """
    The plan known as *name*.

    Raises: ConfigError with the nearest known name.
    """
    if name not in PRESETS:
        near = did_you_mean(name, list(PRESETS)) or "."
        raise ConfigError(f'rollout.preset: unknown preset "{name}"{near} Known: {", ".join(PRESETS)}.')
    stages, warm = PRESETS[name]
    return make_plan(
        stages,
        watch=warm if watch is None else watch,
        on_inconclusive=on_inconclusive,
        failed_probes_max=failed_probes_max,
        at_once=name in _AT_ONCE,
    )
