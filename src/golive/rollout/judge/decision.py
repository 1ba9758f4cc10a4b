"""What one look at the evidence came to. The same sentences go to command line, console, webhook and report."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from golive.slo.row import Verdict


class Action(enum.StrEnum):
    """What the controller should do now. A value compares equal to its plain string."""

    PROMOTE = "promote"
    """Go to the next stage; at the last stage: the rollout is done."""
    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """
    One row of the SLO table, or of the comparison golive always makes.

    Attributes:
        name: the row, e.g. ``error_rate`` or ``latency_p95``.
        verdict: PASS, FAIL or INCONCLUSIVE (which neither passes nor fails).
        sentence: the figures, the bar, and what would change the verdict.
    """

    name: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """
    One decision of the judge.

    Attributes:
        action: promote, hold or rollback.
        confidence: 0..100. How sure it is that the canary is not worse than the margin: of canaries that are worse
            from the start, at most one in twenty ever reaches 95. At most 49 while a regression is suspected.
        rows: one verdict per row.
        reason: one sentence for the whole.
        needs_human: the stage reached its ceiling undecided; more waiting will probably not help.
        incident: stable itself is in trouble. Hold and page; nothing is blamed on the canary.
        evidence: log10 of the evidence of a regression; a rollback needs log10(1/alpha), by default 2.
        harm_bound: the largest excess of failures still compatible with the evidence, 0..1.
    """

    action: Action
    confidence: float
    rows: tuple[RowVerdict, ...]
    reason: str
    needs_human: bool = False
    incident: bool = False
    evidence: float = 0.0
    harm_bound: float = 1.0

    def to_dict(self) -> dict[str, object]:
        """Plain JSON, for journal and API."""
        return {
            "action": str(self.action),
            "confidence": round(self.confidence, 1),
            "reason": self.reason,
            "needs_human": self.needs_human,
            "incident": self.incident,
            "evidence": round(self.evidence, 3),
            "harm_bound": self.harm_bound,
            "rows": [{"name": row.name, "verdict": str(row.verdict), "sentence": row.sentence} for row in self.rows],
        }
