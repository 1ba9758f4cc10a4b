"""What a run of gates found, and the one word it comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from golive.gates.gate import Phase
from golive.gates.outcome import Outcome, Verdict
from golive.timing import format_instant
from golive.version import __version__


@dataclass(frozen=True, slots=True)
class Result:
    """One gate's end."""

    gate: str
    phase: Phase
    outcome: Outcome
    seconds: float

    @property
    def good(self) -> bool:
        """PASS, or accepted in writing."""
        return self.outcome.verdict in (Verdict.PASS, Verdict.WAIVED)


@dataclass(frozen=True, slots=True)
class Report:
    """
    All results, in the order of the plan.

    Attributes:
        seconds: wall-clock length of the run.
        commit, version: of what was judged, as far as they are known.
        profile: whose gates these are.
        compared: with the last GO, as a sentence; empty without one.
    """

    url: str
    environment: str
    started_at: datetime
    seconds: float
    results: Sequence[Result]
    commit: str = ""
    version: str = ""
    profile: str = ""
    compared: str = ""

    @property
    def go(self) -> bool:
        """True when at least one gate ran and every one is PASS or WAIVED."""
        return bool(self.results) and all(result.good for result in self.results)

    @property
    def verdict(self) -> str:
        """``GO`` or ``NO-GO``."""
        return "GO" if self.go else "NO-GO"

    @property
    def counts(self) -> Counter[Verdict]:
        """How many gates ended how."""
        return Counter(result.outcome.verdict for result in self.results)

    @property
    def sentence(self) -> str:
        """The verdict with its reasons: ``NO-GO: 1 of 4 gates failed: health: ...``."""
        bad = [result for result in self.results if not result.good]
        if not self.results:
            return "NO-GO: no gate ran"
        if bad:
            reasons = "; ".join(f"{result.gate}: {result.outcome.sentence}" for result in bad)
            return f"NO-GO: {len(bad)} of {len(self.results)} gates did not pass. {reasons}"
        waived = self.counts[Verdict.WAIVED]
        return f"GO: {len(self.results)} of {len(self.results)} gates passed" + (f", {waived} waived" if waived else "")

    def to_json(self) -> dict[str, Any]:
        """The report as ``-o json`` prints it."""
        from golive.gates.score import score_of  # it is about reports, and this is one

        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "passed": sum(result.good for result in self.results),
            "total": len(self.results),
            "counts": {str(verdict): self.counts[verdict] for verdict in Verdict},
            "url": self.url,
            "environment": self.environment,
            "commit": self.commit,
            "version": self.version,
            "profile": self.profile,
            "compared": self.compared,
            "score": score_of(self).points,
            "deductions": score_of(self).sentence,
            "started_at": format_instant(self.started_at),
            "seconds": round(self.seconds, 3),
            "golive": __version__,
            "gates": [
                {
                    "gate": result.gate,
                    "phase": str(result.phase),
                    "verdict": str(result.outcome.verdict),
                    "sentence": result.outcome.sentence,
                    "seconds": round(result.seconds, 3),
                    "evidence": dict(result.outcome.evidence),
                }
                for result in self.results
            ],
        }
