"""
What a gate can say, and how it says it.

Four words, on purpose: a gate that could not run is not a pass, and a failure somebody accepted in writing is not one
either.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SENTENCE_MAX = 2000
"""Characters of a sentence; the whole story is in the evidence."""


class Verdict(enum.StrEnum):
    """How a gate ended."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    WAIVED = "WAIVED"
    """Failed or could not run, and somebody with a name accepted that until a date."""
    UNAVAILABLE = "UNAVAILABLE"
    """Could not run: no URL, nobody answers, a tool is missing, too slow, a defect in the gate. Never a pass."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    A verdict, the one sentence that says why, and what was seen.

    Attributes:
        sentence: one line; it quotes what services answer, so control characters are replaced and its length is
            bounded.
        evidence: JSON-able; figures with their unit in the name.
    """

    verdict: Verdict
    sentence: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clean = "".join(character if character.isprintable() else " " for character in self.sentence)
        shown = clean if len(clean) <= SENTENCE_MAX else clean[:SENTENCE_MAX] + " ..."
        object.__setattr__(self, "sentence", shown)


def passed(sentence: str, **evidence: Any) -> Outcome:
    """The service does what the gate asks."""
    return Outcome(Verdict.PASS, sentence, evidence)


def failed(sentence: str, **evidence: Any) -> Outcome:
    """The service does not; the sentence says what was expected and what was seen."""
    return Outcome(Verdict.FAIL, sentence, evidence)


def unavailable(sentence: str, **evidence: Any) -> Outcome:
    """Nothing was proven either way; the sentence says what was missing."""
    return Outcome(Verdict.UNAVAILABLE, sentence, evidence)
