"""
``rate-limit``: one caller gets so many answers and no more, from all replicas together, whatever it calls itself.
Source: seed 002 (a limiter in memory is one limit per replica), seed 004 (distributed limit).
"""

from __future__ import annotations

from dataclasses import replace

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.behaviour import RateLimitProbe

_SLACK = 2.0  # a limiter that refills while the gate asks lets a few more through


async def check(target: Target) -> Outcome:
    """PASS when the limit is near where it was declared, says when to come back, and cannot be walked around."""
    probe = target.required(RateLimitProbe, "rate_limit")
    client, allowed = Client(target), 0
    attempts = int(probe.limit * _SLACK) + 1
    for _ in range(attempts):
        answer = await client.send(probe.request)
        if answer.status == 429:
            break
        allowed += 1
    else:
        return failed(f"{attempts} requests in a row are answered, the limit is {probe.limit}", allowed=allowed)
    if allowed < probe.limit // 2:
        return failed(f"the limit is {probe.limit}, and request {allowed + 1} is refused", allowed=allowed)
    problems = []
    if answer.header("retry-after") is None:
        problems.append("the 429 does not say when to come back (Retry-After)")
    spoofed = await client.send(probe.request, {"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.8"})
    if spoofed.status != 429:
        problems.append(f"with an invented X-Forwarded-For the caller is answered {spoofed.status}")
    for url in probe.also_at:
        elsewhere = await Client(replace(target, url=url)).send(probe.request)
        if elsewhere.status != 429:
            problems.append(f"the replica at {url} still answers {elsewhere.status}: the limit is not shared")
    if problems:
        return failed("; ".join(problems), allowed=allowed)
    places = f", also at {len(probe.also_at)} other replicas" if probe.also_at else ""
    return passed(f"refused after {allowed} requests (limit {probe.limit}){places}", allowed=allowed)


GATE = Gate(
    "rate-limit",
    "A caller is limited, by all replicas together, whatever it calls itself.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=120.0,
    exclusive=True,
)
