"""
``drain-health``: while the service stops, probes still get the truth: alive, and not ready. Source: seed 004 (the
shutdown guard refused health checks, so the platform killed what was draining).
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace

from golive.gates.builtin.health import find_paths
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.process import ready, started
from golive.gates.target import Target

_IN_FLIGHT_SECONDS = 0.3
_POLL_SECONDS = 0.05


async def check(target: Target) -> Outcome:
    """PASS when, from SIGTERM until the slow request is answered, liveness is 200 and readiness is not."""
    probe = target.shutdown
    if probe is None:
        return unavailable("no command declared, nothing to start and stop")
    async with started(probe.command, probe.env, target.root) as running:
        client = Client(replace(target, url=running.url))
        if not await ready(running, client, probe.start_max):
            return unavailable(f"the service was not ready within {probe.start_max:g} s of its start")
        paths = await find_paths(client, target.health)
        if paths is None or paths.ready is None:
            return unavailable("no liveness or no readiness path: nothing to watch while it stops")
        slow = asyncio.create_task(client.send(probe.slow))
        await asyncio.sleep(_IN_FLIGHT_SECONDS)
        if slow.done():
            return unavailable(f"{probe.slow.path} was answered before the signal: declare a slower request")
        running.process.send_signal(signal.SIGTERM)
        begin, seen = time.monotonic(), list[tuple[str, str]]()
        while not slow.done() and time.monotonic() - begin < probe.grace:
            seen.append((await _word(client, paths.live), await _word(client, paths.ready)))
            await asyncio.sleep(_POLL_SECONDS)
        slow.cancel()
    whole = seen[:-1] or seen  # the last look may have met the end of the drain
    dead = [live for live, _ in whole if live != "200"]
    if dead:
        return failed(f"while it drained, {paths.live} was {dead[0]} in {len(dead)} of {len(whole)} looks")
    still_ready = [word for _, word in whole[1:] if word == "200"]
    if len(still_ready) > 1:
        return failed(f"{paths.ready} was still 200 in {len(still_ready)} looks after SIGTERM: callers keep coming")
    return passed(f"while it drained, {paths.live} was 200 and {paths.ready} was not, in {len(whole)} looks")


async def _word(client: Client, path: str) -> str:
    try:
        return str((await client.get(path, timeout=2.0)).status)
    except NoAnswerError as error:
        return error.why


GATE = Gate(
    "drain-health",
    "While the service drains it is alive and not ready.",
    Phase.LOAD,
    check,
    timeout=120.0,
    exclusive=True,
)
