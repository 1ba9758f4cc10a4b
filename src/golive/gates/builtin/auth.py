"""``auth``: nobody gets in without credentials, and nobody with invented ones."""

from __future__ import annotations

from dataclasses import replace

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target

# {"alg":"none"}.{"sub":"admin"}. - a token that only a verifier that does not verify accepts
_UNSIGNED = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiJ9."
#: name -> Authorization header; None sends none
ATTEMPTS: dict[str, str | None] = {
    "nothing": None,
    "an empty bearer": "Bearer ",
    "a made-up bearer": "Bearer golive",
    "an unsigned token": f"Bearer {_UNSIGNED}",
    "basic admin:admin": "Basic YWRtaW46YWRtaW4=",
}


async def check(target: Target) -> Outcome:
    """PASS when every protected path answers 401 or 403 to every caller without true credentials."""
    if not target.protected:
        return unavailable("no protected paths declared, nothing to knock at")
    client = Client(
        replace(target, headers={name: v for name, v in target.headers.items() if name.lower() != "authorization"})
    )
    let_in = []
    for path in target.protected:
        for name, value in ATTEMPTS.items():
            answer = await client.request("GET", path, {"authorization": value} if value is not None else None)
            if answer.status not in (401, 403):
                let_in.append(f"GET {path} with {name}: expected 401 or 403, got {answer.status}")
    if let_in:
        return failed("; ".join(let_in), problems=let_in)
    return passed(f"{len(target.protected)} paths refuse {len(ATTEMPTS)} kinds of callers without credentials")


GATE = Gate(
    "auth",
    "Protected paths refuse callers without credentials.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    watch=True,
)
