"""
Where each key of a TOML document stands. ``tomllib`` reads values and forgets places; an error needs the place.

This is a scanner, not a second parser: it runs only on text that ``tomllib`` has accepted, so it looks for where things
begin and end and never asks whether they are right.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'')
# A multi-line string may end in up to two quotes of its own before the three that close it.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:\'{0,2})|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\r\n]*[^,\]}#\s]")


@dataclass(frozen=True, slots=True)
class Spot:
    """Offsets into the text, in characters from 0: where the key begins, and where its value begins."""

    key: int
    value: int


def locate(text: str) -> dict[Path, Spot]:
    """
    The spot of every key, table and array element of *text*, by path: ``("rollout", "stages", 0, "soak")``.

    A table made by a header or by a dotted key stands where its name is first written.

    Args:
        text: valid TOML (``tomllib`` accepts it).
    """
    return _Scanner(text).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.spots: dict[Path, Spot] = {}
        self.elements: dict[Path, int] = {}  # array of tables -> index of the element that is being filled

    def document(self) -> dict[Path, Spot]:
        table: Path = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip(_BLANK)
        return self.spots

    def header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``; returns the path of the table it opens."""
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        path: Path = ()
        names = self.dotted()
        for number, (name, offset) in enumerate(names, start=1):
            path = (*path, name)
            self.spots.setdefault(path, Spot(offset, offset))
            if array and number == len(names):
                self.elements[path] = self.elements.get(path, -1) + 1
                self.spots[(*path, self.elements[path])] = Spot(offset, offset)
            if path in self.elements:
                path = (*path, self.elements[path])
        self.at += 2 if array else 1
        return path

    def pair(self, table: Path) -> None:
        """``a.b = value``"""
        path = table
        for name, offset in self.dotted():
            path = (*path, name)
            self.spots.setdefault(path, Spot(offset, offset))
        self.at += 1  # the equals sign
        self.skip(_SPACE)
        self.value(path, offset)

    def dotted(self) -> list[tuple[str, int]]:
        """A key's parts and where each begins; stops at what follows the key."""
        parts = []
        while True:
            self.skip(_SPACE)
            start = self.at
            raw = self.take(_QUOTED if self.text[start] in "\"'" else _BARE)
            parts.append((tomllib.loads(f"k = {raw}")["k"] if raw[0] in "\"'" else raw, start))
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def value(self, path: Path, key: int) -> None:
        self.spots[path] = Spot(key, self.at)
        first = self.text[self.at]
        if first == "[":
            self.array(path)
        elif first == "{":
            self.inline_table(path)
        else:
            self.take(_STRING if first in "\"'" else _SCALAR)

    def array(self, path: Path) -> None:
        index = 0
        self.at += 1
        while self.more("]"):
            self.value((*path, index), self.at)
            index += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        while self.more("}"):
            self.pair(path)

    def more(self, end: str) -> bool:
        """Whether another element follows; steps over the comma before it, or over *end*."""
        self.skip(_BLANK)
        if self.text[self.at] == ",":
            self.skip(_BLANK, 1)
        if self.text[self.at] != end:
            return True
        self.at += 1
        return False

    def skip(self, pattern: re.Pattern[str], past: int = 0) -> None:
        match = pattern.match(self.text, self.at + past)
        assert match is not None, "a pattern of blanks matches anywhere"
        self.at = match.end()

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None, f"tomllib accepted the text, the locator does not understand it at {self.at}"
        self.at = match.end()
        return match[0]
