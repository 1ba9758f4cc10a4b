"""
``no-localhost``: no address of the developer's own machine in files that run in production. Source: seed 001, phase
0.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome
from golive.gates.target import Target

LOCAL = re.compile(
    r"(?:https?|wss?|redis|rediss|postgres|postgresql|amqp|mongodb)://(?:[^\s\"'`/@]*@)?"
    r"(?:localhost|127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[::1?\])(?![\w.-])[^\s\"'`<>)]*",
    re.IGNORECASE,
)
_COMMENT = ("#", "//", "*", "/*", "<!--")


async def check(target: Target) -> Outcome:
    """PASS when no URL in the production files points at this machine. Comments and docstrings do not count."""
    findings, count = await asyncio.to_thread(tree.scan, target, look)
    return tree.judge(
        findings, f"{count} files, no address of a developer's machine", "addresses of a developer's machine"
    )


def look(name: str, text: str) -> Iterator[tree.Finding]:
    """The local addresses in one file."""
    prose = _prose(text) if name.endswith(".py") else frozenset()
    for number, line in enumerate(text.splitlines(), 1):
        if number not in prose and not line.lstrip().startswith(_COMMENT):
            for match in LOCAL.finditer(line):
                yield tree.Finding(name, number, match[0][:100])


def _prose(text: str) -> frozenset[int]:
    """The lines of docstrings, and of other strings that stand alone: nothing runs them."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    alone = [node for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return frozenset(line for node in alone for line in range(node.lineno, (node.end_lineno or node.lineno) + 1))


GATE = Gate("no-localhost", "No production file points at a developer's machine.", Phase.PREFLIGHT, check)
