"""
``anonymous``: every route of the API description, not a sample, refuses a caller without credentials, except those
that are public on purpose. Source: seed 001 (anonymous blocked where expected).
"""

from __future__ import annotations

import re
from dataclasses import replace

from golive.gates import tree
from golive.gates.builtin.openapi import description
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.behaviour import OpenApiProbe

_METHODS = ("get", "post", "put", "patch", "delete")
ROUTES_MAX = 1000


async def check(target: Target) -> Outcome:
    """PASS when each operation that is not public answers 401 or 403 to nobody in particular."""
    probe = target.required(OpenApiProbe, "openapi")
    if not probe.public:
        return unavailable("no public routes declared: write public = [...] in [gates.openapi]")
    served = await description(Client(target), probe)
    if isinstance(served, str):
        return unavailable(served)
    stranger = Client(replace(target, headers={}))
    asked, open_doors = 0, []
    for path, entry in list(served["paths"].items())[:ROUTES_MAX]:
        if tree.matches(path.lstrip("/"), tuple(each.lstrip("/") for each in probe.public)):
            continue
        for method in (method for method in _METHODS if isinstance(entry, dict) and method in entry):
            concrete = re.sub(r"\{[^}]*\}", "00000000-0000-4000-8000-000000000000", path)
            status = (
                await stranger.request(method.upper(), concrete, {"content-type": "application/json"}, "{}")
            ).status
            asked += 1
            if status not in (401, 403):
                open_doors.append(f"{method.upper()} {path} is answered {status}")
    if open_doors:
        return failed(f"{len(open_doors)} of {asked} operations are open: {'; '.join(open_doors[:5])}", open=open_doors)
    if not asked:
        return unavailable("every route is public: nothing to knock at")
    return passed(f"{asked} operations refuse a caller without credentials", asked=asked)


GATE = Gate(
    "anonymous",
    "Every route that is not public refuses a caller without credentials.",
    Phase.SMOKE,
    check,
    depends_on=("startup", "openapi"),
    timeout=120.0,
)
