"""
``prior-evidence``: it was GO elsewhere before, for the same commit, and the evidence is whole. Source: seed 001 (smoke
against staging *and* production), seed 003 (dev and staging first).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from golive.bundle import open_bundle
from golive.errors import StateError
from golive.gates.gate import Gate, Phase
from golive.gates.git import head
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.release import PriorBundle, PriorEvidenceProbe
from golive.timing import parse_instant


async def check(target: Target) -> Outcome:
    """PASS when every bundle is whole, says GO, and is of the right environment, commit and age."""
    probe = target.required(PriorEvidenceProbe, "prior_evidence")
    if target.root is None:
        return unavailable("no project folder: bundles are files of it")
    commit = await head(target.root)
    problems = []
    for wanted in probe.bundles:
        problem = await asyncio.to_thread(_problem, target.root / wanted.file, wanted, commit)
        problems += [f"{wanted.file}: {problem}"] if problem else []
    if problems:
        return failed("; ".join(problems), problems=problems)
    return passed(
        f"{len(probe.bundles)} bundles are whole and say GO: {', '.join(each.file for each in probe.bundles)}"
    )


def _problem(path: Path, wanted: PriorBundle, commit: str | None) -> str | None:
    if not path.exists():
        return f"there is no evidence{f' of {wanted.environment}' if wanted.environment else ''}"
    try:
        bundle = open_bundle(path)
        changed = next(iter(bundle.findings()), None)
        meta = bundle.meta
        age = (datetime.now(UTC) - parse_instant(str(meta["started_at"]))).total_seconds()
    except (StateError, KeyError, ValueError) as error:
        return f"is no evidence of gates ({error})"
    if changed:
        return f"was changed: {changed}"
    if meta.get("verdict") != "GO":
        return f"says {meta.get('verdict')}"
    if wanted.environment and meta.get("environment") != wanted.environment:
        return f"is of {meta.get('environment') or 'no environment'}, expected {wanted.environment}"
    if wanted.same_commit and (commit is None or meta.get("commit") != commit):
        return f"is of commit {str(meta.get('commit'))[:12]}, this is {str(commit)[:12]}"
    if age > wanted.age_max:
        return f"is {age / 3600:.0f} h old (limit {wanted.age_max / 3600:.0f} h)"
    return None


GATE = Gate("prior-evidence", "It was GO elsewhere before, for the same commit.", Phase.PREFLIGHT, check)
