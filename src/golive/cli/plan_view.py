"""
``golive plan`` as a table, as Markdown and as JSON, and the lint of a plan in words. Pure.

Clock times are when a stage would be reached if the rollout began *now*; approvals take as long as people take.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from golive.cli.evidence_view import label
from golive.rollout.judge import Judge
from golive.rollout.plan import Plan
from golive.rollout.ports import WEIGHT_MAX, percent
from golive.rollout.power import Power, StagePower, Traffic, unjudged
from golive.slo.units import format_quantity
from golive.timing import format_duration, format_instant

NOTHING_NEW = 0.9
"""A stage that finds at best nine tenths of what the one before found tells nothing new."""

CAPACITY_FROM = 0.5
"""Stages from this weight on are there for what only shows under load, whatever else they find."""


@dataclass(frozen=True)
class Outlook:
    """
    Everything `golive plan` says.

    Attributes:
        title: service, versions and where the plan comes from.
        traffic: what was reckoned with, None without a rate; *source*: where that came from, or why there is none.
        groups: the groups of people that are listed.
    """

    title: str
    plan: Plan
    judge: Judge
    now: datetime
    traffic: Traffic | None = None
    source: str = ""
    power: Power | None = None
    groups: frozenset[str] = frozenset()

    @property
    def earliest(self) -> list[timedelta]:
        """When each stage is reached at the soonest, from the start."""
        floors = [stage.floor for stage in self.plan.stages]
        return list(accumulate(floors[:-1], initial=timedelta(0)))

    def likely(self, stage: int) -> timedelta | None:
        """When a good release is expected to reach *stage*; None when that is not known or will not be by itself."""
        if self.power is None:
            return None
        before = self.power.stages[stage - 1].done_s if stage else 0.0
        return None if before is None else timedelta(seconds=round(before))

    def __post_init__(self) -> None:
        assert self.power is None or len(self.power.stages) == len(self.plan.stages)


# ---- the table

_COLUMNS = ("STAGE", "AT LEAST", "AT MOST", "EARLIEST", "CLOCK", "GOOD RELEASE", "REQ/MIN", "FINDS FAILURES FROM")


def rows_of_plan(outlook: Outlook) -> list[tuple[str, ...]]:
    """One row of cells per stage, as text."""
    return [_row(outlook, number) for number in range(len(outlook.plan.stages))]


def _row(outlook: Outlook, number: int) -> tuple[str, ...]:
    stage, earliest = outlook.plan.stages[number], outlook.earliest[number]
    power = outlook.power.stages[number] if outlook.power else None
    likely = outlook.likely(number)
    return (
        f"{percent(stage.weight)} %",
        format_duration(stage.floor),
        _at_most(outlook, number),
        f"+{format_duration(earliest)}",
        _clock(outlook.now + earliest, outlook.now),
        "-" if power is None else f"+{_rounded(likely)}" if likely is not None else "undecided",
        "-" if power is None else _count(power.per_minute),
        _finds(power, stage.weight),
    )


def _at_most(outlook: Outlook, number: int) -> str:
    """When waiting ends, by the plan or by the judge; a dash where it never does."""
    if outlook.plan.on_inconclusive == "extend" or number == len(outlook.plan.stages) - 1:
        return "-"
    return _seconds(outlook.judge.options.ceiling(number))


def _finds(power: StagePower | None, weight: int) -> str:
    if power is None:
        return "-"
    if weight == WEIGHT_MAX:
        return "no stable to compare with"
    return "nothing" if power.finds is None else _ratio(power.finds)


def as_text(outlook: Outlook, width: int) -> list[str]:
    """The lines for a terminal of *width*."""
    rows = [_COLUMNS, *rows_of_plan(outlook)]
    shown = list(range(len(_COLUMNS) if outlook.power else 5))
    sizes = [max(len(row[i]) for row in rows) for i in shown]
    if sum(sizes) + 2 * len(sizes) > width:  # clock and "at most" can be worked out
        shown = [i for i in shown if i not in (2, 4)]
        sizes = [max(len(row[i]) for row in rows) for i in shown]
    lines = [outlook.title, ""]
    lines += ["  ".join(row[i].ljust(size) for i, size in zip(shown, sizes, strict=True)).rstrip() for row in rows]
    lines.append("")
    for sentence in sentences(outlook):
        lines += textwrap.wrap(sentence, width)
    warnings = list(lint(outlook))
    if warnings:
        lines.append("")
    for warning in warnings:
        lines += textwrap.wrap(f"! {warning}", width, subsequent_indent="  ")
    return lines


def as_markdown(outlook: Outlook) -> list[str]:
    """For a pull request or a change ticket."""
    lines = [f"### {outlook.title}", "", "| " + " | ".join(name.capitalize() for name in _COLUMNS) + " |"]
    lines.append("| " + " | ".join("---" for _ in _COLUMNS) + " |")
    lines += ["| " + " | ".join(row) + " |" for row in rows_of_plan(outlook)]
    lines += ["", *(f"{sentence}  " for sentence in sentences(outlook))]
    return [*lines, "", *(f"- **Warning:** {warning}" for warning in lint(outlook))]


# ---- the sentences under it


def sentences(outlook: Outlook) -> Iterator[str]:
    """What the table means, one sentence each."""
    plan, shortest = outlook.plan, outlook.plan.shortest()
    yield (
        f"100 % at {_clock(outlook.now + outlook.earliest[-1], outlook.now)} at the earliest "
        f"(+{format_duration(outlook.earliest[-1])}); over at +{format_duration(shortest + plan.watch)}, after a watch "
        f"of {format_duration(plan.watch)} with the old version kept warm."
    )
    for stage in plan.stages:
        if stage.approval is not None:
            yield f"Before {percent(stage.weight)} % {stage.approval} has to approve; that time is not counted."
    if outlook.power is None or outlook.traffic is None:
        why = outlook.source or "the gateway does not run"
        yield f"What the stages can detect depends on the traffic, and {why}: say --rate REQUESTS_PER_SECOND."
        return
    yield from _power_sentences(outlook, outlook.power, outlook.traffic)


def _power_sentences(outlook: Outlook, power: Power, traffic: Traffic) -> Iterator[str]:
    yield (
        f"Reckoned with {traffic.rate:.3g} requests per second ({outlook.source}), of which {_ratio(traffic.usual)} "
        'fail on stable. "Finds failures from": the smallest failing share that, there from the start, is taken '
        "back by the end of that stage's floor in four cases of five."
    )
    likely = outlook.likely(len(outlook.plan.stages) - 1)
    if likely is not None and likely > outlook.earliest[-1]:
        yield f"A good release needs the evidence of about {_rounded(likely)} to get to 100 % at this traffic."
    if power.broken is None:
        yield "A build of which half the requests fail is not found within the floors; only failing probes would be."
        return
    weight = outlook.plan.stages[power.broken.stage].weight
    yield (
        f"A build of which half the requests fail is taken back after about {_seconds(power.broken.seconds)}, at "
        f"{percent(weight)} %, and costs about {_count(power.broken.failed)} failed requests. One that is dead is "
        "found by its probes, without any request."
    )


# ---- the lint


def lint(outlook: Outlook) -> Iterator[str]:
    """What somebody should know before shipping with this plan; warnings, never errors."""
    yield from _rows_nobody_judges(outlook)
    yield from _unknown_groups(outlook)
    yield from _no_time_for_latency(outlook)
    if outlook.power is not None:
        yield from _stages_without_information(outlook, outlook.power)
        yield from _alarm_out_of_sight(outlook, outlook.power)
        yield from _undecided(outlook, outlook.power)


def _rows_nobody_judges(outlook: Outlook) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in unjudged(outlook.judge):
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        verb, they = ("is", "It neither passes nor fails") if len(names) == 1 else ("are", "They neither pass nor fail")
        yield f"{', '.join(names)} {verb} not judged in a rollout: {reason}. {they}."


def _unknown_groups(outlook: Outlook) -> Iterator[str]:
    for group in dict.fromkeys(stage.approval for stage in outlook.plan.stages):
        if group is not None and group not in outlook.groups:
            yield f'Anybody may approve for "{group}": it is not listed in [approvals.groups].'


def _no_time_for_latency(outlook: Outlook) -> Iterator[str]:
    if not any(want.kind == "latency" and not want.unjudgeable for want in outlook.judge.wants):
        return
    warm = outlook.judge.options.warm_up_s
    short = [
        stage for stage in outlook.plan.stages if 0 < stage.floor.total_seconds() <= warm and stage.weight < 10_000
    ]
    if short:
        stages = ", ".join(f"{percent(stage.weight)} %" for stage in short)
        yield f"Latency is not judged within the floor of {stages}: the first {_seconds(warm)} of a stage warm it up."


def _stages_without_information(outlook: Outlook, power: Power) -> Iterator[str]:
    before: float | None = None
    compared = [i for i, stage in enumerate(outlook.plan.stages) if stage.weight < WEIGHT_MAX]
    for number in compared:
        finds, name = power.stages[number].finds, percent(outlook.plan.stages[number].weight)
        merge = _merge_with(outlook, compared, number)
        if finds is None:
            requests = _count(power.stages[number].requests)
            yield (
                f"{name} % carries no information: with about {requests} requests in its floor not even a build that "
                f"fails every one of them is found in four cases of five. {merge}"
            )
        elif before is not None and finds > before * NOTHING_NEW and outlook.judge.plan[number] < CAPACITY_FROM:
            yield f"{name} % finds nothing the stages before did not find. {merge}"
        before = finds if finds is not None else before


def _merge_with(outlook: Outlook, compared: Sequence[int], number: int) -> str:
    other = compared[1] if number == compared[0] and len(compared) > 1 else number - 1
    if other in compared and other != number:
        return f"Merge it with {percent(outlook.plan.stages[other].weight)} %, or give it more time."
    return "Give it more time."


def _alarm_out_of_sight(outlook: Outlook, power: Power) -> Iterator[str]:
    best = min((stage.finds for stage in power.stages if stage.finds is not None), default=None)
    for want in outlook.judge.wants:
        alert = want.row.alert_if
        if want.row.indicator != "error_rate" or alert is None or want.unjudgeable:
            continue
        if best is None or best > alert.value:
            sight = "nothing" if best is None else f"failures from {_ratio(best)}"
            yield (
                f"{label(want.name)} alarms at {alert}, and within its floors this plan finds {sight} at this traffic. "
                "Soak longer, or ship when there is more traffic."
            )


def _undecided(outlook: Outlook, power: Power) -> Iterator[str]:
    number = next((i for i, stage in enumerate(power.stages) if stage.done_s is None), None)
    if number is None:
        return
    what = {
        "ask": "a person is asked",
        "extend": "it waits on",
        "rollback": "a good release would be taken back",
    }[outlook.plan.on_inconclusive]
    yield (
        f"At {percent(outlook.plan.stages[number].weight)} % the evidence for a good release will probably not suffice "
        f"within the most this stage may take: {what} (on_inconclusive)."
    )


# ---- words


def _clock(at: datetime, now: datetime) -> str:
    local, today = at.astimezone(), now.astimezone()
    return local.strftime("%H:%M:%S" if local.date() == today.date() else "%a %d %b %H:%M")


def _ratio(share: float) -> str:
    return format_quantity(share, "ratio", 2)


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _rounded(duration: timedelta | None) -> str:
    """To the minute beyond ten minutes: what is reckoned is not known to the second."""
    seconds = round((duration or timedelta(0)).total_seconds())
    return format_duration(timedelta(seconds=seconds if seconds < 600 else round(seconds / 60) * 60))


def _seconds(seconds: float) -> str:
    return format_duration(timedelta(seconds=round(seconds)))


# ---- JSON


def as_json(outlook: Outlook) -> dict[str, Any]:
    """``golive/plan/v1``: times in seconds from the start, shares 0..1."""
    power = outlook.power
    return {
        "schema": "golive/plan/v1",
        "title": outlook.title,
        "at": format_instant(outlook.now),
        "stages": [_stage_json(outlook, number) for number in range(len(outlook.plan.stages))],
        "watch_seconds": outlook.plan.watch.total_seconds(),
        "on_inconclusive": outlook.plan.on_inconclusive,
        "rate_per_second": outlook.traffic.rate if outlook.traffic else None,
        "stable_error_ratio": outlook.traffic.usual if outlook.traffic else None,
        "source": outlook.source or None,
        "broken_build": None
        if power is None or power.broken is None
        else {
            "seconds": round(power.broken.seconds, 1),
            "failed_requests": round(power.broken.failed, 1),
            "stage": power.broken.stage,
        },
        "warnings": list(lint(outlook)),
    }


def _stage_json(outlook: Outlook, number: int) -> dict[str, Any]:
    stage = outlook.plan.stages[number]
    power = outlook.power.stages[number] if outlook.power else None
    likely = outlook.likely(number)
    return {
        "weight_percent": stage.weight / 100,
        "floor_seconds": stage.floor.total_seconds(),
        "ceiling_seconds": stage.ceiling.total_seconds() if stage.ceiling is not None else None,
        "approval": stage.approval,
        "earliest_seconds": outlook.earliest[number].total_seconds(),
        "earliest_at": format_instant(outlook.now + outlook.earliest[number]),
        "good_release_seconds": likely.total_seconds() if likely is not None else None,
        "candidate_requests_per_minute": round(power.per_minute, 2) if power else None,
        "finds_error_ratio": power.finds if power else None,
    }
