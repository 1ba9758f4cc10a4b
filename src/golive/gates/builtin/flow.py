"""
``flow``: requests that build on each other work end to end: sign in, call, sign out, be refused; submit, wait, fetch.
Source: seed 001 (signed-in flow), seed 003 (end-to-end flow).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace

from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Answer, Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import SmokeRequest, Target
from golive.promises.behaviour import FlowProbe

_POLL_SECONDS = 0.1


async def check(target: Target) -> Outcome:
    """PASS when every step is answered as declared, in order."""
    steps = target.required(FlowProbe, "flow").steps
    known: dict[str, str] = {}
    told = []
    for number, step in enumerate(steps, 1):
        request = filled_with(step.request, known)
        name = request.name or f"{request.method} {request.path}"
        answer, problem = await _step(target, request, step.until)
        for key, place in step.capture.items() if problem is None else ():
            found = _captured(answer, place) if answer is not None else None
            if found is None:
                problem = f"expected {place} to capture as {key}, got none"
                break
            known[key] = found
        told.append({"step": name, "status": answer.status if answer else None, "problem": problem})
        if problem is not None:
            return failed(f"step {number} of {len(steps)}, {name}: {problem}", steps=told)
    return passed(f"{len(steps)} steps as declared", steps=told)


async def _step(target: Target, request: SmokeRequest, until: float) -> tuple[Answer | None, str | None]:
    begin = time.monotonic()
    while True:
        answer: Answer | None = None
        try:
            answer = await _send(target, request)
            problem = difference(answer, request)
        except NoAnswerError as error:
            problem = error.why
        if problem is None or time.monotonic() - begin >= until:
            return answer, problem
        await asyncio.sleep(_POLL_SECONDS)


async def _send(target: Target, request: SmokeRequest) -> Answer:
    """A captured link may lead to another host, e.g. a signed one of an object store: without our credentials then."""
    if request.path.startswith(("http://", "https://")):
        scheme, _, rest = request.path.partition("://")
        host, slash, path = rest.partition("/")
        elsewhere = replace(target, url=f"{scheme}://{host}", headers={})
        return await Client(elsewhere).send(replace(request, path=slash + path or "/"))
    return await Client(target).send(request)


def filled_with(request: SmokeRequest, known: Mapping[str, str]) -> SmokeRequest:
    """*request* with ``{name}`` replaced in its path, headers and body."""

    def fill(text: str) -> str:
        for name, value in known.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    path = fill(request.path)
    if path.startswith("/http"):
        path = path[1:]  # "/{link}": a path begins with / in golive.toml, the link does not
    payload = None if request.json is None else json.loads(fill(json.dumps(request.json)))
    body = fill(request.body) if isinstance(request.body, str) else request.body
    headers = {name: fill(value) for name, value in request.headers.items()}
    return replace(request, path=path, headers=headers, body=body, json=payload)


def _captured(answer: Answer, place: str) -> str | None:
    if place.startswith("header:"):
        return answer.header(place.removeprefix("header:"))
    value = answer.json()
    for part in place.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return str(value) if isinstance(value, str | int | float) else None


GATE = Gate(
    "flow",
    "Requests that build on each other work end to end.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=180.0,
)
