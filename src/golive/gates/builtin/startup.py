"""
``startup``: the service becomes ready in time.

Polls the startup path and then the readiness path. Without declared paths the usual ones are tried in order; the
first that exists is the one.
"""

from __future__ import annotations

import asyncio
import time

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target

#: Where services say that they are ready, most telling first.
USUAL = ("/startupz", "/health/ready", "/readyz", "/healthz", "/health", "/")
_POLL_SECONDS = 0.1
_ABSENT_SECONDS = 10.0  # nobody listens, or the declared path does not exist, for so long: waiting more proves nothing


async def check(target: Target) -> Outcome:
    """PASS when every startup path answered 200 within ``target.startup_timeout`` seconds."""
    client, begin = Client(target), time.monotonic()
    declared = [path for path in (target.health.startup, target.health.ready) if path is not None]
    groups: list[tuple[str, ...]] = [(path,) for path in declared]
    for paths in groups or [USUAL]:
        outcome = await _until_ready(client, paths, begin, target.startup_timeout)
        if outcome is not None:
            return outcome
    seconds = time.monotonic() - begin
    return passed(
        f"ready after {seconds:.1f} s (limit {target.startup_timeout:g} s)", ready_after_seconds=round(seconds, 3)
    )


async def _until_ready(client: Client, paths: tuple[str, ...], begin: float, limit: float) -> Outcome | None:
    """None once ready; otherwise what stood in the way."""
    absent_since = time.monotonic()
    while True:
        ready, seen, exists, refused = await _look(client, paths)
        if ready:
            return None
        now = time.monotonic()
        if exists:
            absent_since = now
        if now - absent_since >= min(_ABSENT_SECONDS, limit):
            return unavailable(f"nobody answers: {seen}") if refused else failed(f"never ready: {seen}")
        if now - begin >= limit:
            return failed(f"not ready after {limit:g} s: {seen}", last_seen=seen)
        await asyncio.sleep(_POLL_SECONDS)


async def _look(client: Client, paths: tuple[str, ...]) -> tuple[bool, str, bool, bool]:
    """(ready, what was seen, the path exists, nobody listens)"""
    seen = ""
    for path in paths:
        try:
            answer = await client.get(path)
        except NoAnswerError as error:
            return False, str(error), not error.refused, error.refused
        seen = f"{path} answers {answer.status}"
        if answer.status == 200:
            return True, seen, True, False
        if answer.status not in (404, 405):
            return False, seen, True, False
    return False, seen, False, False


GATE = Gate(
    "startup", "The service becomes ready within the time allowed.", Phase.DEPLOY, check, timeout=250.0, watch=True
)
