"""
Profiles: which gates a kind of service goes live with, and what they look for. Data, with its source beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from golive.errors import UsageError, did_you_mean
from golive.gates.target import JobsProbe, RoutesProbe, SmokeRequest, StabilityProbe, Target


@dataclass(frozen=True, slots=True)
class Profile:
    """*gates* to run, and *fit*, which fills in what a target leaves open."""

    name: str
    about: str
    gates: tuple[str, ...]
    fit: Callable[[Target], Target]


_SNAPSHOT = {"x-snapshot-id": "00000000-0000-4000-8000-000000000001"}
_ASYNC = SmokeRequest("/api/blocks/async", "POST", headers=_SNAPSHOT, json={"userId": "prod-test"}, expect=(202,))


def _blocks(target: Target) -> Target:
    """Source: seed 000, gates A to E, with the requests of its post-deployment verification."""
    health = replace(target.health, live="/healthz", aliases=target.health.aliases or ("/",), body={"ok": True})
    return replace(
        target,
        health=health,
        smoke=target.smoke or (_ASYNC,),
        stability=replace(StabilityProbe(), requests=60),
        jobs=target.jobs or JobsProbe(_ASYNC, status_path="/api/blocks/jobs/{id}", id_field="jobId", accept_max=2.0),
        routes=target.routes
        or RoutesProbe(
            redirects={"/closed-venue-reasoning": "/api/closed-venue-reasoning"},
            body_required=("/api/closed-venue-reasoning",),
        ),
    )


def _cloud(target: Target) -> Target:
    """Source: seed 001, phases 0 and 2: pre-flight blockers, then the health checks of the backend."""
    health = replace(
        target.health,
        live=target.health.live or "/health",
        aliases=target.health.aliases or ("/health", "/api/status", "/api/db/info"),
    )
    return replace(target, health=health)


def _ingest(target: Target) -> Target:
    """Source: seed 002: the health model, its limits of 120 s and P95 <= 1 s with <= 1 % errors, the registry check."""
    health = replace(target.health, live="/livez", startup="/startupz", ready="/health/ready")
    load = replace(target.load, requests=2000, concurrency=75, thresholds=("p95 <= 1s", "error_rate <= 1%"))
    return replace(target, health=health, startup_timeout=120.0, load=load)


def _vpr(target: Target) -> Target:
    """Source: seed 003, its pre-deployment checklist; what is in AWS is asked from AWS (``[gates.infrastructure]``)."""
    load = replace(target.load, requests=max(target.load.requests, 100), concurrency=100)
    return replace(target, load=load if target.load.concurrency is not None else target.load)


def _orchestrator(target: Target) -> Target:
    """Source: seed 004, its eight fixes: each has a gate that sees it undone."""
    health = replace(target.health, live=target.health.live or "/livez", ready=target.health.ready or "/health/ready")
    return replace(target, health=health)


_CHECKLIST = ("syntax", "test-results", "naming", "documents", "infra-diff", "infrastructure", "startup", "health",
              "smoke", "contract", "async-accept", "job-lifecycle", "flow", "load")  # fmt: skip
_GO_NO_GO = ("forbidden-files", "secrets", "no-localhost", "env-example", "syntax", "frontend", "startup", "health",
             "smoke", "auth", "cors", "async-accept", "job-lifecycle")  # fmt: skip
_PRODUCTION = ("startup", "health", "stability", "smoke", "bad-input", "metrics-registry", "idempotency", "tenants",
               "redaction", "load", "duplicates")  # fmt: skip
#: fix of seed 004 -> the gate that proves it
FIXES = {
    "materialised view": "slow-work",
    "middleware order": "request-id",
    "rate limiting": "rate-limit",
    "CORS validation": "config-refusal",
    "shutdown guard": "drain-health",
    "error tracking": "error-capture",
    "database pool": "dependency",
    "metric cardinality": "cardinality",
}

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "blocks",
            "gates A to E of the blocks API: health, async accept, job life cycle, stability, routes",
            ("startup", "health", "async-accept", "job-lifecycle", "stability", "routes"),
            _blocks,
        ),
        Profile(
            "cloud",
            "go/no-go before the first day in the cloud: clean tree, health, auth, CORS, a worker that works",
            _GO_NO_GO,
            _cloud,
        ),
        Profile(
            "ingest",
            "the production gates of an ingestion service: health model, registry, one effect per key, redaction, load",
            _PRODUCTION,
            _ingest,
        ),
        Profile(
            "vpr",
            "the pre-deployment checklist of a job service on AWS: tests, naming, papers, resources, the whole flow",
            _CHECKLIST,
            _vpr,
        ),
        Profile(
            "orchestrator",
            "the eight fixes before a service is rolled out by itself, and its health model",
            ("environment", "startup", "health", *FIXES.values()),
            _orchestrator,
        ),
    )
}


def profile(name: str) -> Profile:
    """The profile *name*. Raises: UsageError when there is none."""
    if name not in PROFILES:
        hint = did_you_mean(name, list(PROFILES)) or f". Known: {', '.join(PROFILES)}"
        raise UsageError(f'unknown profile "{name}"{hint}')
    return PROFILES[name]
