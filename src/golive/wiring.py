"""
The composition root: settings become running objects. The only module that knows everybody.

Also home of the adapters that join two rooms which do not know each other: the gates as the rollout's gatekeeper, the
judge as the controller's judge.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from golive import targets
from golive.bundle import write_bundle
from golive.config import Settings
from golive.config import sections as config
from golive.config.requests import smoke_request
from golive.config.slo import write_table
from golive.errors import GoliveError
from golive.gates import Target, run_gates
from golive.movers import Front, movers
from golive.rollout.controller import Controller
from golive.rollout.desk import Approvals, Desk
from golive.rollout.dossier import dossier_of
from golive.rollout.evidence.envoy import BOUNDS
from golive.rollout.hook_runner import ProcessHooks
from golive.rollout.hooks import POINTS, Hook
from golive.rollout.journal import Journal
from golive.rollout.judge import Judge
from golive.rollout.machine import State
from golive.rollout.pace import Pace
from golive.rollout.plan import Plan, Stage, make_plan, preset
from golive.rollout.ports import Arm, Deployer, GateVerdict
from golive.rollout.semantics import restore_rules, rules_class
from golive.rollout.session import EVERY_ROUTE, Judging
from golive.timing import Clock, SystemClock
from golive.version import __version__


@dataclass(frozen=True)
class Station:
    """Everything one service needs to be operated, built from its settings and not yet running."""

    settings: Settings
    journal: Journal
    front: Front
    deployer: Deployer
    controller: Controller
    desk: Desk


def journal_path(settings: Settings) -> Path:
    """The file in which controller and command line meet."""
    return settings.state_dir / "golive.db"


def open_journal(settings: Settings) -> Journal:
    """
    The journal of the project, made when it does not exist.

    Raises: StateError when the file cannot be used.
    """
    return Journal(journal_path(settings))


def dossier_path(settings: Settings, rollout: str) -> Path:
    """Where the evidence bundle of *rollout* is written when it is over."""
    return settings.state_dir / "bundles" / f"{rollout}.zip"


def write_dossier(settings: Settings, rollout: str, path: Path | None = None) -> str:
    """
    Write the evidence bundle of *rollout* to *path*. Opens the journal by itself, so that any thread may do it.

    Returns: the digest of the bundle.
    Raises: StateError when there is no such rollout or the file cannot be written; UsageError when it is too large.
    """
    journal = open_journal(settings)
    try:
        files, meta = dossier_of(journal, rollout, settings.state_dir / "hooks", __version__)
    finally:
        journal.close()
    return write_bundle(path or dossier_path(settings, rollout), files, meta)


def station(settings: Settings, *, clock: Clock | None = None) -> Station:
    """
    Build everything. Nothing is started yet.

    Raises: ConfigError, StateError.
    """
    clock = clock or SystemClock()
    journal = open_journal(settings)
    routes = routes_of(settings)
    parts = movers(settings, tuple(route for route in routes if route != EVERY_ROUTE))
    controller = Controller(
        settings.service,
        journal=journal,
        router=parts.router,
        evidence=parts.evidence,
        deployer=parts.deployer,
        judges=make_judge,
        clock=clock,
        pace=pace(settings),
        gatekeeper=Preflight(settings) if settings.gates.preflight and settings.moves != "jobs" else None,
        hooks=ProcessHooks(settings.state_dir / "hooks", settings.root),
        routes=routes,
    )
    groups = {name: tuple(group.people) for name, group in settings.approvals.groups.items()}
    approvals = Approvals(groups, settings.approvals.prevent_self_review)
    return Station(settings, journal, parts.front, parts.deployer, controller, Desk(controller, approvals))


# ---- settings of the rooms


def pace(settings: Settings) -> Pace:
    """How often the controller looks."""
    deploy = settings.deploy
    return Pace(
        tick=settings.rollout.tick,
        probe=settings.rollout.fuse.probe_interval,
        ready=deploy.startup_timeout + deploy.ready_timeout,
        drain=settings.gateway.request_timeout + timedelta(seconds=5),
    )


# ---- plan and judge


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
    ceilings = [(stage.ceiling or stage.floor + targets.UNDECIDED).total_seconds() for stage in state.plan.stages]
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


# ---- gates


class Preflight:
    """The gates of ``[gates] preflight`` as the rollout's gatekeeper: asked of the candidate before it has traffic."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def check(self, arm: Arm) -> GateVerdict:
        """See :class:`golive.rollout.ports.Gatekeeper`."""
        target = target_of(self.settings, f"http://{arm.address}", {})
        try:
            known, waivers = targets.gates_of(self.settings), targets.waivers_of(self.settings)
            report = await run_gates(self.settings.gates.preflight, target, waivers=waivers, gates=known)
        except GoliveError as error:
            return GateVerdict(False, str(error))
        if report.go:
            return GateVerdict(True, f"{len(report.results)} gates passed")
        bad = [result for result in report.results if not result.good]
        return GateVerdict(False, "; ".join(f"{result.gate}: {result.outcome.sentence}" for result in bad))


def target_of(
    settings: Settings, url: str, headers: dict[str, str], *, tls_verify: bool = True, remote_allowed: bool = False
) -> Target:
    """
    The service of *settings* at *url* as the gates see it. Without a file nothing is promised, and gates find out.
    """
    gates = settings.gates
    return Target(
        url=url,
        root=settings.root,
        environment=settings.environment or "",
        headers=headers,
        startup_timeout=settings.deploy.startup_timeout.total_seconds(),
        health=targets.health_probe(settings),
        smoke=tuple(smoke_request(request) for request in gates.smoke.requests),
        stability=targets.stability_probe(settings),
        jobs=targets.jobs_probe(settings),
        routes=targets.routes_probe(settings),
        idempotency=targets.idempotency_probe(settings),
        cors=targets.cors_probe(settings),
        load=targets.load_probe(settings),
        redaction=targets.redaction_probe(settings),
        shutdown=targets.shutdown_probe(settings),
        metrics_path=gates.metrics.path,
        metrics_observed=tuple(gates.metrics.observed),
        protected=tuple(gates.auth.protected),
        files=targets.files_probe(settings),
        tls_verify=tls_verify,
        remote_allowed=remote_allowed,
        promises=targets.promises_of(settings),
        plan=targets.plan_facts(settings, plan_of(settings)),
    )
