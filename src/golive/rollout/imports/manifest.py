"""
YAML manifests that remember their lines. Data only: no tags but YAML's own, no aliases (they are how one kilobyte
becomes a gigabyte), bounded in size, depth and number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from golive.errors import ConfigError
from golive.timing import parse_duration

BYTES_MAX = 1024 * 1024
DEPTH_MAX = 40
DOCUMENTS_MAX = 200
SHOWN_MAX = 60


@dataclass(frozen=True, slots=True)
class Item:
    """
    One value of a manifest.

    Attributes:
        value: a scalar, a list of items, or items by key.
        file: as it was named.
        line: from 1; of a value in a mapping, its key's.
    """

    value: Any
    file: str
    line: int

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"

    def wrong(self, expected: str) -> ConfigError:
        """The error that this value is not what was expected."""
        return ConfigError(f"{self.place}: expected {expected}, got {self.shown()}.")

    def shown(self) -> str:
        """The value for a message: one line, short."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        text = ascii(self.value) if self.value is not None else "nothing"
        return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."

    def table(self) -> dict[str, Item]:
        """A mapping; nothing at all is an empty one. Raises: ConfigError."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping")
        return self.value

    def items(self) -> list[Item]:
        """A list; nothing at all is an empty one. Raises: ConfigError."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return self.value

    def get(self, *path: str) -> Item | None:
        """What is at *path* below this, or None. Raises: ConfigError where a mapping was due."""
        found: Item | None = self
        for key in path:
            found = found.table().get(key) if found is not None else None
        return found

    def text(self) -> str:
        """A text. Raises: ConfigError."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong("a text")
        return self.value

    def number(self, least: float, most: float, *, whole: bool = False) -> float:
        """A number, which may be written as a text. Raises: ConfigError."""
        kind = "a whole number" if whole else "a number"
        try:
            if isinstance(self.value, bool):
                raise ValueError
            number = float(self.value)
        except (TypeError, ValueError, OverflowError):
            raise self.wrong(kind) from None
        if not least <= number <= most or (whole and number != int(number)):
            raise self.wrong(f"{kind} from {least:g} to {most:g}")
        return number

    def duration(self) -> timedelta:
        """A duration: ``90s``, ``1h30m``, or seconds. Raises: ConfigError."""
        text = f"{self.value}s" if str(self.value).isascii() and str(self.value).isdigit() else self.value
        try:
            return parse_duration(text)
        except (ValueError, OverflowError):
            raise self.wrong("a duration such as 30s, 10m or 1h30m") from None


@dataclass(slots=True)
class Manifests:
    """
    What was read.

    Attributes:
        documents: the top of each, in the order written; each is a mapping with a ``kind``.
    """

    documents: list[Item] = field(default_factory=list)

    def of_kind(self, *kinds: str) -> list[Item]:
        """The documents of these kinds."""
        return [document for document in self.documents if document.table()["kind"].value in kinds]

    def only(self, kind: str) -> Item:
        """The one document of *kind*. Raises: ConfigError when there is none, or several."""
        found = self.of_kind(kind)
        if not found:
            kinds = sorted({str(document.table()["kind"].value) for document in self.documents})
            where = sorted({document.file for document in self.documents})
            raise ConfigError(f"{', '.join(where)}: expected a {kind}, got {', '.join(kinds)}.")
        if len(found) > 1:
            raise ConfigError(f"{found[1].place}: expected one {kind}, got another at {found[0].place}. Import one.")
        return found[0]

    def named(self, name: str, *kinds: str) -> Item | None:
        """The document of one of *kinds* that is called *name*, or None."""
        for document in self.of_kind(*kinds):
            called = document.get("metadata", "name")
            if called is not None and called.value == name:
                return document
        return None


def read(text: str, file: str, into: Manifests) -> None:
    """
    Add the documents of *text* to *into*.

    Raises: ConfigError with the line of the first fault, or naming the extra where PyYAML is missing.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError('golive import needs PyYAML, got no such package. pip install "golive[import]"') from error
    if len(text) > BYTES_MAX:
        raise ConfigError(f"{file}: expected at most {BYTES_MAX // 1024} KiB, got more. Cut the manifest up.")
    try:
        before = len(into.documents)
        for document in _documents(yaml, text, file):
            if len(into.documents) - before >= DOCUMENTS_MAX:
                raise ConfigError(f"{document.place}: expected at most {DOCUMENTS_MAX} documents, got more.")
            kind = document.table().get("kind")
            if kind is None:
                raise ConfigError(f'{document.place}: expected a manifest with a "kind", got a mapping without.')
            kind.text()
            into.documents.append(document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(f"{file}:{line}: expected YAML, got: {' '.join(str(error.problem).split())}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}:1: expected YAML, got: {' '.join(str(error).split())[:200]}.") from None
    if len(into.documents) == before:
        raise ConfigError(f"{file}:1: expected a manifest, got nothing.")


def _documents(yaml: Any, text: str, file: str) -> Iterator[Item]:
    """Checks the events before anything is built from them: the parser does not recurse, the composer does."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{file}:{line}: expected values written out, got the alias {event.anchor!a}.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise ConfigError(f"{file}:{line}: expected at most {DEPTH_MAX} levels, got more.")
        depth -= isinstance(event, yaml.CollectionEndEvent)
    loader = yaml.SafeLoader(text)
    for node in yaml.compose_all(text, yaml.SafeLoader):
        item = _item(yaml, loader, node, file) if node is not None else None
        if item is not None and item.value is not None:
            yield item


def _item(yaml: Any, loader: Any, node: Any, file: str) -> Item:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return Item([_item(yaml, loader, child, file) for child in node.value], file, line)
    if not isinstance(node, yaml.MappingNode):
        try:
            return Item(loader.construct_object(node), file, line)
        except ValueError:
            raise ConfigError(f"{file}:{line}: expected a plain value, got {ascii(node.value)[:SHOWN_MAX]}.") from None
    found: dict[str, Item] = {}
    for key, value in node.value:
        at = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{file}:{at}: expected a text as the key, got a collection.")
        if key.value in found:
            raise ConfigError(f"{file}:{at}: expected each key once, got {ascii(key.value)[:SHOWN_MAX]} twice.")
        found[key.value] = Item(_item(yaml, loader, value, file).value, file, at)
    return Item(found, file, line)
