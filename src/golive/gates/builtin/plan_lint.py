"""
``plan-lint``: no two settings contradict each other across layers. Nothing runs; it is arithmetic on golive.toml.

The rules are in :mod:`golive.gates.planlint`. What a rule compares and nobody wrote is not judged, and the evidence
says whether the rules about production traffic had a rate to go by.
"""

from __future__ import annotations

from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.planlint import capacity, lifetimes, metrics, samples, table
from golive.gates.target import Target
from golive.promises.state import PlanLintProbe

GROUPS = (samples, lifetimes, capacity, table, metrics)


async def check(target: Target) -> Outcome:
    """PASS when no rule finds anything."""
    facts = target.plan
    if facts is None:
        return unavailable("no plan: the settings of golive.toml were not handed in")
    findings = [finding for group in GROUPS for finding in group.check(target, facts)]
    probe = target.promise(PlanLintProbe)
    rate = probe.rate if probe is not None else 0.0
    evidence = {
        "rate_per_second": rate or None,
        "findings": [
            {"rule": found.rule, "places": list(found.places), "message": found.message} for found in findings
        ],
    }
    if findings:
        return failed("; ".join(map(str, findings[:5])), **evidence)
    if not rate:
        return passed("no contradiction (rules about traffic need gates.plan_lint.rate)", **evidence)
    return passed(f"no contradiction, at {rate:g} requests a second", **evidence)


GATE = Gate("plan-lint", "No two settings contradict each other across layers.", Phase.PREFLIGHT, check)
