"""
What the jobs room needs from a transport: a doorbell that may lose everything. The store is the record.

A transport carries the ids of jobs that may run now. It keeps no state of a job that matters: whoever receives an id
claims the job in the store, under a lease and a fence, and runs it only if the store lets it. So a ring may come twice,
late, in any order or not at all; what never came is rung again by :mod:`golive.jobs.reconciler`.

``golive.testing.jobs_transports.TransportContract`` is the specification, executable.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from golive.jobs.handlers import Handler
from golive.jobs.model import JobId, Waiting


class TransportCapability(enum.StrEnum):
    """What not every transport can do; tested both ways. The values are rows of the table in docs/jobs.md."""

    DELIVERS = "hands the jobs to `golive worker` itself"
    DELAYS = "rings at a later time (else the reconciler does)"
    BURIES = "dead jobs show in a dead-letter queue of its own"
    FOREIGN_WORKERS = "workers of the engine itself run the jobs"


class Delivery(msgspec.Struct, frozen=True):
    """
    A ring in the hands of one receiver, until its time is over.

    Attributes:
        receipt: the transport's own proof of it.
        buried_at: when the job died, if the ring comes out of the dead-letter queue: a person moved it back.
        received: how often it has been handed out; 1 for the first time.
    """

    job: JobId
    kind: str
    queue: str
    receipt: str
    buried_at: float | None = None
    received: int = 1


class Transport(Protocol):
    """
    Rings. Methods may be called from any event loop and raise :class:`golive.errors.UnavailableError` when the engine
    does not answer; no job is lost by that.
    """

    capabilities: frozenset[TransportCapability]

    async def open(self, handlers: Collection[Handler]) -> None:
        """
        Check that the jobs of all *handlers* can be rung. Idempotent.

        Raises: ConfigError for a queue the engine does not have and golive may not make.
        """
        ...

    async def close(self) -> None:
        """Let go. Idempotent."""
        ...

    async def ring(self, jobs: Sequence[Waiting]) -> None:
        """
        Say that *jobs* may run, each at its ``run_at`` or soon after. Those too far in the future for the engine are
        left to the reconciler.
        """
        ...

    async def lost(self, jobs: Sequence[Waiting]) -> list[Waiting]:
        """
        Those of *jobs*, all rung some time ago, that nobody will be told of any more. In doubt a job is on its way, but
        not for ever: once the engine has run dry, what is still waiting is lost.
        """
        ...


class DeliveringTransport(Transport, Protocol):
    """A transport with :attr:`TransportCapability.DELIVERS`."""

    async def receive(
        self, queues: Collection[str], limit: int, wait_seconds: float, hold_seconds: float
    ) -> list[Delivery]:
        """
        At most *limit* rings of *queues*, hidden from all other receivers for *hold_seconds*. Waits for the first one
        for up to *wait_seconds*.
        """
        ...

    async def hold(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Hide them for *seconds* from now on. One that is no longer held is ignored: the store decides."""
        ...

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """They need not come again."""
        ...

    async def again(self, deliveries: Sequence[Delivery], delay_seconds: float) -> None:
        """Let them come again after *delay_seconds*."""
        ...

    async def bury(self, deliveries: Sequence[Delivery], died_at: Sequence[float]) -> None:
        """
        The jobs are dead: leave each in the dead-letter queue, with its time of death as :attr:`Delivery.buried_at`,
        for a person to see and move back. Without such a queue they are done.
        """
        ...
