"""
Gates prove themselves: each planted defect turns exactly its gate red, and the healthy service turns all of them green.

The name before the colon is the gate; what depends on it is then UNAVAILABLE, which the test accepts and checks.
"""

import asyncio

import pytest

from golive.gates import catalogue, run_gates

pytestmark = [pytest.mark.process, pytest.mark.slow]

DEFECTS = [
    "startup: never ready",
    "health: slow",
    "health: wrong body",
    "health: no liveness path",
    "health: everything is 200",
    "stability: health fails under load",
    "stability: a broken request restarts the process",
    "smoke: wrong status",
    "smoke: a number as text",
    "smoke: a header is missing",
    "routes: 302 instead of 307",
    "routes: the redirect loses the query",
    "routes: 422 for a missing body",
    "bad-input: broken JSON is a server error",
    "bad-input: a hidden request is answered",
    "auth: open",
    "auth: unsigned tokens are believed",
    "cors: compares the beginning",
    "cors: echoes every origin",
    "cors: the shop itself is refused",
    "cors: no Vary",
    "idempotency: the key is ignored",
    "idempotency: check and write are two steps",
    "idempotency: another body is accepted",
    "async-accept: answers 200",
    "async-accept: works before it answers",
    "async-accept: no way to follow",
    "job-lifecycle: goes backwards",
    "job-lifecycle: never ends",
    "job-lifecycle: fails",
    "job-lifecycle: unknown jobs exist",
    "metrics-registry: a metric registered twice",
    "metrics-registry: unparsable",
    "metrics-registry: declared but never observed",
    "redaction: personal data in the log",
    "load: slow",
    "load: one in five fails",
    "shutdown: the request in flight is lost",
    "shutdown: SIGTERM is ignored",
]
BEHAVIOUR = [name for name in catalogue() if any(defect.startswith(f"{name}:") for defect in DEFECTS)]


async def test_the_healthy_service_is_green_throughout(start_services, prove) -> None:  # type: ignore[no-untyped-def]
    """Otherwise red would mean nothing."""
    (target,) = start_services("")
    prove(await run_gates(BEHAVIOUR, target), "")


@pytest.mark.parametrize("gate", BEHAVIOUR)
async def test_each_planted_defect_turns_exactly_its_gate_red(start_services, prove, gate: str) -> None:  # type: ignore[no-untyped-def]
    """Not a neighbour, and not none. The defects of a gate are judged at the same time, each in its own service."""
    defects = [defect for defect in DEFECTS if defect.partition(":")[0] == gate]
    others = [name for name in BEHAVIOUR if name not in ("shutdown", "load", "redaction", "stability")]
    targets = start_services(*defects)
    reports = await asyncio.gather(*(run_gates({*others, gate}, target) for target in targets))
    assert defects, f"{gate} could be green for ever"
    for defect, report in zip(defects, reports, strict=True):
        prove(report, defect)
