"""Idempotency keys of one process. For tests and single-process services: a restart forgets them."""

from __future__ import annotations

from dataclasses import dataclass

from golive.chassis.idempotency import Record


@dataclass(slots=True)
class _Entry:
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
    """

    def __init__(self, keys_max: int = 100_000) -> None:
        self._entries: dict[str, _Entry] = {}
        self._keys_max = keys_max

    async def begin(self, key: str, fingerprint: bytes, owner: str, now: float, lease_seconds: float) -> Record:
        """See the protocol. A result past its time and a lease that ended are both free to take."""
        entry = self._entries.get(key)
        if entry is not None and entry.until > now:
            return Record(entry.fingerprint, entry.owner, False, entry.done, entry.saved)
        if entry is None and len(self._entries) >= self._keys_max:
            self._drop_expired(now)
        self._entries[key] = _Entry(fingerprint, owner, False, None, now + lease_seconds)
        return Record(fingerprint, owner, True, False, None)

    async def renew(self, key: str, owner: str, until: float) -> bool:
        """See the protocol."""
        entry = self._held(key, owner)
        if entry is not None:
            entry.until = until
        return entry is not None

    async def finish(self, key: str, owner: str, saved: bytes | None, until: float) -> bool:
        """See the protocol."""
        entry = self._held(key, owner)
        if entry is not None:
            entry.done, entry.saved, entry.until = True, saved, until
        return entry is not None

    async def release(self, key: str, owner: str) -> None:
        """See the protocol."""
        if self._held(key, owner) is not None:
            del self._entries[key]

    def _held(self, key: str, owner: str) -> _Entry | None:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.owner == owner and not entry.done else None

    def _drop_expired(self, now: float) -> None:
        self._entries = {key: entry for key, entry in self._entries.items() if entry.until > now}
        if len(self._entries) >= self._keys_max:
            raise MemoryError(f"{self._keys_max} idempotency keys are live")
