"""
``cardinality``: callers cannot make the metrics page grow. Source: seed 004 (unlimited route labels exhausted memory).
"""

from __future__ import annotations

import asyncio
import secrets

from golive.gates.builtin.metrics_registry import faults
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.behaviour import CardinalityProbe

_AT_ONCE = 10


async def check(target: Target) -> Outcome:
    """PASS when many invented paths and methods add few series."""
    probe = target.promise(CardinalityProbe) or CardinalityProbe()
    client = Client(target)
    before = await _series(client, target.metrics_path)
    if before is None:
        return unavailable(f"GET {target.metrics_path} is not answered 200: no series to count")
    marker = secrets.token_hex(6)
    numbers = iter(range(probe.requests))

    async def caller() -> None:
        for number in numbers:
            method = ("GET", "POST", "PUT", f"X{number}")[number % 4]
            await client.request(method, f"/golive-{marker}/{number}/items/{number * 7}?page={number}")

    await asyncio.gather(*(caller() for _ in range(_AT_ONCE)))
    after = await _series(client, target.metrics_path)
    if after is None:
        return failed(f"GET {target.metrics_path} is not answered 200 after {probe.requests} requests")
    grown = after - before
    evidence = {"series_before": before, "series_after": after, "requests": probe.requests}
    if grown > probe.series_growth_max:
        limit = probe.series_growth_max
        return failed(f"{probe.requests} invented paths made {grown} series more (limit {limit})", **evidence)
    return passed(f"{probe.requests} invented paths made {max(grown, 0)} series more", **evidence)


async def _series(client: Client, path: str) -> int | None:
    answer = await client.get(path)
    return faults(answer.body.decode("utf-8", "replace"))[1] if answer.status == 200 else None


GATE = Gate(
    "cardinality",
    "Invented paths and methods add few series to the metrics page.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=90.0,
    exclusive=True,
)
