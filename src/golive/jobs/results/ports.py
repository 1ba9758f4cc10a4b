"""
What the jobs room needs from a place for large results.

A name is made by golive from a job's id and the fence of the claim that produced it, so two runs of one job never write
the same object and nobody outside chooses a name. A result is written before the job's end is, and is final.

``golive.testing.jobs_results.ResultStoreContract`` is the specification, executable.
"""

from __future__ import annotations

import enum
import re
from collections.abc import AsyncIterator
from typing import Protocol

from golive.jobs.model import JobId

_NAME = re.compile(r"[0-9a-f]{6}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]{1,10}\.json")


class ResultCapability(enum.StrEnum):
    """What not every place can do; tested both ways. The values are rows of the table in docs/jobs.md."""

    LINKS = "clients fetch results themselves, by a signed link that expires"


class ResultStore(Protocol):
    """
    Results by name. All methods may be called from any event loop; they raise
    :class:`golive.errors.UnavailableError` or :class:`golive.errors.StateError` when the place does not answer, and
    ValueError for a name :func:`name_of` did not make.
    """

    capabilities: frozenset[ResultCapability]

    async def open(self) -> None:
        """
        Check that results can be kept. Idempotent.

        Raises: ConfigError for a place that is not there.
        """
        ...

    async def close(self) -> None:
        """Let go. Idempotent."""
        ...

    async def put(self, name: str, result: bytes) -> None:
        """Keep *result*, whole and durable when this returns; nobody ever sees a part of it."""
        ...

    async def get(self, name: str) -> AsyncIterator[bytes] | None:
        """The result in pieces, or None if it is not there (any more)."""
        ...

    async def link(self, name: str, seconds: int) -> str | None:
        """An address that yields the result to whoever has it, for so long; None without :attr:`LINKS`."""
        ...

    async def sweep(self, before: float, limit: int) -> int:
        """Remove at most *limit* results written before this moment (seconds since the epoch). Returns how many."""
        ...


def name_of(job: JobId, fence: int) -> str:
    """Unique to a claim; results of the same few hours share a folder, and folders sort by time."""
    return f"{job[:6]}/{job}-{fence}.json"


def checked(name: str) -> str:
    """
    *name*, which is part of a path or a key.

    Raises: ValueError unless :func:`name_of` can have made it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"result: expected a name golive made, got {name!r}.")
    return name
