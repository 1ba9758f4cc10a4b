"""
What only a person can say, as a gate: signed by name, bound to what was looked at, and void when that changes.

An attestation is a line in a ledger: who, in which role, when, and the hash of the evidence as it was. The ledger is
append-only and each line holds the hash of the one before, so that a line that was altered or taken out shows. A line
counts while its evidence is unchanged, it has not expired, nobody withdrew it, and whoever said it may say it: a person
of the role, and not the author of what is attested.

Left out: proof of identity. Names are as good as the account that ran ``golive attest``; a team that needs more keeps
the ledger where only its review process may write.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from golive.errors import RefusedError, StateError, UnavailableError
from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.git import git
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.release import AttestationProbe
from golive.timing import format_instant, parse_instant

GENESIS = "0" * 64
LEDGER_BYTES_MAX = 16 * 1024 * 1024
NOTE_MAX = 2000


@dataclass(frozen=True, slots=True)
class Attestation:
    """
    One line of the ledger.

    Attributes:
        evidence: hash of the files looked at; empty when the gate names none.
        withdrawn: True takes back what the same person said before.
    """

    gate: str
    statement: str
    who: str
    role: str
    at: datetime
    evidence: str
    note: str
    withdrawn: bool = False


def attestation_gate(name: str, probe: AttestationProbe, ledger: Path) -> Gate:
    """*probe* as a gate called *name*, answered from *ledger*."""

    async def check(target: Target) -> Outcome:
        lines = await asyncio.to_thread(read_ledger, ledger)
        evidence = await asyncio.to_thread(evidence_hash, target, probe)
        return _judge(name, probe, lines, evidence, await author_of(target, probe), datetime.now(UTC))

    return Gate(name, f"{probe.role}: {probe.statement}", Phase.PREFLIGHT, check)


def _judge(
    name: str, probe: AttestationProbe, lines: list[Attestation], evidence: str, author: tuple[str, ...], now: datetime
) -> Outcome:
    said: dict[str, Attestation] = {}
    for line in lines:
        if line.gate == name:
            said[line.who] = line
    valid, reasons = [], []
    for line in said.values():
        reason = _void(probe, line, evidence, author, now)
        if reason is None:
            valid.append(line)
        else:
            reasons.append(f"{line.who}: {reason}")
    told = {"signed_by": [line.who for line in valid], "evidence_sha256": evidence, "void": reasons}
    if len(valid) >= max(probe.needed, 1):
        names = ", ".join(f"{line.who} ({line.role}, {format_instant(line.at)})" for line in valid)
        return passed(f"{probe.statement} Said by {names}", **told)
    missing = f"{len(valid)} of {max(probe.needed, 1)} people of {probe.role} have said: {probe.statement}"
    return failed(f"{missing}{' Void: ' + '; '.join(reasons) if reasons else ''} (golive attest {name})", **told)


def _void(
    probe: AttestationProbe, line: Attestation, evidence: str, author: tuple[str, ...], now: datetime
) -> str | None:
    """Why *line* does not count, or None."""
    if line.withdrawn:
        return "withdrew it"
    if line.who not in probe.people:
        return f"is not of {probe.role}"
    if line.who.lower() in author:
        return "is the author, and may not approve the own work"
    if line.statement != probe.statement:
        return "said it about another statement"
    if line.evidence != evidence:
        return "the evidence was changed since"
    age = now - line.at
    if age > timedelta(seconds=probe.valid_for):
        return f"expired, said {age.days} days ago"
    if age < timedelta(minutes=-5):
        return "is dated in the future"
    return None


async def attest(
    name: str, probe: AttestationProbe, target: Target, ledger: Path, who: str, note: str = "", withdrawn: bool = False
) -> Attestation:
    """
    Write into *ledger* that *who* says it.

    Raises: RefusedError for somebody who may not say it; UnavailableError when there is no evidence to bind it to;
    StateError when the ledger was altered or cannot be written.
    """
    if who not in probe.people:
        raise RefusedError(f"{name}: expected somebody of {probe.role} ({', '.join(probe.people)}), got {who}.")
    if not withdrawn and who.lower() in await author_of(target, probe):
        raise RefusedError(f"{name}: {who} is the author of this version. Somebody else must look at it.")
    if len(note) > NOTE_MAX:
        raise RefusedError(f"{name}: expected a note of at most {NOTE_MAX} characters, got {len(note)}.")
    evidence = await asyncio.to_thread(evidence_hash, target, probe)
    line = Attestation(name, probe.statement, who, probe.role, datetime.now(UTC), evidence, note, withdrawn)
    await asyncio.to_thread(_append, ledger, line)
    return line


async def author_of(target: Target, probe: AttestationProbe) -> tuple[str, ...]:
    """Whoever made what is attested, under the names git knows: name, address, and its local part; lower case."""
    if probe.author:
        return (probe.author.lower(),)
    try:
        found = await git(target.root, "log", "-1", "--format=%an%n%ae")
    except UnavailableError:
        return ()
    names = [line.strip().lower() for line in (found or "").splitlines() if line.strip()]
    return (*names, *(name.partition("@")[0] for name in names if "@" in name))


def evidence_hash(target: Target, probe: AttestationProbe) -> str:
    """
    The hash of names and contents of the files *probe* names; empty when it names none.

    Raises: UnavailableError when it names some and there are none, or one is too large to be read.
    """
    if not probe.evidence:
        return ""
    found = [(name, path) for name, path in tree.files(target) if tree.matches(name, probe.evidence) and path.is_file()]
    if not found:
        raise UnavailableError(f"no evidence: no file fits {', '.join(probe.evidence)}")
    whole = hashlib.sha256()
    for name, path in sorted(found):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UnavailableError(f"{name}: cannot be read ({error.strerror})") from None
        whole.update(f"{digest}  {name}\n".encode())
    return whole.hexdigest()


def read_ledger(path: Path) -> list[Attestation]:
    """
    The lines of the ledger, oldest first; none when there is no ledger yet.

    Raises: StateError when a line was altered, or taken out of the middle.
    """
    try:
        if path.stat().st_size > LEDGER_BYTES_MAX:
            raise StateError(f"{path}: expected at most {LEDGER_BYTES_MAX} bytes of attestations.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"{path}: cannot be read ({error}).") from None
    previous, lines = GENESIS, []
    for number, raw in enumerate(text.splitlines(), 1):
        try:
            entry = json.loads(raw)
            told, body = entry.pop("hash"), entry
            whole = _hash(body) == told and body["previous"] == previous
            lines.append(_attestation(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise StateError(f"{path}:{number}: this line, or one before it, was altered. Nothing in it counts.")
        previous = told
    return lines


def _append(path: Path, line: Attestation) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            read_ledger(path)
            file.seek(0)
            last = file.read().splitlines()[-1:]
            previous = str(json.loads(last[0])["hash"]) if last else GENESIS
            body = {
                "gate": line.gate, "statement": line.statement, "who": line.who, "role": line.role,
                "at": format_instant(line.at), "evidence": line.evidence, "note": line.note,
                "withdrawn": line.withdrawn, "previous": previous,
            }  # fmt: skip
            file.write(json.dumps({**body, "hash": _hash(body)}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error.strerror}).") from None


def _attestation(body: Mapping[str, Any]) -> Attestation:
    return Attestation(
        str(body["gate"]), str(body["statement"]), str(body["who"]), str(body["role"]), parse_instant(body["at"]),
        str(body["evidence"]), str(body["note"]), bool(body["withdrawn"]),
    )  # fmt: skip


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
