"""
Layers of settings laid over each other key by key, remembering for every key who wrote it.

A table is merged, anything else is replaced whole: a list in an environment is the list, not an addition to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from golive.config.locate import Path
from golive.config.origins import Origin

_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\$\{)")


@dataclass
class Layers:
    """
    Attributes:
        data: the merged settings, as plain values.
        origins: path -> who wrote it, for tables and list elements too.
        filled: path -> the text it had before variables were filled in.
    """

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    filled: dict[Path, str] = field(default_factory=dict)

    def lay(self, value: Any, at: Path, origin_of: Callable[[Path], Origin]) -> None:
        """Lay *value* over what is *at* a path of table keys; *origin_of* is asked for every path written."""
        table: Any = self.data
        for number, key in enumerate(at[:-1], start=1):
            if not isinstance(table.get(key), dict):
                table[key] = {}
                self.origins[at[:number]] = origin_of(at[:number])
            table = table[key]
        if not at:
            for key, inner in value.items():
                self._merge(self.data, key, inner, (key,), origin_of)
        else:
            self._merge(table, at[-1], value, at, origin_of)

    def _merge(self, table: Any, key: Any, value: Any, path: Path, origin_of: Callable[[Path], Origin]) -> None:
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            self.origins.setdefault(path, origin_of(path))
            for inner, inner_value in value.items():
                self._merge(table[key], inner, inner_value, (*path, inner), origin_of)
            return
        for old in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[old]
        table[key] = deepcopy(value)
        for written, _ in walk(value, path):
            self.origins[written] = origin_of(written)

    def fill(self, environ: Mapping[str, str]) -> list[tuple[Path, str]]:
        """
        Put variables where the *file* says ``${NAME}`` or ``${NAME:-default}``; ``$${`` is a plain ``${``.

        Only what won is filled, so that a variable nobody needs may be missing.

        Returns: path and message of every text that could not be filled.
        """
        faults = []
        for path, value in list(walk(self.data, ())):
            origin = self.origins.get(path)
            if not isinstance(value, str) or "${" not in value or origin is None or origin.written_at is None:
                continue
            try:
                text = filled(value, environ)
            except ValueError as error:
                faults.append((path, str(error)))
                continue
            if text != value:
                self.filled[path] = value
                put(self.data, path, text)
        return faults


def filled(text: str, environ: Mapping[str, str]) -> str:
    """
    *text* with its variables in place.

    Raises: ValueError in words, for one that is not set or that is spelt wrongly.
    """
    return _VARIABLE.sub(lambda match: _fill(match, environ), text)


def _fill(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["broken"]:
        raise ValueError("expected ${NAME} or ${NAME:-default}. Write $${ for a plain ${.")
    if match["name"] is None:
        return "${"
    value = environ.get(match["name"])
    if match["default"] is not None:
        return value or match["default"]
    if value is None:
        name = match["name"]
        raise ValueError(f"the variable {name} is not set. Set it, or write ${{{name}:-default}}.")
    return value


def walk(value: Any, at: Path) -> Iterator[tuple[Path, Any]]:
    """*value* and everything inside it, with paths that begin at *at*."""
    yield at, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in children:
        yield from walk(inner, (*at, key))


def put(data: Any, path: Path, value: Any) -> None:
    """Replace what stands at *path*, which exists."""
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def drop(data: Any, path: Path) -> None:
    """Take away what stands at *path*, if it does."""
    for part in path[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, dict):
        data.pop(path[-1], None)
