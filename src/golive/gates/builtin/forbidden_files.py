"""
``forbidden-files``: what must not be shipped is not in the tree: ``._*`` droppings, keys, filled-in ``.env`` files.
"""

from __future__ import annotations

import asyncio

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome
from golive.gates.target import Target


async def check(target: Target) -> Outcome:
    """PASS when no file fits a forbidden pattern."""
    findings, count = await asyncio.to_thread(_look, target)
    return tree.judge(findings, f"{count} files, none of them forbidden", "files that must not be shipped")


def _look(target: Target) -> tuple[list[tree.Finding], int]:
    findings, count = [], 0
    for name, _ in tree.files(target):
        count += 1
        pattern = next((glob for glob in target.files.forbidden if tree.matches(name, (glob,))), None)
        if pattern is not None:
            findings.append(tree.Finding(name, 0, f"fits {pattern}"))
    return findings, count


GATE = Gate("forbidden-files", "No key, filled-in .env or dropping is in the tree.", Phase.PREFLIGHT, check)
