"""
``smoke``: the requests the team declared are answered as declared. Without any, the start page must not be an error.
"""

from __future__ import annotations

from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import SmokeRequest, Target

_NOT_AN_ERROR = ("1xx", "2xx", "3xx", "4xx")


async def check(target: Target) -> Outcome:
    """PASS when every declared request gets what was declared."""
    client = Client(target)
    requests = target.smoke or (SmokeRequest("/", expect=_NOT_AN_ERROR),)
    seen = []
    for request in requests:
        name = request.name or f"{request.method} {request.path}"
        try:
            answer = await client.send(request)
            problem, status, seconds = difference(answer, request), answer.status, answer.seconds
        except NoAnswerError as error:
            problem, status, seconds = error.why, None, request.within
        seen.append({"name": name, "status": status, "seconds": round(seconds, 4), "problem": problem})
    wrong = [f"{entry['name']}: {entry['problem']}" for entry in seen if entry["problem"]]
    if wrong:
        return failed(f"{len(wrong)} of {len(seen)} requests: {'; '.join(wrong)}", requests=seen)
    if not target.smoke:
        return passed("no requests declared; / is not an error", requests=seen)
    return passed(f"{len(seen)} of {len(seen)} requests as declared", requests=seen)


GATE = Gate(
    "smoke",
    "The declared requests are answered as declared.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=120.0,
    watch=True,
)
