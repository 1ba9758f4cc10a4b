"""
``routes``: old addresses still lead somewhere safe, and a missing body is the caller's mistake. Source: seed 000,
gate E.
"""

from __future__ import annotations

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target


async def check(target: Target) -> Outcome:
    """PASS when every declared redirect is a 307 with the query kept, and every declared route wants its body."""
    probe = target.routes
    if probe is None:
        return unavailable("no redirects and no routes declared, nothing to ask for")
    client = Client(target)
    problems = [await _redirect(client, old, new) for old, new in probe.redirects.items()]
    problems += [await _body_required(client, path) for path in probe.body_required]
    wrong = [problem for problem in problems if problem]
    if wrong:
        return failed("; ".join(wrong), problems=wrong)
    return passed(f"{len(probe.redirects)} redirects and {len(probe.body_required)} routes as declared")


async def _redirect(client: Client, old: str, new: str) -> str | None:
    """307 keeps method and body; the query must survive; a path like //host must not leave the site."""
    answer = await client.request("POST", f"{old}?golive=1")
    location = answer.header("location") or ""
    own = f"{client.url}{new}?golive=1"
    if answer.status != 307 or location not in (f"{client.base}{new}?golive=1", own):
        return f"POST {old}?golive=1: expected 307 to {new}?golive=1, got {answer.status} to {location or 'nowhere'}"
    return None


async def _body_required(client: Client, path: str) -> str | None:
    answer = await client.request("POST", path, {"content-type": "application/json"})
    return None if answer.status == 400 else f"POST {path} without a body: expected 400, got {answer.status}"


GATE = Gate(
    "routes",
    "Old addresses redirect with 307, and a missing body is answered 400.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    watch=True,
)
