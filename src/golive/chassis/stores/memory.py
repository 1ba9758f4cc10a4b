"""Idempotency keys of one process. For tests and single-process services: a restart forgets them."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from golive.chassis.idempotency import Record


class _Entry(msgspec.Struct, gc=False):  # a hundred thousand of them, and no collector that walks them all
    fingerprint: bytes
    owner: str
    done: bool
    saved: bytes | None
    until: float


class MemoryIdempotencyStore:
    """
    See :class:`golive.chassis.idempotency.IdempotencyStore`.

    Args:
        keys_max: keys remembered; beyond it expired ones are dropped, and when none is expired a new key is refused
            (MemoryError), because forgetting a live one would run a request twice.
        now: the clock, in seconds; monotonic, so that a clock that steps ends no lease.
    """

    bounded = True

    def __init__(self, keys_max: int = 100_000, now: Callable[[], float] = time.monotonic) -> None:
        self._entries: dict[str, _Entry] = {}
        self._keys_max = keys_max
        self._now = now

    async def begin(self, key: str, fingerprint: bytes, owner: str, lease_seconds: float) -> Record:
        """See the protocol. A result past its time and a lease that ended are both free to take."""
        return self.begin_now(key, fingerprint, owner, lease_seconds)

    def begin_now(self, key: str, fingerprint: bytes, owner: str, lease_seconds: float) -> Record:
        """:meth:`begin` for who need not wait."""
        now = self._now()
        entry = self._entries.get(key)
        if entry is not None and entry.until > now:
            return Record(entry.fingerprint, entry.owner, False, entry.done, entry.saved, entry.until - now)
        if entry is None and len(self._entries) >= self._keys_max:
            self._drop_expired(now)
        self._entries[key] = _Entry(fingerprint, owner, False, None, now + lease_seconds)
        return Record(fingerprint, owner, True, False, None, lease_seconds)

    async def renew(self, key: str, owner: str, lease_seconds: float) -> bool:
        """See the protocol."""
        entry = self._held(key, owner)
        if entry is not None:
            entry.until = self._now() + lease_seconds
        return entry is not None

    async def finish(self, key: str, owner: str, saved: bytes | None, ttl_seconds: float) -> bool:
        """See the protocol."""
        return self.finish_now(key, owner, saved, ttl_seconds)

    def finish_now(self, key: str, owner: str, saved: bytes | None, ttl_seconds: float) -> bool:
        """:meth:`finish` for who need not wait."""
        entry = self._held(key, owner)
        if entry is not None:
            entry.done, entry.saved, entry.until = True, saved, self._now() + ttl_seconds
        return entry is not None

    async def release(self, key: str, owner: str) -> None:
        """See the protocol."""
        if self._held(key, owner) is not None:
            del self._entries[key]

    async def close(self) -> None:
        """Nothing to let go of."""

    def _held(self, key: str, owner: str) -> _Entry | None:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.owner == owner and not entry.done else None

    def _drop_expired(self, now: float) -> None:
        self._entries = {key: entry for key, entry in self._entries.items() if entry.until > now}
        if len(self._entries) >= self._keys_max:
            raise MemoryError(f"{self._keys_max} idempotency keys are live")
