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


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "blocks",
            "gates A to E of the blocks API: health, async accept, job life cycle, stability, routes",
            ("startup", "health", "async-accept", "job-lifecycle", "stability", "routes"),
            _blocks,
        ),
    )
}


def profile(name: str) -> Profile:
    """The profile *name*. Raises: UsageError when there is none."""
    if name not in PROFILES:
        hint = did_you_mean(name, list(PROFILES)) or f". Known: {', '.join(PROFILES)}"
        raise UsageError(f'unknown profile "{name}"{hint}')
    return PROFILES[name]
