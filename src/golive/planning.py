"""
golive.toml becomes a plan and a judge. Part of the composition root, apart from :mod:`golive.wiring` because whoever
only reasons about a rollout (``plan``, ``explain``, ``replay``) needs no gateway, no gates and no job store.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from golive.rollout.evidence.bounds import BOUNDS
from golive.rollout.hooks import POINTS, Hook
from golive.rollout.judge import Judge
from golive.rollout.machine import State
from golive.rollout.plan import Plan, Stage, make_plan, preset
from golive.rollout.semantics import restore_rules, rules_class
from golive.rollout.session import EVERY_ROUTE, Judging

if TYPE_CHECKING:
    from golive.config import Settings
    from golive.config import sections as config

UNDECIDED = timedelta(hours=1)
"""How long past its floor the judge waits for enough evidence when the plan sets no ceiling."""


def plan_of(settings: Settings, preset_name: str | None = None) -> Plan:
    """
    The stages written in golive.toml, or those of the preset there or of *preset_name*; who is asked and when traffic
    may rise is always that of golive.toml.

    Raises: ConfigError naming every fault.
    """
    plan = _stages_of(settings, preset_name)
    groups = settings.approvals.groups
    stages = tuple(
        replace(stage, needed=groups[stage.approval].needed) if stage.approval in groups else stage
        for stage in plan.stages
    )
    return replace(
        plan,
        stages=stages,
        approval_expires=settings.approvals.expires,
        freeze=tuple(settings.rollout.freeze),
        window=tuple(settings.rollout.window),
        hooks=hooks_of(settings),
    )


def hooks_of(settings: Settings) -> tuple[Hook, ...]:
    """``[rollout.hooks]`` as the plan carries them."""
    declared = [(point, getattr(settings.rollout.hooks, point)) for point in POINTS]
    return tuple(
        Hook(point, tuple(hook.command), hook.timeout, hook.on_failure, hook.idempotent)
        for point, hook in declared
        if hook is not None
    )


def _stages_of(settings: Settings, preset_name: str | None = None) -> Plan:
    rollout = settings.rollout
    if preset_name is not None:
        return preset(preset_name)
    if rollout.stages is None:
        watch = rollout.watch if settings.origin("rollout", "watch").kind != "default" else None
        return preset(
            rollout.preset,
            watch=watch,
            on_inconclusive=rollout.on_inconclusive,
            failed_probes_max=rollout.fuse.failed_probes,
        )
    return make_plan(
        [_stage(stage) for stage in rollout.stages],
        watch=rollout.watch,
        on_inconclusive=rollout.on_inconclusive,
        failed_probes_max=rollout.fuse.failed_probes,
        at_once=rollout.strategy == "blue-green",
    )


def _stage(stage: config.Stage) -> Stage:
    return Stage(round(stage.weight * 100), stage.soak, stage.max_soak, stage.approval)


def config_sha256(settings: Settings) -> str:
    """The hash of the configuration file, for the record; empty without a file."""
    return hashlib.sha256(settings.file.read_bytes()).hexdigest() if settings.file else ""


def judging_of(settings: Settings) -> dict[str, Any]:
    """What a judge is made of, as JSON for the journal: a verdict is recomputed with these, not with today's file."""
    from golive.config.slo import write_table  # whoever has settings has loaded it

    rollout = settings.rollout
    rows = write_table(settings.slo)
    return {
        "slo": {name: {**row, **row.get("canary", {})} for name, row in rows.items()},
        "tick_s": rollout.tick.total_seconds(),
        "pace": rollout.pace,
        "semantics": rollout.semantics,
        "moves": settings.moves,
        "options": dict(rollout.judge),
        "routes": list(routes_of(settings)),
    }


def routes_of(settings: Settings) -> tuple[str, ...]:
    """The routes that rows of the table name, and the one of everything else; queues, where jobs alone are moved."""
    jobs = settings.moves == "jobs"
    named = dict.fromkeys(
        name for row in settings.slo.values() if (name := row.queue if jobs else row.route) is not None
    )
    return (*named, EVERY_ROUTE)


def make_judge(state: State, stored: dict[str, Any] | None) -> Judging:
    """The judge of one rollout: a new one for its plan, or the one that was stored."""
    if stored is not None:
        return restore_rules(stored) if "semantics" in stored else Judge.from_dict(stored)
    judging = state.judging
    slo = {
        name: {key: value for key, value in row.items() if key not in ("gate", "canary", "steady")}
        for name, row in judging.get("slo", {}).items()
    }
    semantics = str(judging.get("semantics", "golive"))
    if semantics != "golive":
        whole = {name: int(n) if n == int(n) else n for name, n in judging.get("options", {}).items()}
        tick_s, routes = float(judging.get("tick_s", 5.0)), tuple(judging.get("routes", (EVERY_ROUTE,)))
        return rules_class(semantics)(state.plan.weights, slo, tick_s, BOUNDS, routes, **whole)
    floors = [stage.floor.total_seconds() for stage in state.plan.stages]
    ceilings = [(stage.ceiling or stage.floor + UNDECIDED).total_seconds() for stage in state.plan.stages]
    options = {"floor_s": floors, "ceiling_s": ceilings, **judging.get("options", {})}
    return Judge(
        plan=state.plan.weights,
        slo=slo,
        tick_s=float(judging.get("tick_s", 5.0)),
        histogram_bounds=BOUNDS,
        routes=tuple(judging.get("routes", (EVERY_ROUTE,))),
        pace=str(judging.get("pace", "careful")),
        moves=str(judging.get("moves", "requests")),
        **options,
    )
