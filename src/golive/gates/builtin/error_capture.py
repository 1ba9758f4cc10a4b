"""
``error-capture``: an error reaches the place where errors are looked at, and does not hold up the caller. Source:
seed 004 (the error tracker was called inside the request).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

from golive.gates.builtin.flow import filled_with
from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.behaviour import ErrorCaptureProbe

_POLL_SECONDS = 0.1
_TAIL_BYTES = 1024 * 1024


async def check(target: Target) -> Outcome:
    """PASS when the declared failure is answered fast, as declared, and is found in a sink in time."""
    probe = target.required(ErrorCaptureProbe, "error_capture")
    if target.root is None:
        return unavailable("no project folder: the sinks are files of it")
    marker = f"golive-{secrets.token_hex(8)}"
    request = filled_with(probe.request, {"marker": marker})
    answer = await Client(target).send(request)
    wrong = difference(answer, request)
    if wrong:
        return failed(f"{request.method} {probe.request.path}: {wrong}")
    if answer.seconds > probe.latency_max:
        return failed(
            f"the failing answer took {answer.seconds:.2f} s (limit {probe.latency_max:g} s): is the error sent within "
            "the request?",
            answer_seconds=round(answer.seconds, 3),
        )
    begin = time.monotonic()
    while time.monotonic() - begin < probe.within:
        for sink in probe.sinks:
            if await asyncio.to_thread(_holds, target.root / sink, marker):
                seconds = time.monotonic() - begin
                return passed(
                    f"answered after {answer.seconds * 1000:.0f} ms, in {sink} after {seconds:.1f} s",
                    captured_after_seconds=round(seconds, 2),
                )
        await asyncio.sleep(_POLL_SECONDS)
    return failed(f"the error is in none of {', '.join(probe.sinks)} after {probe.within:g} s")


def _holds(path: Path, marker: str) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
            return marker.encode() in file.read()
    except OSError:
        return False


GATE = Gate(
    "error-capture",
    "An error reaches its sink and does not hold up the caller.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=90.0,
)
