"""
``shutdown``: SIGTERM loses nothing. The gate starts the service itself, sends a slow request, stops it meanwhile.

Judged: the request in flight is answered as declared, and the process is gone within its grace.
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace

from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.process import Started, ready, started
from golive.gates.target import ShutdownProbe, Target

_IN_FLIGHT_SECONDS = 0.3  # from sending the slow request until it is surely being worked on


async def check(target: Target) -> Outcome:
    """PASS when the slow request is answered though the process was told to stop, and the process ends in time."""
    probe = target.shutdown
    if probe is None:
        return unavailable("no command declared, nothing to start and stop")
    async with started(probe.command, probe.env, target.root) as running:
        return await _judge(running, Client(replace(target, url=running.url)), probe)


async def _judge(running: Started, client: Client, probe: ShutdownProbe) -> Outcome:
    process = running.process
    if not await ready(running, client, probe.start_max):
        return unavailable(f"the service was not ready within {probe.start_max:g} s of its start")
    slow = asyncio.create_task(client.send(probe.slow))
    await asyncio.sleep(_IN_FLIGHT_SECONDS)
    if slow.done():
        return unavailable(f"{probe.slow.path} was answered before the signal: declare a slower request")
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        problem = difference(await slow, probe.slow)
    except NoAnswerError as error:
        problem = error.why
    if problem:
        return failed(f"the request in flight at SIGTERM was lost: {problem}")
    try:
        await asyncio.wait_for(process.wait(), max(probe.grace - (time.monotonic() - begin), 0.1))
    except TimeoutError:
        return failed(f"the process was still there {probe.grace:g} s after SIGTERM")
    seconds = time.monotonic() - begin
    evidence = {"exit_code": process.returncode, "stopped_after_seconds": round(seconds, 2)}
    if process.returncode not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
        return failed(f"the process ended with {process.returncode} after SIGTERM", **evidence)
    return passed(f"the request in flight was answered, the process ended after {seconds:.1f} s", **evidence)


GATE = Gate(
    "shutdown",
    "SIGTERM loses no request in flight, and the process ends in time.",
    Phase.LOAD,
    check,
    timeout=120.0,
    exclusive=True,
)
