"""
Where a value comes from. Weakest first: the default, the file, its environment table, the process environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from golive.config.locate import Path

Kind = Literal["default", "file", "environment", "variable"]


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Attributes:
        kind: which layer the value was written in; ``environment`` is a table ``[environments.NAME]`` of the file.
        text: the place for people: ``golive.toml:12:8``, ``variable PG_MAX``, ``default``.
        written_at: the path under which the file has it; None when it is not in the file.
    """

    kind: Kind
    text: str
    written_at: Path | None = None

    def __str__(self) -> str:
        return self.text


DEFAULT = Origin("default", "default")
