"""What a handler knows about the run it is in."""

from __future__ import annotations

import contextvars
from typing import Any

from golive.jobs.model import JobId, Progress

#: The run this code is part of; logs read it. Threads started through asyncio inherit it.
current: contextvars.ContextVar[JobContext | None] = contextvars.ContextVar("golive_job", default=None)


class JobContext:
    """
    Handed to a handler that asks for it: ``async def blocks(payload: Snapshot, ctx: JobContext)``.

    Attributes:
        id: the job's id; for a synchronous call, one made for the call.
        kind: the handler's name.
        attempt: 1 for the first run.
        attempts_max: the run after which the job is dead.
        tenant: whose job it is; empty without tenants.
        synchronous: True when a caller waits for the answer (no row in the store).
        version: the release that runs it.
    """

    __slots__ = (
        "_bound",
        "_cost",
        "_progress",
        "attempt",
        "attempts_max",
        "id",
        "kind",
        "synchronous",
        "tenant",
        "version",
    )

    def __init__(
        self, id: JobId, kind: str, *, attempt: int = 1, attempts_max: int = 1, tenant: str = "",
        synchronous: bool = False, version: str | None = None,
    ) -> None:  # fmt: skip
        self.id = id
        self.kind = kind
        self.attempt = attempt
        self.attempts_max = attempts_max
        self.tenant = tenant
        self.synchronous = synchronous
        self.version = version
        self._bound: dict[str, Any] = {}
        self._progress: Progress | None = None
        self._cost = 0.0

    def bind(self, **fields: Any) -> None:
        """Add *fields* to every log line of this run: ``ctx.bind(list_id=order.list_id)``. Not for secrets."""
        self._bound.update(fields)

    def progress(self, ratio: float, message: str = "") -> None:
        """
        Say how far the run is. Free to call often, from any thread: the latest one is stored once a second.

        Args:
            ratio: 0..1.
            message: shown to the client; at most 200 characters are kept.

        Raises: ValueError for a ratio that is none.
        """
        if not 0 <= ratio <= 1:
            raise ValueError(f"progress: expected a ratio of 0..1, got {ratio!r}.")
        self._progress = Progress(float(ratio), message[:200])

    def spend(self, dollars: float) -> None:
        """
        Say what the run has cost beyond its machine: a paid API, a model. Adds up, over the job's runs as well.

        Raises: ValueError for an amount that is none.
        """
        if not 0 <= dollars < float("inf"):
            raise ValueError(f"spend: expected US dollars >= 0, got {dollars!r}.")
        self._cost += dollars

    @property
    def cost(self) -> float:
        """What :meth:`spend` added up."""
        return self._cost

    def take_progress(self) -> Progress | None:
        """What was said since the last call; for the worker."""
        said, self._progress = self._progress, None
        return said

    @property
    def bound(self) -> dict[str, Any]:
        """What :meth:`bind` collected."""
        return dict(self._bound)
