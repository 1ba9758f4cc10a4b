"""``openapi``: the description that is served is the one that was committed, and it is one. Source: seed 003."""

from __future__ import annotations

import json
from typing import Any

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.behaviour import OpenApiProbe


async def check(target: Target) -> Outcome:
    """PASS when the service serves an OpenAPI document with paths, equal to the committed one."""
    probe = target.required(OpenApiProbe, "openapi")
    served = await description(Client(target), probe)
    if isinstance(served, str):
        return failed(served)
    if not probe.committed:
        return passed(f"{probe.path} describes {len(served['paths'])} paths")
    text = tree.read(target.root / probe.committed) if target.root is not None else None
    if text is None:
        return unavailable(f"{probe.committed}: cannot be read")
    try:
        committed = json.loads(text)
    except ValueError as error:
        return unavailable(f"{probe.committed}: expected JSON, got {error}")
    if committed == served:
        return passed(f"{probe.path} is {probe.committed}, {len(served['paths'])} paths")
    old, new = _operations(committed), _operations(served)
    told = [f"{name} is not in {probe.committed}" for name in sorted(new - old)]
    told += [f"{name} is not served" for name in sorted(old - new)]
    return failed(
        "; ".join(told[:5]) or f"{probe.path} differs from {probe.committed} in its details", differences=told
    )


async def description(client: Client, probe: OpenApiProbe) -> dict[str, Any] | str:
    """The document the service serves, or what is wrong with it."""
    answer = await client.get(probe.path)
    if answer.status != 200:
        return f"GET {probe.path}: expected 200, got {answer.status}"
    document = answer.json()
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict) or not document["paths"]:
        return f"GET {probe.path}: expected an OpenAPI document with paths, got something else"
    return document


def _operations(document: Any) -> set[str]:
    paths = document.get("paths", {}) if isinstance(document, dict) else {}
    return {f"{method.upper()} {path}" for path, entry in paths.items() if isinstance(entry, dict) for method in entry}


GATE = Gate(
    "openapi",
    "The served description of the API is the committed one.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    watch=True,
)
