"""
The endpoints of the operator: liveness, startup, readiness, metrics and their aliases.

They sit outside everything a request of the app can be stopped by (limits, auth, the shutdown guard), are answered
from memory and never cached. Liveness looks at this process only; readiness at the phase and the checks; neither shows
what an error said (that may hold a connection string).
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from golive.chassis.addresses import Sources
from golive.chassis.exposition import OPENMETRICS_TYPE, TEXT_TYPE, render, wants_openmetrics
from golive.chassis.lifecycle import Phase
from golive.chassis.log import timestamp
from golive.chassis.problem import send_problem
from golive.chassis.types import Headers, Scope, Send

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.health import Check

LIVE, STARTUP, READY, METRICS = "/livez", "/startupz", "/health/ready", "/metrics"
_ALLOWED = (b"GET", b"HEAD")

Report = tuple[bool, dict[str, Any]]


class Operations:
    """
    Answers for one chassis.

    Attributes:
        paths: what may be ours; :meth:`kind` says whether it is.
    """

    def __init__(self, chassis: Chassis) -> None:
        self._chassis = chassis
        self._began = time.monotonic()
        self._sources = Sources(chassis.settings.metrics_from)
        self._reports: dict[str, Callable[[], Report]] = {
            "live": self._live,
            "ready": self._ready,
            "startup": self._startup,
            "ok": self._ok,
            "status": self._status,
            "database": self._database,
        }
        self._kinds = {LIVE: "live", STARTUP: "startup", READY: "ready", METRICS: "metrics"}
        self._aliases = {path: kind for path, kind in chassis.settings.aliases.items() if path not in self._kinds}
        self.paths = frozenset(self._kinds) | frozenset(self._aliases)

    def kind(self, path: str, owned_by_app: Callable[[str], bool]) -> str | None:
        """What *path* answers with, or None when it is the app's business. An alias gives way to a route of the app."""
        kind = self._kinds.get(path)
        if kind is not None or path not in self._aliases or owned_by_app(path):
            return kind
        alias = self._aliases[path]
        return None if alias == "database" and not self._database_checks() else alias

    async def answer(self, kind: str, scope: Scope, send: Send, request_id: str) -> None:
        """Send the whole answer to a request for the endpoint *kind*."""
        if scope["method"] not in ("GET", "HEAD"):
            headers = {b"allow": b", ".join(_ALLOWED)}
            await send_problem(
                send, 405, f"Use {' or '.join(('GET', 'HEAD'))}.", headers=headers, request_id=request_id
            )
        elif kind == "metrics" and not self._sources.admit(scope):
            await send_problem(send, 404, request_id=request_id)
        elif kind == "metrics":
            await self._metrics(scope, send)
        else:
            passed, report = self._reports[kind]()
            await _send(send, 200 if passed else 503, b"application/json", msgspec.json.encode(report))

    def _live(self) -> Report:
        stalled = self._chassis.watchdog.stalled_seconds(time.monotonic())
        if stalled > 0:
            return False, {"status": "fail", "output": f"the event loop was blocked for {stalled:.1f} s"}
        return True, {"status": "pass"}

    def _startup(self) -> Report:
        """A latch: once started it stays started, whatever happens to the database later."""
        lifecycle = self._chassis.lifecycle
        if lifecycle.started:
            return True, {"status": "pass"}
        report = {"status": "fail", "phase": lifecycle.step}
        if lifecycle.phase is Phase.FAILED:
            report["error"] = lifecycle.failure
        return False, report

    def _ready(self) -> Report:
        chassis = self._chassis
        checks = {check.name: [_check_report(check)] for check in chassis.checks}
        passed = chassis.lifecycle.phase is Phase.SERVING and chassis.checks.ready
        report: dict[str, Any] = {"status": "pass" if passed else "fail", "phase": chassis.lifecycle.phase.value}
        if checks:
            report["checks"] = checks
        return passed, report

    def _ok(self) -> Report:
        lifecycle = self._chassis.lifecycle
        alive, mode = lifecycle.started, self._chassis.settings.mode
        report = {"ok": alive, "mode": mode or lifecycle.phase.value}
        return alive, {**report, "phase": lifecycle.phase.value} if mode else report

    def _status(self) -> Report:
        """For people: what runs and for how long, and the numbers that checks have brought."""
        chassis = self._chassis
        alive, report = self._ok()
        report["version"] = chassis.settings.version
        report["uptime_seconds"] = round(time.monotonic() - self._began)
        databases = self._database_checks()
        numbers = {check.name: check.shown for check in chassis.checks if check.shown and check not in databases}
        if numbers:
            report["checks"] = numbers
        return alive, report

    def _database_checks(self) -> list[Check]:
        known = {"db", *self._chassis.pools, *self._chassis.engines}
        return [check for check in self._chassis.checks if check.name in known]

    def _database(self) -> Report:
        """Whether the database answers, what it is and how full the pool; never where it is or who we are to it."""
        checks = self._database_checks()
        passed = self._chassis.lifecycle.started and all(check.status == "pass" for check in checks)
        report = {"ok": passed, "pools": {check.name: _check_report(check)["status"] for check in checks}}
        details = {check.name: check.shown for check in checks if check.shown}
        return passed, {**report, "details": details} if details else report

    async def _metrics(self, scope: Scope, send: Send) -> None:
        headers = dict(scope["headers"])
        openmetrics = wants_openmetrics(headers.get(b"accept", b"").decode("latin-1"))
        fleet = self._chassis.fleet
        together = await fleet.scrape(openmetrics=openmetrics) if fleet is not None else None
        body = await self._own_metrics(openmetrics=openmetrics) if together is None else together
        extra: Headers = []
        if b"gzip" in headers.get(b"accept-encoding", b"") and len(body) > 10_000:
            body, extra = await asyncio.to_thread(gzip.compress, body, 1), [(b"content-encoding", b"gzip")]
        await _send(send, 200, (OPENMETRICS_TYPE if openmetrics else TEXT_TYPE).encode(), body, extra)

    async def _own_metrics(self, *, openmetrics: bool) -> bytes:
        chunks = []
        for chunk in render(self._chassis.metrics, openmetrics=openmetrics):
            chunks.append(chunk.encode())
            await asyncio.sleep(0)  # requests go first
        return b"".join(chunks)


def _check_report(check: Check) -> dict[str, Any]:
    word = {"pass": "pass", "fail": "fail" if check.needed else "warn"}.get(check.status, "warn")
    report: dict[str, Any] = {"status": word}
    if check.observed_at:
        report["time"] = timestamp(check.observed_at)
        report["observedValue"], report["observedUnit"] = round(check.seconds, 4), "s"
    return report


async def _send(send: Send, status: int, content_type: bytes, body: bytes, extra: Headers | None = None) -> None:
    headers: Headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"vary", b"Accept, Accept-Encoding"),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
