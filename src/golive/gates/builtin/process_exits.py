"""
``process-exits``: no code on a request's path ends the whole process. Source: seed 000 ("no process.exit() in
critical paths").

Python is parsed, not searched: an exit in ``main()``, in ``__main__.py`` or under ``if __name__ == "__main__"`` is
where exits belong. In JavaScript and TypeScript ``process.exit`` is looked for outside comments.
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

_CALLS = {"sys.exit", "os._exit", "os.abort", "exit", "quit"}
_SCRIPT = re.compile(r"\bprocess\.(?:exit|abort)\s*\(")
_COMMENT = ("//", "*", "/*")


async def check(target: Target) -> Outcome:
    """PASS when nothing but a program's own end exits the process."""
    findings, count = await asyncio.to_thread(tree.scan, target, look)
    return tree.judge(findings, f"{count} files, no exit of the process outside main()", "exits of the whole process")


def look(name: str, text: str) -> Iterator[tree.Finding]:
    """The exits in one file; a Python file that cannot be parsed is a finding."""
    if name.endswith(".py"):
        if not name.endswith("__main__.py"):
            yield from _python(name, text)
    elif not name.endswith(".html"):
        for number, line in enumerate(text.splitlines(), 1):
            if _SCRIPT.search(line) and not line.lstrip().startswith(_COMMENT):
                yield tree.Finding(name, number, line.strip()[:100])


def _python(name: str, text: str) -> Iterator[tree.Finding]:
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield tree.Finding(name, getattr(error, "lineno", None) or 1, f"cannot be parsed: {error}")
        return
    yield from _walk(name, module)


def _walk(name: str, node: ast.AST) -> Iterator[tree.Finding]:
    for child in ast.iter_child_nodes(node):
        if _is_program(child):
            continue
        word = _exit(child)
        if word:
            yield tree.Finding(name, getattr(child, "lineno", 1), word)
        yield from _walk(name, child)


def _is_program(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == "main"
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) and "__main__" in ast.unparse(node.test)


def _exit(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
        return f"{name}()" if name in _CALLS else None
    if isinstance(node, ast.Raise) and node.exc is not None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return "raise SystemExit" if isinstance(raised, ast.Name) and raised.id == "SystemExit" else None
    return None


GATE = Gate("process-exits", "No code outside main() ends the whole process.", Phase.PREFLIGHT, check)
