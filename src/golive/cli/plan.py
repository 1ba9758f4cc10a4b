"""``golive plan``: print the stages of a rollout and what each of them can detect. Changes nothing."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from golive.cli.inbox import actor, config_option, environment_option, settings_for
from golive.cli.plan_view import Outlook, as_json, as_markdown, as_text
from golive.cli.terminal import make_console
from golive.errors import ExitCode, GoliveError
from golive.planning import judging_of, make_judge, plan_of
from golive.project import journal_path
from golive.rollout import events as ev
from golive.rollout.judge import Judge
from golive.rollout.machine import State, begin
from golive.rollout.plan import PRESETS, Plan, preset
from golive.rollout.ports import ArmSample, percent
from golive.rollout.power import Traffic, power_of
from golive.timing import format_duration

if TYPE_CHECKING:
    from golive.config import Settings

MEASURE_SECONDS = 3.0
"""How long the running gateway is watched for its rate."""
REQUESTS_MIN = 1000
"""Fewer requests of stable than this say nothing about how often it fails."""


@click.command(short_help="Print the stages of a rollout and what each of them can detect.")
@click.argument("version", required=False)
@config_option
@environment_option
@click.option("--rate", type=float, help="Requests per second of the service; measured at the gateway when it runs.")
@click.option("--error-rate", type=float, help="Share of stable's requests that fail, in percent.")
@click.option("--preset", "preset_name", help="Another plan than the one of golive.toml.")
@click.option("--list", "listed", is_flag=True, help="Only name the presets, with their stages.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True)
def command(
    version: str | None, config_path: Path | None, environment: str | None, rate: float | None,
    error_rate: float | None, preset_name: str | None, listed: bool, output: str,
) -> int:  # fmt: skip
    """
    Print the stages of a rollout of VERSION: when each is reached, and what it can and cannot detect.

    What is detected depends on the traffic, which is measured for three seconds when the gateway runs and --rate is not
    given. Warnings name what the plan cannot see; nothing is changed, and the exit code stays 0.
    """
    if listed:
        click.echo("\n".join(_presets()))
        return ExitCode.OK
    settings = settings_for(config_path, environment)
    plan = preset(preset_name) if preset_name else plan_of(settings)
    traffic, source, stable = _traffic(settings, rate, error_rate)
    outlook = _outlook(settings, plan, preset_name, version, stable, traffic, source)
    if output == "json":
        click.echo(json.dumps(as_json(outlook)))
    elif output == "markdown":
        click.echo("\n".join(as_markdown(outlook)))
    else:
        click.echo("\n".join(as_text(outlook, make_console().width)))
    return ExitCode.OK


def _presets() -> Iterator[str]:
    """Every preset by name: its shares in percent with the least time at each, who is asked, the watch."""
    width = max(map(len, PRESETS))
    for name in PRESETS:
        plan = preset(name)
        stages = "  ".join(
            f"{percent(stage.weight)}%/{format_duration(stage.floor)}"
            + (f" ({stage.approval})" if stage.approval else "")
            for stage in plan.stages
        )
        yield f"{name:<{width}}  {stages}  watch {format_duration(plan.watch)}"


def _outlook(
    settings: Settings, plan: Plan, preset_name: str | None, version: str | None, stable: str, traffic: Traffic | None,
    source: str,
) -> Outlook:  # fmt: skip
    judge = judge_for(settings, plan)
    options = judge.options
    floors = [stage.floor.total_seconds() for stage in plan.stages]
    ceilings = [options.ceiling(number) for number in range(len(plan.stages))]
    power = power_of(lambda: judge_for(settings, plan), floors, ceilings, traffic) if traffic else None
    named = preset_name or (settings.rollout.preset if settings.rollout.stages is None else "golive.toml")
    versions = f"  {stable or 'stable'} -> {version}" if version else ""
    title = f"{settings.service}{versions}  plan {named}, pace {settings.rollout.pace}"
    groups = frozenset(settings.approvals.groups)
    return Outlook(title, plan, judge, datetime.now(UTC), traffic, source, power, groups)


def judge_for(settings: Settings, plan: Plan) -> Judge:
    """The judge a rollout of *plan* would get now."""
    judge = make_judge(_first_state(settings, plan), None)
    assert isinstance(judge, Judge), "the wiring makes golive's own judge"
    return judge


def _first_state(settings: Settings, plan: Plan) -> State:
    started = ev.Started(
        at=datetime.now(UTC), id=f"{settings.service}-0", service=settings.service, stable="stable",
        candidate="candidate", plan=plan, actor=actor(), judging=judging_of(settings),
    )  # fmt: skip
    return begin(started)[0]


# ---- the traffic


def _traffic(settings: Settings, rate: float | None, error_rate: float | None) -> tuple[Traffic | None, str, str]:
    """What to reckon with, where it comes from, and the version in production when it is known."""
    _check("--rate", rate, "requests per second above 0", rate is None or (math.isfinite(rate) and rate > 0))
    good = error_rate is None or (math.isfinite(error_rate) and 0 <= error_rate <= 50)
    _check("--error-rate", error_rate, "percent from 0 to 50", good)
    if not journal_path(settings).exists():  # nothing ran here yet, and a plan leaves no trace
        return _given(rate, error_rate, None), "as given" if rate else "", ""
    arm, measured, stable = asyncio.run(_measure(settings, wanted=rate is None))
    if rate is not None:
        return _given(rate, error_rate, arm), "as given", stable
    if measured is None or measured <= 0:
        seen = "" if measured is None else f"the gateway saw no request within {MEASURE_SECONDS:g} s"
        return None, seen, stable
    return _given(measured, error_rate, arm), f"measured for {MEASURE_SECONDS:g} s at the gateway", stable


def _check(option: str, value: float | None, expected: str, good: bool) -> None:
    if not good:
        raise click.BadParameter(f"expected {expected}, got {value:g}.", param_hint=option)


def _given(rate: float | None, error_rate: float | None, arm: ArmSample | None) -> Traffic | None:
    if rate is None:
        return None
    if error_rate is not None:
        return Traffic(rate, error_rate / 100)
    if arm is not None and sum(arm.requests.values()) >= REQUESTS_MIN:
        return Traffic(rate, sum(arm.errors.values()) / sum(arm.requests.values()))
    return Traffic(rate)


async def _measure(settings: Settings, *, wanted: bool) -> tuple[ArmSample | None, float | None, str]:
    """Stable's counters, the rate of all versions in requests per second, stable's name; None for what is unknown."""
    from golive.wiring import station  # every room, for a gateway that runs

    post = station(settings)
    try:
        service = post.journal.service(settings.service)
        stable = service.version if service else ""
        if not post.front.alive():
            return None, None, stable
        before = await post.controller.evidence.sample()
        if not wanted:
            return before.arms.get(stable), None, stable
        await asyncio.sleep(MEASURE_SECONDS)
        after = await post.controller.evidence.sample()
    except GoliveError:
        return None, None, ""
    finally:
        post.journal.close()
    if before.epoch != after.epoch:
        return after.arms.get(stable), None, stable
    served = sum(sum(arm.requests.values()) for arm in after.arms.values())
    served -= sum(sum(arm.requests.values()) for arm in before.arms.values())
    return after.arms.get(stable), max(served, 0) / (after.at - before.at).total_seconds(), stable
