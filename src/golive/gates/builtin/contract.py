"""
``contract``: clients of yesterday get the answers of yesterday. Recorded requests are sent again and compared.
Source: seed 000 (the synchronous contract is unchanged), seed 003 (do not touch the existing endpoint).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import SmokeRequest, Target
from golive.promises.behaviour import ContractProbe

_HEADERS = ("content-type", "location", "retry-after", "cache-control")


async def check(target: Target) -> Outcome:
    """PASS when every recorded request is answered with the recorded status, telling headers and JSON."""
    probe = target.required(ContractProbe, "contract")
    text = tree.read(target.root / probe.recording) if target.root is not None else None
    if text is None:
        return unavailable(f"{probe.recording}: cannot be read")
    try:
        pairs = [(_request(entry["request"]), entry["response"]) for entry in json.loads(text)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return unavailable(f"{probe.recording}: expected a list of requests and responses, got another shape ({error})")
    if not pairs:
        return unavailable(f"{probe.recording}: holds no request")
    client, broken = Client(target), []
    for request, recorded in pairs:
        answer = await client.send(request)
        difference = _difference(answer.status, recorded.get("status"), "status")
        for name in _HEADERS:
            if name in recorded.get("headers", {}):
                difference = difference or _difference(answer.header(name), recorded["headers"][name], name)
        if "json" in recorded:
            now, then = _without(answer.json(), probe.ignore), _without(recorded["json"], probe.ignore)
            difference = difference or _difference(now, then, "the JSON")
        if difference:
            broken.append(f"{request.method} {request.path}: {difference}")
    if broken:
        return failed(f"{len(broken)} of {len(pairs)} recorded answers changed: {'; '.join(broken[:3])}", broken=broken)
    return passed(f"{len(pairs)} recorded requests are answered as they were")


def _request(entry: Mapping[str, Any]) -> SmokeRequest:
    return SmokeRequest(
        entry["path"], entry.get("method", "GET"), headers=entry.get("headers", {}), json=entry.get("json"),
        body=entry.get("body"),
    )  # fmt: skip


def _without(value: Any, ignore: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {name: _without(inner, ignore) for name, inner in value.items() if name not in ignore}
    return [_without(inner, ignore) for inner in value] if isinstance(value, list) else value


def _difference(now: Any, then: Any, what: str) -> str | None:
    if now == then:
        return None
    if isinstance(now, dict) and isinstance(then, dict):
        for name in sorted(set(now) | set(then)):
            found = _difference(now.get(name, "nothing"), then.get(name, "nothing"), f"{what}, field {name}")
            if found:
                return found
    return f"{what} was {str(then)[:80]}, is {str(now)[:80]}"


GATE = Gate(
    "contract",
    "Recorded requests are answered as they were when they were recorded.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    watch=True,
)
