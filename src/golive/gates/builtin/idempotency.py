"""
``idempotency``: the same key twice is one effect. Source: seed 002 (five in parallel: one 201, four 204).

Two contracts, declared per target: ``204`` answers duplicates with an empty 204; ``replay`` answers them like the
first, or 409 while the first is still running. In both, the same key with another body is refused.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from dataclasses import replace

from golive.gates.gate import Gate, Phase
from golive.gates.http import Answer, Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import IdempotencyProbe, SmokeRequest, Target


async def check(target: Target) -> Outcome:
    """
    PASS when duplicates, in parallel and afterwards, have one effect, and a reused key with another body is refused.
    """
    probe = target.idempotency
    if probe is None:
        return unavailable("no idempotent request declared, nothing to repeat")
    client = Client(target)
    key, request = str(uuid.uuid4()), filled(probe.request)
    answers = await asyncio.gather(*(client.send(request, {probe.header: key}) for _ in range(probe.parallel)))
    again = await client.send(request, {probe.header: key})
    statuses = sorted(answer.status for answer in answers)
    problem = _judge(probe, answers, again) or await _other_body(client, probe, request, key)
    evidence = {"statuses": statuses, "again": again.status}
    if problem:
        return failed(problem, **evidence)
    return passed(
        f"{probe.parallel} parallel requests with one key: {_words(statuses)}; again: {again.status}", **evidence
    )


def _judge(probe: IdempotencyProbe, answers: list[Answer], again: Answer) -> str | None:
    statuses = sorted(answer.status for answer in answers)
    if probe.duplicate == "204":
        wanted = [201] + [204] * (probe.parallel - 1)
        if statuses != wanted or again.status != 204:
            return f"expected {_words(wanted)} and then 204, got {_words(statuses)} and then {again.status}"
        return None
    done = [answer for answer in (*answers, again) if answer.status != 409]
    different = {(answer.status, answer.body) for answer in done}
    if len(different) != 1 or not 200 <= again.status < 300:
        got = f"{_words(statuses)} and then {again.status}, {len(different)} different"
        return f"expected the first answer again (or 409), got {got}"
    return None


async def _other_body(client: Client, probe: IdempotencyProbe, request: SmokeRequest, key: str) -> str | None:
    other = replace(request, json=None, body=json.dumps({"golive": "another body"}))
    status = (await client.send(other, {probe.header: key, "content-type": "application/json"})).status
    allowed = (400, 409, 422) if probe.duplicate == "replay" else (204, 400, 409, 422)
    return None if status in allowed else f"the same key with another body: expected 422, got {status}"


def filled(request: SmokeRequest) -> SmokeRequest:
    """``{uuid}`` in the body, once: all duplicates are the same request."""
    marker = uuid.uuid4().hex
    if isinstance(request.body, str):
        return replace(request, body=request.body.replace("{uuid}", marker))
    if request.json is not None:
        return replace(request, json=json.loads(json.dumps(request.json).replace("{uuid}", marker)))
    return request


def _words(statuses: list[int]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(Counter(statuses).items()))


GATE = Gate(
    "idempotency",
    "The same key twice is one effect, also in parallel.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
)
