"""``[gates]`` of golive.toml as the gates know it: sections become probes. Part of the composition root."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from golive.chassis.platforms import PLATFORMS
from golive.config import Settings
from golive.config.gates import LoadGate
from golive.config.promises import promise_of
from golive.config.requests import smoke_request
from golive.config.sections import Database
from golive.errors import ConfigError
from golive.gates import (
    CorsProbe,
    FilesProbe,
    Gate,
    HealthProbe,
    IdempotencyProbe,
    JobsProbe,
    LoadProbe,
    RedactionProbe,
    RoutesProbe,
    ShutdownProbe,
    SmokeRequest,
    StabilityProbe,
    Target,
    Waiver,
    catalogue,
)
from golive.gates.attestation import attestation_gate
from golive.gates.command import CommandProbe, command_gate
from golive.gates.planlint.facts import PlanFacts, PlanStage
from golive.gates.thresholds import of_table
from golive.planning import UNDECIDED, plan_of
from golive.promises import PROMISES
from golive.promises.operation import ConfigRefusalProbe, DependencyProbe
from golive.promises.release import AttestationProbe
from golive.promises.state import ReplicasProbe
from golive.rollout.plan import Plan
from golive.rollout.ports import WEIGHT_MAX


def health_probe(settings: Settings) -> HealthProbe:
    """Paths of ``[deploy]``; without a file they are looked for."""
    deploy, wanted = settings.deploy, settings.gates.health
    declared = settings.file is not None
    return HealthProbe(
        live=deploy.live_path if declared else None,
        startup=deploy.startup_path if declared else None,
        ready=deploy.ready_path if declared else None,
        aliases=tuple(wanted.aliases),
        latency_max=wanted.latency_max.total_seconds(),
        samples=wanted.samples,
        body=wanted.body,
    )


def stability_probe(settings: Settings) -> StabilityProbe:
    """``[gates.stability]``"""
    return StabilityProbe(settings.gates.stability.requests, settings.gates.stability.concurrency)


def jobs_probe(settings: Settings) -> JobsProbe | None:
    """``[gates.jobs]``; None when nobody wrote it."""
    jobs = settings.gates.jobs
    if jobs is None:
        return None
    limits = jobs.accept_max.total_seconds(), jobs.finish_max.total_seconds()
    return JobsProbe(smoke_request(jobs.submit), jobs.status_path, jobs.id_field, *limits)


def routes_probe(settings: Settings) -> RoutesProbe | None:
    """``[gates.routes]``; None when it names no route."""
    routes = settings.gates.routes
    named = routes.redirects or routes.body_required
    return RoutesProbe(routes.redirects, tuple(routes.body_required)) if named else None


def idempotency_probe(settings: Settings) -> IdempotencyProbe | None:
    """``[gates.idempotency]``; None when nobody wrote it."""
    once = settings.gates.idempotency
    if once is None:
        return None
    return IdempotencyProbe(smoke_request(once.request), once.duplicate, once.header, once.parallel)


def cors_probe(settings: Settings) -> CorsProbe | None:
    """``[gates.cors]``, with the origins the chassis allows when it names none; None without any."""
    cors = settings.gates.cors
    origins = tuple(cors.origins or settings.chassis.cors_origins)
    return CorsProbe(origins, cors.path, cors.method) if origins else None


def load_probe(settings: Settings) -> LoadProbe:
    """``[gates.load]``, held to the ``[slo]`` of a project unless it has thresholds of its own."""
    load = settings.gates.load
    request = smoke_request(load.request) if load.request is not None else SmokeRequest("/")
    thresholds = tuple(load.thresholds)
    if not thresholds and settings.file is not None:
        thresholds = tuple(of_table(settings.slo.values(), f"{request.method} {request.path.partition('?')[0]}"))
    return LoadProbe(
        request,
        load.requests,
        load.concurrency or None,
        load.rate,
        load.duration_max.total_seconds(),
        thresholds or LoadProbe().thresholds,
    )


def redaction_probe(settings: Settings) -> RedactionProbe | None:
    """``[gates.redaction]``, its files relative to the project; None when nobody wrote it."""
    hidden = settings.gates.redaction
    if hidden is None:
        return None
    logs = tuple(settings.root / Path(log) for log in hidden.logs)
    return RedactionProbe(smoke_request(hidden.request), logs, hidden.settle.total_seconds())


def shutdown_probe(settings: Settings) -> ShutdownProbe | None:
    """``[gates.shutdown]``, started as ``[deploy]`` says unless it has a command; None when nobody wrote it."""
    stop = settings.gates.shutdown
    if stop is None or not (stop.command or settings.deploy.command):
        return None
    own = settings.deploy.model_copy(update={"command": stop.command or settings.deploy.command})
    return ShutdownProbe(
        _start_command(settings.model_copy(update={"deploy": own})),
        smoke_request(stop.slow),
        {**settings.deploy.env, **stop.env},
        stop.grace.total_seconds(),
        stop.start_max.total_seconds(),
    )


def plan_facts(settings: Settings, plan: Plan) -> PlanFacts:
    """What plan-lint compares; *plan* is the one of ``[rollout]``."""
    chassis, deploy, jobs, db, gates = settings.chassis, settings.deploy, settings.jobs, settings.db, settings.gates
    platform = PLATFORMS.get(chassis.platform)
    # the chassis fits these two to its platform unless they are written
    shutdown = sum(
        (
            getattr(platform if platform and settings.origin("chassis", name).kind == "default" else chassis, name)
            for name in ("lame_duck", "grace")
        ),
        timedelta(),
    )
    waiting = {"ask": UNDECIDED, "rollback": UNDECIDED, "extend": None}[plan.on_inconclusive]
    stages = (
        PlanStage(
            stage.weight / WEIGHT_MAX,
            stage.ceiling.total_seconds()
            if stage.ceiling is not None
            else None
            if waiting is None
            else (stage.floor + waiting).total_seconds(),
        )
        for stage in plan.stages
    )
    return PlanFacts(
        rows=tuple(settings.slo.values()),
        stages=tuple(stages),
        moves=settings.moves,
        semantics=settings.rollout.semantics,
        served="serve" in deploy.command,
        works="worker" in (deploy.worker_command or ()) or jobs.embedded,
        shutdown=shutdown.total_seconds(),
        drain=jobs.drain.total_seconds(),
        stop_timeout=deploy.stop_timeout.total_seconds(),
        platform=chassis.platform,
        platform_limit=platform.limit.total_seconds() if platform else None,
        request_timeout=chassis.request_timeout.total_seconds(),
        gateway_timeout=settings.gateway.request_timeout.total_seconds(),
        pooled=bool(chassis.database_url) or db != Database(),
        pool_max=db.pool_max,
        processes=db.processes,
        replicas=db.replicas,
        load_wanted="load" in gates.preflight or gates.load != LoadGate(),
    )


def files_probe(settings: Settings) -> FilesProbe:
    """``[gates.files]``"""
    files = settings.gates.files
    return FilesProbe(tuple(files.source), tuple(files.exclude), tuple(files.forbidden), files.env_example)


def promises_of(settings: Settings) -> tuple[Any, ...]:
    """Every promise of ``[gates]`` somebody wrote; ``[deploy]`` and ``[chassis]`` complete it."""
    made = []
    for name, kind in PROMISES.items():
        written = getattr(settings.gates, name)
        if written is not None:
            made.append(_completed(settings, promise_of(kind, written)))
    return tuple(made)


def _completed(settings: Settings, promise: Any) -> Any:
    if isinstance(promise, ConfigRefusalProbe | DependencyProbe) and not promise.command:
        return dataclasses.replace(promise, command=_start_command(settings))
    if isinstance(promise, ReplicasProbe):
        chassis = settings.chassis
        shared = chassis.rate_limit_redis_url or chassis.redis_url or "memory"
        own = {"idempotency": chassis.idempotency_store, "jobs": settings.jobs.url}
        if chassis.rate_limit:
            own["rate limit"] = shared
        return dataclasses.replace(promise, stores={**own, **promise.stores})
    return promise


def _start_command(settings: Settings) -> tuple[str, ...]:
    """That of ``[deploy]``, with the port left to the gate."""
    words = {"port": "{port}", "python": sys.executable, "version": "gate"}
    return tuple(part.format_map(words) for part in settings.deploy.command)


def attestations_of(settings: Settings) -> dict[str, AttestationProbe]:
    """``[gates.attestations]`` by name."""
    return {name: promise_of(AttestationProbe, table) for name, table in settings.gates.attestations.items()}


def ledger_of(settings: Settings) -> Path:
    """Where attestations are written down."""
    return settings.state_dir / "attestations.jsonl"


def waivers_of(settings: Settings) -> list[Waiver]:
    """``[[gates.waivers]]``"""
    return [Waiver(one.gate, one.owner, one.reason, one.expires) for one in settings.gates.waivers]


def gates_of(settings: Settings) -> Mapping[str, Gate]:
    """
    The built-in gates and those of ``[gates.commands]`` and ``[gates.attestations]``.

    Raises: ConfigError when a command has the name of a built-in gate.
    """
    known = catalogue()
    taken = [name for name in settings.gates.commands if name in known]
    if taken:
        raise ConfigError(
            *(f"gates.commands.{name}: golive has a gate of that name. Choose another." for name in taken)
        )
    for name in settings.gates.attestations:
        if name in known or name in settings.gates.commands:
            raise ConfigError(f"gates.attestations.{name}: there is a gate of that name. Choose another.")
    signed = {
        name: attestation_gate(name, probe, ledger_of(settings)) for name, probe in attestations_of(settings).items()
    }
    own = {
        name: command_gate(name, CommandProbe(tuple(one.run), one.env, one.timeout.total_seconds(), one.proves))
        for name, one in settings.gates.commands.items()
    }
    return {**known, **own, **signed}


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
        health=health_probe(settings),
        smoke=tuple(smoke_request(request) for request in gates.smoke.requests),
        stability=stability_probe(settings),
        jobs=jobs_probe(settings),
        routes=routes_probe(settings),
        idempotency=idempotency_probe(settings),
        cors=cors_probe(settings),
        load=load_probe(settings),
        redaction=redaction_probe(settings),
        shutdown=shutdown_probe(settings),
        metrics_path=gates.metrics.path,
        metrics_observed=tuple(gates.metrics.observed),
        protected=tuple(gates.auth.protected),
        files=files_probe(settings),
        tls_verify=tls_verify,
        remote_allowed=remote_allowed,
        promises=promises_of(settings),
        plan=plan_facts(settings, plan_of(settings)),
    )
