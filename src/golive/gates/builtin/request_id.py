"""``request-id``: every answer can be found in the log. Source: seed 001 (request id in logs), seed 004 (order)."""

from __future__ import annotations

import secrets

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.behaviour import RequestIdProbe

_BAD = ("has blanks and <tags>", "x" * 5000, "'; drop table requests; --")


async def check(target: Target) -> Outcome:
    """PASS when good and bad answers carry an id, a caller's well-formed one is kept, a harmful one is replaced."""
    probe = target.promise(RequestIdProbe) or RequestIdProbe()
    client = Client(target)
    problems, seen = [], set()
    for path in probe.paths:
        own = f"golive-{secrets.token_hex(8)}"
        kept = (await client.request("GET", path, {probe.header: own})).header(probe.header)
        if kept != own:
            problems.append(f"GET {path} with {probe.header}: {own} is answered with {kept or 'none'}")
        made = (await client.get(path)).header(probe.header)
        if not made or made in seen:
            problems.append(f"GET {path} is answered with {'the id of another request' if made else 'no id'}")
        seen.add(made)
    for bad in _BAD:
        echoed = (await client.request("GET", probe.paths[0], {probe.header: bad})).header(probe.header)
        if echoed == bad:
            problems.append(f"{probe.header}: {bad[:30]!r} comes back as it was sent")
    if problems:
        return failed("; ".join(problems[:5]), problems=problems)
    return passed(f"{len(probe.paths)} kinds of answers carry {probe.header}; {len(_BAD)} harmful ids are replaced")


GATE = Gate(
    "request-id",
    "Every answer carries a request id; harmful ones are replaced.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    watch=True,
)
