"""
The readiness score: how far it is, in one number with every deduction named. Pure, deterministic, and never the
verdict: 99 of 100 with one red gate is NO-GO.
"""

from __future__ import annotations

from dataclasses import dataclass

from golive.gates.outcome import Verdict
from golive.gates.report import Report

_SHARE = {Verdict.PASS: 0.0, Verdict.WAIVED: 0.5, Verdict.FAIL: 1.0, Verdict.UNAVAILABLE: 1.0}


@dataclass(frozen=True, slots=True)
class Deduction:
    """*points* of 100 that *gate* costs, and why."""

    gate: str
    points: float
    why: str


@dataclass(frozen=True, slots=True)
class Score:
    """*points* of 100, and what is missing to them."""

    points: float
    deductions: tuple[Deduction, ...]

    @property
    def sentence(self) -> str:
        """``72.5 of 100: -25 cors (FAIL), -2.5 load (WAIVED)``."""
        told = ", ".join(f"-{each.points:g} {each.gate} ({each.why})" for each in self.deductions)
        return f"{self.points:g} of 100{': ' + told if told else ''}"


def score_of(report: Report) -> Score:
    """Every gate is worth the same; red and not run cost all of it, accepted in writing half. No gate: 0."""
    count = len(report.results)
    if not count:
        return Score(0.0, ())
    deductions = [
        Deduction(result.gate, round(100 / count * _SHARE[result.outcome.verdict], 1), str(result.outcome.verdict))
        for result in report.results
        if _SHARE[result.outcome.verdict]
    ]
    lost = sum(100 / count * _SHARE[result.outcome.verdict] for result in report.results)
    return Score(round(100 - lost, 1), tuple(sorted(deductions, key=lambda each: (-each.points, each.gate))))
