"""
Results in front of the store: a key that is known to be done needs no round trip.

The cache may only say "this is a duplicate". A miss means nothing and the store is asked; an entry is never older than
the store's own; keys that are still running are not kept. So losing the cache, or having one per process, cannot run
anything twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from golive.chassis.idempotency import Record

#: Results remembered, and how much memory their answers may take together.
ENTRIES_MAX = 10_000
BYTES_MAX = 16 * 1024 * 1024


class ResultCache:
    """
    The last results, the longest unused forgotten first.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._entries: dict[str, tuple[Record, float]] = {}
        self._bytes = 0
        self._now = now

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Record | None:
        """The result of *key*, or None, which means "ask the store"."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        record, until = entry
        if until <= self._now():
            self._bytes -= _size(record)
            return None
        self._entries[key] = entry
        return record

    def put(self, key: str, record: Record) -> None:
        """Remember *record* if it is a result, for as long as the store does."""
        if not record.done:
            return
        held = self._entries.pop(key, None)
        self._bytes += _size(record) - (_size(held[0]) if held is not None else 0)
        self._entries[key] = (record, self._now() + record.left_seconds)
        while len(self._entries) > ENTRIES_MAX or self._bytes > BYTES_MAX:
            dropped, _ = self._entries.pop(next(iter(self._entries)))
            self._bytes -= _size(dropped)


def _size(record: Record) -> int:
    return len(record.saved or b"") + 200
