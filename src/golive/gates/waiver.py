"""
Waivers: somebody with a name accepts a gate's failure, for a reason, until a day.

An expired waiver changes nothing and is named; so is one that nothing needed. Two waivers for one gate contradict
each other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from golive.errors import ConfigError, did_you_mean
from golive.gates.outcome import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Waiver:
    """*owner* accepts that *gate* does not pass, because of *reason*, up to and including *expires*."""

    gate: str
    owner: str
    reason: str
    expires: date


def by_gate(waivers: Iterable[Waiver], known: Collection[str]) -> Mapping[str, Waiver]:
    """
    The waivers by gate.

    Raises: ConfigError for a waiver without owner or reason, of a gate that is not *known*, and for two of the same.
    """
    faults: list[str] = []
    found: dict[str, Waiver] = {}
    for waiver in waivers:
        place = f"waiver of {waiver.gate}"
        if not waiver.owner.strip() or not waiver.reason.strip():
            faults.append(f"{place}: expected an owner and a reason, got {waiver.owner!r} and {waiver.reason!r}.")
        if waiver.gate not in known:
            faults.append(f"{place}: there is no such gate{did_you_mean(waiver.gate, list(known)) or '.'}")
        if waiver.gate in found:
            faults.append(f"{place}: expected one waiver per gate, got two. Keep the one that is meant.")
        found[waiver.gate] = waiver
    if faults:
        raise ConfigError(*faults)
    return found


def read_waivers(path: Path) -> list[Waiver]:
    """
    The waivers of a TOML file: ``[[waiver]]`` with ``gate``, ``owner``, ``reason`` and ``expires = 2026-03-31``.

    Raises: ConfigError with every fault found.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML, got something else ({error}).") from None
    tables = document.get("waiver", [])
    unknown = sorted(set(document) - {"waiver"})
    if unknown or not isinstance(tables, list):
        raise ConfigError(f"{path}: expected [[waiver]] tables only, got {', '.join(unknown) or '[waiver]'}.")
    faults: list[str] = []
    found = [_waiver(f"{path}: waiver {number}", table, faults) for number, table in enumerate(tables, 1)]
    if faults:
        raise ConfigError(*faults)
    return [waiver for waiver in found if waiver is not None]


def _waiver(place: str, table: object, faults: list[str]) -> Waiver | None:
    keys: dict[str, type] = {"gate": str, "owner": str, "reason": str, "expires": date}
    fields = table if isinstance(table, dict) else {}
    before = len(faults)
    faults += [f"{place}: unknown key {key}{did_you_mean(key, list(keys)) or '.'}" for key in fields if key not in keys]
    for key, kind in keys.items():
        value = fields.get(key)
        if not isinstance(value, kind) or isinstance(value, datetime):
            wanted = "a day such as 2026-03-31, without quotes" if kind is date else "text in quotes"
            faults.append(f"{place}: {key}: expected {wanted}, got {value!r}.")
    if len(faults) > before:
        return None
    return Waiver(fields["gate"], fields["owner"], fields["reason"], fields["expires"])


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
