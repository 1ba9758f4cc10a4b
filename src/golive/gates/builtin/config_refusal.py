"""
``config-refusal``: a wrong configuration stops the start, by name, instead of the first request. Source: seed 004 (CORS
origins were checked at run time).
"""

from __future__ import annotations

import asyncio

from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.process import started
from golive.gates.target import Target
from golive.promises.operation import ConfigRefusalProbe, RefusalCase


async def check(target: Target) -> Outcome:
    """PASS when the service ends with an error in each case, and says which setting was wrong."""
    probe = target.required(ConfigRefusalProbe, "config_refusal")
    problems = await asyncio.gather(*(_case(target, probe, case) for case in probe.cases))
    wrong = [problem for problem in problems if problem]
    if wrong:
        return failed("; ".join(wrong), problems=wrong)
    return passed(f"{len(probe.cases)} wrong configurations refuse the start and say why")


async def _case(target: Target, probe: ConfigRefusalProbe, case: RefusalCase) -> str | None:
    what = ", ".join(f"{name}={value}" for name, value in case.env.items())
    async with started(probe.command, case.env, target.root) as running:
        try:
            code = await asyncio.wait_for(running.process.wait(), probe.within)
        except TimeoutError:
            return f"with {what} the service runs on ({probe.within:g} s)"
        await asyncio.sleep(0.05)
        said = running.last_words
    if code == 0:
        return f"with {what} it ends with 0, as if all were well"
    if case.names.lower() not in said.lower():
        last = said.strip().rpartition("\n")[2][:150]
        return f"with {what} it ends with {code} and does not name {case.names}: {last or 'it says nothing'}"
    return None


GATE = Gate(
    "config-refusal",
    "A wrong configuration refuses the start and names the setting.",
    Phase.PREFLIGHT,
    check,
    timeout=120.0,
)
