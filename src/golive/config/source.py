"""
The file the settings are written in: found, read, and able to point at any place in itself.

Knows TOML and files; knows nothing of what the settings mean.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as File
from typing import Any, Literal

from golive.config.locate import Path, Spot, locate
from golive.errors import ConfigError

NAME = "golive.toml"
BYTES_MAX = 1024 * 1024
"""A configuration larger than this is some other file."""
_WIDTH = 140
_POSITION = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|(?P<end>end of document))\)", re.S
)

Part = Literal["key", "value"]


@dataclass(frozen=True)
class Source:
    """
    One parsed file.

    Attributes:
        file: where it is, absolute.
        data: the settings in it; of a ``pyproject.toml`` the table ``[tool.golive]``.
        prefix: the path of *data* within the document.
    """

    file: File
    text: str
    data: dict[str, Any]
    prefix: Path

    @cached_property
    def spots(self) -> dict[Path, Spot]:
        """Where everything stands; looked for when the first place is asked for."""
        return locate(self.text)

    def place(self, path: Path, part: Part = "value") -> str:
        """``golive.toml:17:53`` for the key or value at *path*, or for the nearest table that is written down."""
        offset = self._offset(path, part)
        return shown(self.file) if offset is None else f"{shown(self.file)}:{_line_column(self.text, offset)}"

    def excerpt(self, path: Path, part: Part = "value") -> str:
        """The line of *path* with a caret under it, ready to be appended to a message; empty when it has no line."""
        offset = self._offset(path, part)
        return "" if offset is None else _excerpt(self.text, offset)

    def _offset(self, path: Path, part: Part) -> int | None:
        full = (*self.prefix, *path)
        for length in range(len(full), 0, -1):
            spot = self.spots.get(full[:length])
            if spot is not None:
                return spot.value if part == "value" and length == len(full) else spot.key
        return None


def find(folder: File) -> File:
    """
    The file that governs *folder*: the nearest ``golive.toml``, or ``pyproject.toml`` with ``[tool.golive]``, upward.

    Raises: ConfigError when there is none, or two in one folder.
    """
    for directory in (folder, *folder.parents):
        own, project = directory / NAME, directory / "pyproject.toml"
        in_project = in_pyproject(directory)
        if own.is_file() and in_project:
            raise ConfigError(
                f"{shown(directory)}: expected one configuration, got {NAME} and [tool.golive] in pyproject.toml. "
                "Move everything into one of them."
            )
        if own.is_file() or in_project:
            return own if own.is_file() else project
    raise NotFoundError(f"{NAME}: not found in {shown(folder)} or any folder above. Run `golive init` to write one.")


class NotFoundError(ConfigError):
    """There is no configuration file at all."""


def in_pyproject(folder: File) -> bool:
    """Whether *folder* has a ``pyproject.toml`` with ``[tool.golive]``; a broken one counts if it speaks of golive."""
    project = folder / "pyproject.toml"
    if not project.is_file():
        return False
    text = _read(project)
    if "golive" not in text:
        return False
    try:
        return "golive" in tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError:
        return re.search(r"^\s*\[\s*tool\s*\.\s*golive\b", text, re.MULTILINE) is not None


def read(file: File) -> Source:
    """
    Read and parse *file*.

    Raises: ConfigError for a file that is missing, too large, not UTF-8 or not TOML, with the place.
    """
    return parse(file, _read(file))


def parse(file: File, text: str) -> Source:
    """
    The :class:`Source` that *text* is, as if it stood in *file*.

    Raises: ConfigError when it is not TOML, with the place.
    """
    prefix: Path = ("tool", "golive") if file.name == "pyproject.toml" else ()
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_fault(file, text, str(error))) from None
    except RecursionError:
        raise ConfigError(f"{shown(file)}: expected tables a person can read, got them nested too deeply.") from None
    data: Any = document
    for part in prefix:
        data = data.get(part, {}) if isinstance(data, dict) else {}
    if not isinstance(data, dict):
        raise ConfigError(f"{shown(file)}: expected a table [tool.golive], got {data!r}.")
    return Source(file.absolute(), text, data, prefix)


def _read(file: File) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{shown(file)}: cannot be read: {error.strerror}.") from None
    if len(raw) > BYTES_MAX:
        raise ConfigError(f"{shown(file)}: expected at most 1 MiB of configuration, got more. Is this the right file?")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise ConfigError(
            f"{shown(file)}:{line}:{column}: expected UTF-8, got byte 0x{raw[error.start]:02x}."
        ) from None


def _syntax_fault(file: File, text: str, message: str) -> str:
    match = _POSITION.fullmatch(message)
    if match is None:
        return f"{shown(file)}: {message}."
    if match["end"]:
        offset = len(text.rstrip("\n"))
    else:
        lines = text.split("\n")
        offset = sum(len(line) + 1 for line in lines[: int(match["line"]) - 1]) + int(match["column"]) - 1
    return f"{shown(file)}:{_line_column(text, offset)}: {match['what'].rstrip('.')}.{_excerpt(text, offset)}"


def _line_column(text: str, offset: int) -> str:
    return f"{text.count(chr(10), 0, offset) + 1}:{offset - text.rfind(chr(10), 0, offset)}"


def _excerpt(text: str, offset: int) -> str:
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : end if end >= 0 else len(text)].rstrip().replace("\t", " ")
    column = offset - start
    if column > _WIDTH - 20:  # a long line is shown around the place that matters
        line, column = f"…{line[column - 40 :]}", 41
    return f"\n    {line[:_WIDTH]}\n    {' ' * column}^"


def shown(file: File) -> str:
    """*file* as a person would type it here: relative when it is below the current folder."""
    try:
        relative = file.absolute().relative_to(File.cwd())
    except (ValueError, OSError):
        return str(file)
    return str(relative)
