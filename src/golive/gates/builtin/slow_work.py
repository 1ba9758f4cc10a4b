"""
``slow-work``: writes stay fast while something slow runs behind them. Source: seed 004 (each write waited for the
materialised view to be refreshed).
"""

from __future__ import annotations

import asyncio

from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.behaviour import SlowWorkProbe


async def check(target: Target) -> Outcome:
    """PASS when every write beside the slow work is answered as declared, the slowest within its limit."""
    probe = target.required(SlowWorkProbe, "slow_work")
    client = Client(target)
    slow = asyncio.create_task(client.send(probe.trigger))
    seconds: list[float] = []
    problem: str | None = None
    try:
        await asyncio.sleep(0.05)
        for _ in range(probe.samples):
            answer = await client.send(probe.write)
            seconds.append(answer.seconds)
            problem = problem or difference(answer, probe.write)
        wrong = difference(await slow, probe.trigger)
    except NoAnswerError as error:
        return failed(str(error))
    finally:
        slow.cancel()
    if wrong or problem:
        return failed(f"{probe.trigger.path}: {wrong}" if wrong else f"{probe.write.path}: {problem}")
    worst = max(seconds)
    evidence = {"slowest_seconds": round(worst, 3), "samples": probe.samples}
    if worst > probe.latency_max:
        limit = f"limit {probe.latency_max:g} s"
        return failed(f"beside {probe.trigger.path}, the slowest write took {worst:.2f} s ({limit})", **evidence)
    return passed(f"beside {probe.trigger.path}, the slowest write took {worst * 1000:.0f} ms", **evidence)


GATE = Gate(
    "slow-work",
    "Writes stay fast while slow work runs behind them.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=120.0,
    exclusive=True,
)
