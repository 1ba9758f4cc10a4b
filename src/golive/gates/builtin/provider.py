"""
``provider``: connections are opened in one place; everybody else asks it. Source: seed 000 (DB singleton pattern, "no
connection leaks").
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, unavailable
from golive.gates.target import Target
from golive.promises.release import ProviderProbe


async def check(target: Target) -> Outcome:
    """PASS when no Python file but the allowed ones calls one of the functions that open connections."""
    probe = target.required(ProviderProbe, "provider")

    def look(name: str, text: str) -> Iterator[tree.Finding]:
        if name.endswith(".py") and not tree.matches(name, probe.allowed):
            yield from _calls(name, text, probe.calls)

    findings, count = await asyncio.to_thread(tree.scan, target, look)
    if not count:
        return unavailable("no source file to look at")
    allowed = ", ".join(probe.allowed)
    return tree.judge(
        findings, f"{count} files, connections are opened in {allowed} only", "places open connections of their own"
    )


def _calls(name: str, text: str, calls: tuple[str, ...]) -> Iterator[tree.Finding]:
    try:
        nodes = ast.walk(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # the gate syntax says so
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if called in calls:
                yield tree.Finding(name, node.lineno, f"{ast.unparse(node.func)}()")


GATE = Gate("provider", "Connections are opened in one place.", Phase.PREFLIGHT, check)
