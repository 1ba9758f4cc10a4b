"""
``job-lifecycle``: a job goes forward only, ends, and unknown jobs do not exist. Source: seed 000, gate C.

Health is sampled while the job runs: work in the background must not take the service down.
"""

from __future__ import annotations

import asyncio
import time
import uuid

from golive.gates.builtin.async_accept import NOTHING, status_path
from golive.gates.builtin.health import find_paths
from golive.gates.builtin.stability import sample_health
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import JobsProbe, Target

ENDS = ("succeeded", "failed", "cancelled")
_RANK = {"pending": 0, "running": 1, "succeeded": 2, "failed": 2, "cancelled": 2}
_POLL_SECONDS = 0.1


async def check(target: Target) -> Outcome:
    """PASS when a submitted job is seen to go forward through its states until it has succeeded."""
    probe = target.jobs
    if probe is None:
        return unavailable(NOTHING)
    client = Client(target)
    accepted = await client.send(probe.submit)
    path = status_path(accepted, probe)
    if path is None:
        return failed(
            f"{probe.submit.method} {probe.submit.path}: answered {accepted.status} without a way to follow the job"
        )
    paths = await find_paths(client, target.health)
    stop = asyncio.Event()
    well = paths is not None and (await client.get(paths.live)).status == 200  # if not, the gate health says so
    sampler = asyncio.create_task(sample_health(client, paths.live, stop)) if paths is not None and well else None
    states, problem = await _follow(client, path, probe)
    stop.set()
    bad, samples = await sampler if sampler else ([], 0)
    if problem is None and bad:
        problem = f"health was not 200 in {len(bad)} of {samples} samples while the job ran, first: {bad[0]}"
    problem = problem or await _unknown(client, path, probe)
    evidence = {"states": states, "status_path": path, "health_samples": samples}
    return failed(problem, **evidence) if problem else passed(f"{' -> '.join(states)}, unknown job is 404", **evidence)


async def _follow(client: Client, path: str, probe: JobsProbe) -> tuple[list[str], str | None]:
    """The different states in the order seen, and what was wrong with them."""
    begin, states = time.monotonic(), list[str]()
    while time.monotonic() - begin < probe.finish_max:
        answer = await client.request("GET", path, probe.submit.headers)
        document = answer.json()
        state = document.get("status") if isinstance(document, dict) else None
        if answer.status != 200 or state not in _RANK:
            return states, f"GET {path}: expected 200 and one of {', '.join(_RANK)}, got {answer.status} and {state!r}"
        if not states or states[-1] != state:
            if states and _RANK[state] <= _RANK[states[-1]]:
                return [*states, state], f"the job went from {states[-1]} back to {state}"
            states.append(state)
        if state in ENDS:
            return states, None if state == "succeeded" else f"the job ended {state}"
        await asyncio.sleep(_POLL_SECONDS)
    hint = "; does a worker run?" if states[-1:] == ["pending"] else ""
    return states, f"the job was still {states[-1] if states else 'unknown'} after {probe.finish_max:g} s{hint}"


async def _unknown(client: Client, path: str, probe: JobsProbe) -> str | None:
    invented = path.rpartition("/")[0] + f"/{uuid.uuid4()}"
    status = (await client.request("GET", invented, probe.submit.headers)).status
    return None if status == 404 else f"GET of a job that does not exist: expected 404, got {status}"


GATE = Gate(
    "job-lifecycle",
    "A job goes forward only and ends; unknown jobs are 404.",
    Phase.SMOKE,
    check,
    depends_on=("startup", "async-accept"),
    timeout=90.0,
)
