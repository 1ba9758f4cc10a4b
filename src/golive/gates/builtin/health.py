"""
``health``: the health model holds. Liveness, startup and readiness answer, fast, and mean something.

Left out on purpose: what readiness does when a dependency dies; that is a gate of its own with a fault to plant.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from golive.gates.expect import json_difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Answer, Client
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import HealthProbe, Target

LIVE = ("/livez", "/healthz", "/health", "/health/live", "/")
READY = ("/health/ready", "/readyz")
STARTUP = ("/startupz",)
_ROUNDS = 3  # a limit on the slowest of N must survive a busy machine; a slow handler is slow in every round


@dataclass(frozen=True, slots=True)
class Paths:
    """The health paths of a service; None: it has none."""

    live: str
    startup: str | None
    ready: str | None
    aliases: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Each once."""
        found = [path for path in (self.live, self.startup, self.ready, *self.aliases) if path is not None]
        return tuple(dict.fromkeys(found))


async def check(target: Target) -> Outcome:
    """PASS when every health path answers 200 to GET, fast, and only to what it should."""
    client = Client(target)
    paths = await find_paths(client, target.health)
    if paths is None:
        return failed(f"no health endpoint: none of {', '.join(LIVE)} answers 200")
    for problem in (
        await _statuses(client, paths),
        await _body(client, paths.live, target.health),
        await _methods(client, paths.live),
        await _catch_all(client, paths.live),
    ):
        if problem:
            return failed(problem, paths=paths.all)
    slowest = await _slowest(client, paths, target.health)
    evidence = {"paths": paths.all, "slowest_seconds": round(slowest, 4), "samples": target.health.samples}
    if slowest >= target.health.latency_max:
        return failed(
            f"the slowest of {target.health.samples} health requests took {slowest * 1000:.0f} ms "
            f"(limit {target.health.latency_max * 1000:.0f} ms)",
            **evidence,
        )
    return passed(f"{', '.join(paths.all)} answer 200, slowest {slowest * 1000:.0f} ms", **evidence)


async def find_paths(client: Client, probe: HealthProbe) -> Paths | None:
    """The declared paths, or the usual ones that answer; None when there is no liveness path."""
    live = probe.live or await _first(client, LIVE)
    if live is None:
        return None
    return Paths(
        live,
        probe.startup or await _first(client, STARTUP),
        probe.ready or await _first(client, READY),
        probe.aliases,
    )


async def _first(client: Client, paths: tuple[str, ...]) -> str | None:
    for path in paths:
        if (await client.get(path)).status == 200:
            return path
    return None


async def _statuses(client: Client, paths: Paths) -> str | None:
    for path in paths.all:
        answer = await client.get(path)
        if answer.status != 200:
            return f"GET {path}: expected 200, got {answer.status}"
    return None


async def _body(client: Client, live: str, probe: HealthProbe) -> str | None:
    if not probe.body:
        return None
    found = json_difference((await client.get(live)).json(), probe.body)
    return f"GET {live}: {found}" if found else None


async def _methods(client: Client, live: str) -> str | None:
    """Probers use HEAD; a POST must not wake anything."""
    head = await client.request("HEAD", live)
    if head.status not in (200, 405):
        return f"HEAD {live}: expected 200 (or 405), got {head.status}"
    post = await client.request("POST", live)
    if post.status >= 500:
        return f"POST {live}: expected 405 or another refusal, got {post.status}"
    return None


async def _catch_all(client: Client, live: str) -> str | None:
    """A server that answers 200 to everything has no health endpoint, it only looks as if."""
    path = f"/golive-no-such-path-{secrets.token_hex(8)}"
    real, invented = await client.get(live), await client.get(path)
    if invented.status == 200 and _same(real, invented):
        return (
            f"GET {path}, which cannot exist, is answered like {live}: nothing shows that {live} is a health endpoint"
        )
    return None


def _same(one: Answer, other: Answer) -> bool:
    return one.body == other.body and one.header("content-type") == other.header("content-type")


async def _slowest(client: Client, paths: Paths, probe: HealthProbe) -> float:
    """The slowest of *samples* requests in a row, in the best of a few rounds, in seconds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        cheap = (paths.live, *paths.aliases)
        seconds = [(await client.get(cheap[number % len(cheap)])).seconds for number in range(probe.samples)]
        best = min(best, max(seconds, default=0.0))
        if best < probe.latency_max:
            break
    return best


GATE = Gate(
    "health",
    "Liveness, startup and readiness answer, fast, and to nothing else.",
    Phase.DEPLOY,
    check,
    depends_on=("startup",),
    timeout=60.0,
    exclusive=True,
    watch=True,
)
