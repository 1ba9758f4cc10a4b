"""
Waivers: somebody with a name accepts a gate's failure, for a reason, until a day.

An expired waiver changes nothing and is named; so is one that nothing needed. Two waivers for one gate contradict
each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from golive.errors import ConfigError
from golive.gates.outcome import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Waiver:
    """*owner* accepts that *gate* does not pass, because of *reason*, up to and including *expires*."""

    gate: str
    owner: str
    reason: str
    expires: date


def by_gate(waivers: Iterable[Waiver]) -> Mapping[str, Waiver]:
    """
    The waivers by gate.

    Raises: ConfigError for a waiver without owner or reason, and for two of the same gate.
    """
    faults: list[str] = []
    found: dict[str, Waiver] = {}
    for waiver in waivers:
        place = f"waiver of {waiver.gate}"
        if not waiver.owner.strip() or not waiver.reason.strip():
            faults.append(f"{place}: expected an owner and a reason, got {waiver.owner!r} and {waiver.reason!r}.")
        if waiver.gate in found:
            faults.append(f"{place}: expected one waiver per gate, got two. Keep the one that is meant.")
        found[waiver.gate] = waiver
    if faults:
        raise ConfigError(*faults)
    return found


def apply(outcome: Outcome, waiver: Waiver | None, today: date) -> Outcome:
    """
    *outcome* as it counts on *today*: a waiver in force turns FAIL and UNAVAILABLE into WAIVED, an expired one is
    told.
    """
    if waiver is None or outcome.verdict is Verdict.PASS:
        return outcome
    evidence = {
        **outcome.evidence,
        "waiver": {
            "owner": waiver.owner, "reason": waiver.reason, "expires": waiver.expires.isoformat(),
            "instead_of": str(outcome.verdict),
        },
    }  # fmt: skip
    if today > waiver.expires:
        sentence = f"{outcome.sentence} (the waiver of {waiver.owner} expired on {waiver.expires})"
        return Outcome(Verdict.FAIL, sentence, evidence)
    accepted = f"accepted by {waiver.owner} until {waiver.expires}: {waiver.reason}"
    return Outcome(Verdict.WAIVED, f"{outcome.sentence} ({accepted})", evidence)
