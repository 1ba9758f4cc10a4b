"""
``findings``: no open finding of an audit is serious, and each that is called fixed is. Source: seed 002 (10 critical
issues "resolved", each with commit and lines that nobody checked).
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.git import git
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.release import FindingsProbe

_KEYS = {
    "id",
    "severity",
    "title",
    "status",
    "fixed_in",
    "files",
    "impact",
    "resolution",
    "link",
    "accepted_by",
    "until",
}
_STATES = ("open", "fixed", "accepted")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


async def check(target: Target) -> Outcome:
    """PASS when few enough are open, and every fixed one names a commit of this history and lines that exist."""
    probe = target.required(FindingsProbe, "findings")
    text = tree.read(target.root / probe.file) if target.root is not None else None
    if text is None:
        return unavailable(f"{probe.file}: cannot be read")
    try:
        entries = tomllib.loads(text)["finding"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        return unavailable(f"{probe.file}: expected [[finding]] tables, got something else ({error})")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return unavailable(f"{probe.file}: expected [[finding]] tables")
    problems = [problem for entry in entries for problem in await _entry(target, entry)]
    still_open = Counter(str(entry.get("severity")) for entry in entries if entry.get("status") == "open")
    for severity, most in probe.open_max.items():
        if still_open[severity] > most:
            titles = [
                str(entry["id"]) for entry in entries if entry.get("severity") == severity and entry["status"] == "open"
            ]
            problems.append(
                f"{still_open[severity]} {severity} findings are open (limit {most}): {', '.join(titles[:5])}"
            )
    counts = Counter(str(entry.get("status")) for entry in entries)
    evidence = {"counts": dict(counts), "open": dict(still_open)}
    if problems:
        return failed("; ".join(problems[:5]), problems=problems, **evidence)
    told = ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state])
    return passed(f"{len(entries)} findings: {told}", **evidence)


async def _entry(target: Target, entry: Mapping[str, Any]) -> list[str]:
    name = f"{entry.get('id', '?')}"
    problems = [f"{name}: unknown key {key}" for key in entry if key not in _KEYS]
    problems += [f"{name}: {key} is missing" for key in ("id", "severity", "title", "status") if not entry.get(key)]
    if entry.get("status") not in _STATES:
        problems.append(f"{name}: status is {entry.get('status')!r}, expected one of {', '.join(_STATES)}")
    if entry.get("status") == "accepted" and not (entry.get("accepted_by") and entry.get("until")):
        problems.append(f"{name}: accepted, without accepted_by and until")
    if entry.get("status") == "fixed":
        problems += await _fixed(target, name, entry)
    return problems


async def _fixed(target: Target, name: str, entry: Mapping[str, Any]) -> list[str]:
    commit = str(entry.get("fixed_in", ""))
    problems = []
    if not _COMMIT.fullmatch(commit):
        problems.append(f"{name}: fixed, without the commit in fixed_in")
    elif await git(target.root, "merge-base", "--is-ancestor", commit, "HEAD") is None:
        problems.append(f"{name}: fixed in {commit}, which is no commit of this history")
    for place in entry.get("files", []):
        file, _, lines = str(place).partition(":")
        text = await asyncio.to_thread(tree.read, target.root / file) if target.root is not None else None
        last = int(lines.rpartition("-")[2]) if re.fullmatch(r"\d+(-\d+)?", lines) else 0
        if text is None or last > len(text.splitlines()):
            problems.append(f"{name}: {place} does not exist any more")
    return problems


GATE = Gate("findings", "No open finding is serious, and each fixed one is.", Phase.PREFLIGHT, check, timeout=120.0)
