"""
``claims``: an improvement somebody claims is measured again, both sides in one run. Source: seed 004 ("80 % faster",
"95 % less", without one measurement).
"""

from __future__ import annotations

import json
from typing import Any

from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.process import run_to_end
from golive.gates.target import Target
from golive.promises.release import Claim, ClaimsProbe


async def check(target: Target) -> Outcome:
    """PASS when each claim's own measurement shows at least the improvement it claims."""
    probe = target.required(ClaimsProbe, "claims")
    table: list[dict[str, Any]] = []
    for claim in probe.claims:
        measured = await _measure(target, claim)
        if measured is None:
            line = '{"before": 2.0, "after": 1.0}'
            return unavailable(f"{claim.component}: expected {line} as the last line of its output")
        before, after = measured
        improvement = 1 - after / before
        row = {"before": before, "after": after, "improvement": round(improvement, 4), "claimed": claim.improvement_min}
        table.append({"component": claim.component, **row})
    shown = "; ".join(
        f"{row['component']}: {row['before']:g} -> {row['after']:g}, {row['improvement']:.0%}" for row in table
    )
    wrong = [
        f"{row['component']} ({row['claimed']:.0%} claimed)" for row in table if row["improvement"] < row["claimed"]
    ]
    if wrong:
        return failed(f"not shown: {', '.join(wrong)}. {shown}", table=table)
    return passed(shown or "nothing is claimed", table=table)


async def _measure(target: Target, claim: Claim) -> tuple[float, float] | None:
    output = await run_to_end(claim.run, {}, target.root, claim.timeout, url=target.url)
    try:
        last = json.loads(output.strip().rpartition("\n")[2])
        before, after = float(last["before"]), float(last["after"])
    except (ValueError, KeyError, TypeError):
        return None
    return (before, after) if before > 0 and after >= 0 else None


GATE = Gate(
    "claims", "Claimed improvements are there when measured again.", Phase.LOAD, check, timeout=900.0, exclusive=True
)
