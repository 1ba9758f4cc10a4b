"""
``tenants``: what one tenant made does not exist for another, and their keys do not meet. Source: seed 002.
"""

from __future__ import annotations

import uuid

from golive.gates.builtin.idempotency import filled
from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.behaviour import TenantsProbe


async def check(target: Target) -> Outcome:
    """PASS when the first tenant reads its own, the second is told 404 exactly as for what does not exist."""
    probe = target.required(TenantsProbe, "tenants")
    client = Client(target)
    made = await client.send(filled(probe.create), probe.first)
    wrong = difference(made, probe.create)
    document = made.json()
    identifier = document.get(probe.id_field) if isinstance(document, dict) else None
    if wrong is None and not isinstance(identifier, str | int):
        wrong = f"expected an id in {probe.id_field!r}, got {identifier!r}"
    if wrong is not None:
        return failed(f"{probe.create.method} {probe.create.path} as the first tenant: {wrong}")
    path = probe.read.replace("{id}", str(identifier))
    invented = probe.read.replace("{id}", str(uuid.uuid4()))
    own = await client.request("GET", path, probe.first)
    foreign = await client.request("GET", path, probe.second)
    missing = await client.request("GET", invented, probe.second)
    problems = []
    if own.status != 200:
        problems.append(f"the first tenant reads its own {path}: expected 200, got {own.status}")
    if foreign.status != 404:
        problems.append(f"the second tenant reads {path}: expected 404, got {foreign.status}")
    elif foreign.body.replace(path.encode(), b"") != missing.body.replace(invented.encode(), b"") and len(
        foreign.body
    ) != len(missing.body):
        problems.append("the answer to the second tenant differs from that about an id that does not exist")
    if probe.key_header:
        problems += await _keys(client, probe)
    if problems:
        return failed("; ".join(problems), problems=problems)
    keys = ", the same key of both has two effects" if probe.key_header else ""
    return passed(f"another tenant's {path} is 404{keys}")


async def _keys(client: Client, probe: TenantsProbe) -> list[str]:
    key, request = str(uuid.uuid4()), filled(probe.create)
    statuses = []
    for tenant in (probe.first, probe.second):
        statuses.append((await client.send(request, {**tenant, probe.key_header: key})).status)
    if statuses[0] != statuses[1]:
        return [f"the same {probe.key_header} of two tenants is answered {statuses[0]} and {statuses[1]}"]
    return []


GATE = Gate(
    "tenants",
    "What one tenant made does not exist for another.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
)
