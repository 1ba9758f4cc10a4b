"""
Before a new version claims: can it read what waits? Its own decoders over the payloads in the store; nothing is run.

A payload a version cannot read is held for one that can, job by job, after its claim (:mod:`golive.jobs.gate`). This is
to know it before the deployment instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from golive.jobs.errors import InvalidPayloadError
from golive.jobs.handlers import Handler
from golive.jobs.machine import State
from golive.jobs.model import JobId
from golive.jobs.ports import JobStore

PAGE = 200


class Readable(msgspec.Struct):
    """
    What waits of one kind.

    Attributes:
        known: True if the application has a handler for it.
        jobs: how many were looked at.
        unreadable: how many of them the handler does not take; *first* is the newest of these, and *reason* why.
    """

    kind: str
    known: bool
    jobs: int = 0
    unreadable: int = 0
    first: JobId | None = None
    reason: str = ""

    @property
    def ready(self) -> bool:
        """True if this version would run all of it."""
        return self.known and not self.unreadable


class Preflight(NamedTuple):
    """
    What was found.

    Attributes:
        kinds: one for each kind, by name.
        partial: True if more wait than were looked at.
    """

    kinds: list[Readable]
    partial: bool

    @property
    def ready(self) -> bool:
        """True if this version would run all that was looked at."""
        return all(each.ready for each in self.kinds)


async def preflight(store: JobStore, handlers: Mapping[str, Handler], limit: int) -> Preflight:
    """The newest *limit* pending jobs; a handler nothing waits for is left out."""
    found: dict[str, Readable] = {}
    before: JobId | None = None
    left = limit
    while left > 0:
        page = await store.page(min(PAGE, left), state=State.PENDING, kind=None, before=before)
        for job in page:
            handler = handlers.get(job.kind)
            each = found.setdefault(job.kind, Readable(job.kind, known=handler is not None))
            each.jobs += 1
            if handler is None or not handler.takes_payload:
                continue
            try:
                handler.decode(job.payload)
            except Exception as error:  # a decoder of the application's own: whatever it raises, it does not read it
                each.unreadable += 1
                if each.first is None:
                    each.first = job.id
                    each.reason = str(error) if isinstance(error, InvalidPayloadError) else type(error).__name__
        if len(page) < min(PAGE, left):
            break
        left, before = left - len(page), page[-1].id
    more = left == 0 and bool(await store.page(1, state=State.PENDING, kind=None, before=before))
    return Preflight([found[kind] for kind in sorted(found)], more)
