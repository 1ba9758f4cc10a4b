"""
``background``: a job goes on while nobody asks. Source: seed 000 (without "CPU always allocated", jobs freeze after the
202, and every poll wakes them: a gate that polls sees nothing).
"""

from __future__ import annotations

import asyncio

from golive.gates.builtin.async_accept import NOTHING, status_path
from golive.gates.builtin.job_lifecycle import ENDS
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.behaviour import BackgroundProbe


async def check(target: Target) -> Outcome:
    """PASS when a job has ended after a silence in which the gate sent nothing."""
    quiet = target.required(BackgroundProbe, "background").quiet
    if target.jobs is None:
        return unavailable(NOTHING)
    client = Client(target)
    accepted = await client.send(target.jobs.submit)
    path = status_path(accepted, target.jobs)
    if path is None:
        return failed(f"{target.jobs.submit.path}: answered {accepted.status} without a way to follow the job")
    await asyncio.sleep(quiet)
    document = (await client.request("GET", path, target.jobs.submit.headers)).json()
    state = document.get("status") if isinstance(document, dict) else None
    if state not in ENDS:
        return failed(
            f"{quiet:g} s after the 202, without a request in between, the job is still {state}: does the platform "
            "take the CPU away between requests?",
            state=state,
        )
    return passed(f"{state} after {quiet:g} s in which nobody asked", state=state)


GATE = Gate(
    "background",
    "A job ends though nobody sends a request meanwhile.",
    Phase.SMOKE,
    check,
    depends_on=("startup", "async-accept"),
    timeout=180.0,
    exclusive=True,
)
