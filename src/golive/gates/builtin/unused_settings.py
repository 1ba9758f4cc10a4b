"""
``unused-settings``: nobody sets variables that no code reads any more. Source: seed 003 (remove unused environment
variables).
"""

from __future__ import annotations

import asyncio

from golive.gates import tree
from golive.gates.builtin.env_example import KEY
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, unavailable
from golive.gates.target import Target


async def check(target: Target) -> Outcome:
    """PASS when each variable of the example file stands somewhere in the tree besides."""
    return await asyncio.to_thread(_check, target)


def _check(target: Target) -> Outcome:
    example = target.files.env_example
    everything = []
    for name, path in tree.files(target):
        if name != example and not tree.matches(name, ("**/*.md", "docs/**", "**/*.lock")):
            everything.append(tree.read(path) or "")
    text = tree.read(target.root / example) if target.root is not None else None
    if text is None:
        return unavailable(f"{example}: cannot be read")
    listed = [(number, match[1]) for number, line in enumerate(text.splitlines(), 1) if (match := KEY.match(line))]
    whole = "\n".join(everything)
    findings = [
        tree.Finding(example, number, f"{name} is set and never read") for number, name in listed if name not in whole
    ]
    return tree.judge(findings, f"{len(listed)} variables of {example}, all in use", "variables nobody reads")


GATE = Gate("unused-settings", "No variable is set that nobody reads.", Phase.PREFLIGHT, check)
