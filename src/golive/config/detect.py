"""
Finds the ASGI app of a project by reading its source, never by importing it: importing runs code, and may be slow.

An app is a name at the top of a module that is assigned ``FastAPI()``, ``Starlette()``, ``Litestar()``, ``Quart()`` or
the result of a factory such as ``create_app()`` defined or imported there.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FRAMEWORKS = {
    "FastAPI": ("fastapi", "fastapi.applications"),
    "Starlette": ("starlette", "starlette.applications"),
    "Litestar": ("litestar", "litestar.app"),
    "Quart": ("quart", "quart.app"),
}
FILES_MAX = 5000
"""A folder with more Python files than this is not one service; the search stops there (``Findings.truncated``)."""
BYTES_MAX = 1024 * 1024
_SKIPPED = {"tests", "test", "docs", "examples", "benchmarks", "node_modules", "site-packages", "build", "dist"}
_SKIPPED |= {"venv", "env", "migrations", "__pycache__"}
_FACTORY = re.compile(r"(create|make|build|get)_(asgi_)?app(lication)?")


@dataclass(frozen=True, slots=True)
class FoundApp:
    """
    Attributes:
        app: import string, ``checkout.main:app``.
        folder: what must be on the import path, relative to the project: ``.`` or ``src``.
        where: ``checkout/main.py:12``.
        framework: ``FastAPI``, or ``create_app()`` for the result of a factory.
    """

    app: str
    folder: str
    where: str
    framework: str


@dataclass(frozen=True, slots=True)
class Findings:
    """
    What a search found.

    Attributes:
        factories: functions that would make an app but whose result nobody assigns.
        truncated: there were more than :data:`FILES_MAX` files; the rest was not read.
    """

    apps: tuple[FoundApp, ...]
    factories: tuple[str, ...]
    files: int
    truncated: bool


def search(root: Path) -> Findings:
    """Every app in the Python files below *root*, in the order of their paths. Unreadable files are passed over."""
    apps: list[FoundApp] = []
    factories: list[str] = []
    files = 0
    for file in _python_files(root):
        if files == FILES_MAX:
            return Findings(tuple(apps), tuple(factories), files, truncated=True)
        files += 1
        module = _module(file.relative_to(root))
        tree = _parse(file) if module else None
        if module is None or tree is None:
            continue
        name, folder = module
        where = file.relative_to(root).as_posix()
        reader = _Reader(tree)
        apps += [FoundApp(f"{name}:{target}", folder, f"{where}:{line}", made) for target, line, made in reader.apps()]
        factories += [f"{where}:{line} {function}()" for function, line in reader.factories()]
    return Findings(tuple(apps), tuple(factories), files, truncated=False)


def _python_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in _SKIPPED and not f.startswith("."))
        if (Path(folder) / "pyvenv.cfg").exists():
            folders.clear()
            continue
        for name in sorted(names):
            if name.endswith(".py") and not name.startswith(("test_", "conftest")) and not name.endswith("_test.py"):
                yield Path(folder) / name


def _module(file: Path) -> tuple[str, str] | None:
    """The import name of *file* and the folder it is imported from; None when it cannot be imported."""
    parts = list(file.with_suffix("").parts)
    folder = "."
    if parts[0] == "src" and len(parts) > 1:
        folder, parts = "src", parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    if not parts or not all(part.isidentifier() for part in parts):
        return None
    return ".".join(parts), folder


def _parse(file: Path) -> ast.Module | None:
    try:
        if file.stat().st_size > BYTES_MAX:
            return None
        source = file.read_bytes()
        # Most files have no app; the words are looked for before the parser is paid for.
        if not any(word.encode() in source for word in (*FRAMEWORKS, "_app", "_application")):
            return None
        return ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Reader:
    """Reads one module: which names at its top are apps."""

    def __init__(self, tree: ast.Module) -> None:
        self.body = list(_top(tree.body))
        self.classes: dict[str, str] = {}  # local name -> framework
        self.modules: dict[str, str] = {}  # local name -> module
        self.functions: set[str] = set()
        for node in self.body:
            self._remember(node)

    def _remember(self, node: ast.stmt) -> None:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                local = alias.asname or alias.name
                if node.module in FRAMEWORKS.get(alias.name, ()):
                    self.classes[local] = alias.name
                elif _FACTORY.fullmatch(alias.name):
                    self.functions.add(local)
        elif isinstance(node, ast.Import):
            self.modules.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.FunctionDef) and (_FACTORY.fullmatch(node.name) or self._makes(node.returns)):
            self.functions.add(node.name)

    def apps(self) -> Iterator[tuple[str, int, str]]:
        """Name, line and maker of every app, each name once."""
        seen = set()
        for node in self.body:
            made = self._made(getattr(node, "value", None))
            for target in _targets(node):
                if made and target not in seen:
                    seen.add(target)
                    yield target, node.lineno, made

    def factories(self) -> Iterator[tuple[str, int]]:
        """Functions of this module that return an app, when no name here is one."""
        if any(True for _ in self.apps()):
            return
        for node in self.body:
            if isinstance(node, ast.FunctionDef) and node.name in self.functions:
                yield node.name, node.lineno

    def _made(self, value: ast.expr | None) -> str | None:
        if not isinstance(value, ast.Call):
            return None
        if isinstance(value.func, ast.Name) and value.func.id in self.functions:
            return f"{value.func.id}()"
        return self._makes(value.func)

    def _makes(self, expression: ast.expr | None) -> str | None:
        """The framework whose class *expression* names."""
        if isinstance(expression, ast.Name):
            return self.classes.get(expression.id)
        if isinstance(expression, ast.Attribute):
            module = ast.unparse(expression.value)
            known = FRAMEWORKS.get(expression.attr, ())
            return expression.attr if self.modules.get(module, "") in known else None
        return None


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements a module runs when it is imported, those under ``if`` and ``try`` too."""
    for node in body:
        if isinstance(node, ast.If):
            if "__main__" not in ast.unparse(node.test):
                yield from _top(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _top(node.body + [s for h in node.handlers for s in h.body] + node.orelse + node.finalbody)
        elif isinstance(node, ast.With):
            yield from _top(node.body)
        else:
            yield node


def _targets(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
