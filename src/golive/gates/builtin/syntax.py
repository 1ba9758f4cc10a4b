"""``syntax``: every file that runs in production can be read by what runs it. Source: seed 000 (syntax validation)."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Iterator

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome
from golive.gates.target import Target

_LEFT_OVER = ("<<<<<<< ", ">>>>>>> ")


async def check(target: Target) -> Outcome:
    """PASS when Python compiles, JSON parses, and no file holds the marks of an unfinished merge."""
    findings, count = await asyncio.to_thread(_look, target)
    return tree.judge(findings, f"{count} files can be read", "files cannot be read by what runs them")


def _look(target: Target) -> tuple[list[tree.Finding], int]:
    findings: list[tree.Finding] = []
    count = 0
    for name, path in tree.files(target):
        wanted = (*target.files.source, "**/*.json", "**/*.toml", "**/*.sql")
        if not tree.matches(name, wanted) or tree.matches(name, target.files.exclude):
            continue
        text = tree.read(path)
        if text is not None:
            count += 1
            findings += _file(name, text)
    return findings, count


def _file(name: str, text: str) -> Iterator[tree.Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_LEFT_OVER):
            yield tree.Finding(name, number, "an unfinished merge")
            return
    try:
        if name.endswith(".py"):
            ast.parse(text)
        elif name.endswith(".json"):
            json.loads(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield tree.Finding(
            name, getattr(error, "lineno", None) or 1, f"cannot be parsed: {getattr(error, 'msg', error)}"
        )


GATE = Gate("syntax", "Every file that runs in production can be parsed.", Phase.PREFLIGHT, check)
