"""What a check has to say: one line, how bad it is, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How bad a finding is."""

    OK = "OK"
    WARN = "WARN"
    """It works, and will hurt one day, or something could not be looked at."""
    FAIL = "FAIL"
    """A release from here would fail, or its record cannot be trusted."""


@dataclass(frozen=True)
class Finding:
    """
    Attributes:
        check: the name of the check; several findings may share it.
        found: what was seen, one sentence without a full stop, or the fault as its own room says it.
        remedy: what to do, a whole sentence; empty when nothing has to be done.
    """

    check: str
    level: Level
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.level:<5} {self.check:<14} {self.found}" + (f". {self.remedy}" if self.remedy else "")


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, found)


def warn(check: str, found: str, remedy: str) -> Finding:
    """Worth doing something about."""
    return Finding(check, Level.WARN, found, remedy)


def fail(check: str, found: str, remedy: str) -> Finding:
    """Has to be mended."""
    return Finding(check, Level.FAIL, found, remedy)
