"""
Idempotency keys in Redis or Valkey, shared by every process that uses the server.

Each call is one Lua script on the process's one pipelined connection: atomic, one round trip, the server's clock. A key
is a hash whose expiry is the lease while the work runs and the ttl when it is done, so the server forgets by itself.

What the server must be told: ``maxmemory-policy noeviction``. A server that evicts keys forgets work that was done and
runs it again; :meth:`RedisIdempotencyStore.evicts` says whether it may. And what it can promise: without
``appendfsync always`` a crash of the server forgets its last second. Where that second matters use PostgreSQL.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from golive.chassis.idempotency import Record
from golive.chassis.stores.redislink import RedisLink, StoreReplyError

#: The version of this layout is part of it: a newer release never meets fields it does not know.
KEY_PREFIX = "golive:once:1:"


class _Script(NamedTuple):
    text: str
    sha: str


def _script(text: str) -> _Script:
    return _Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_BEGIN = _script("""
local held = redis.call('HMGET', KEYS[1], 'fingerprint', 'owner', 'saved', 'done')
if held[1] then
  held[5] = redis.call('PTTL', KEYS[1])
  return held
end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0
""")
#: Only the owner of a key that is not done may touch it: that is the fence.
_FENCE = """
local held = redis.call('HMGET', KEYS[1], 'owner', 'done')
if held[1] ~= ARGV[1] or held[2] then return 0 end
"""
_RENEW = _script(f"{_FENCE} return redis.call('PEXPIRE', KEYS[1], ARGV[2])")
_FINISH = _script(f"""{_FENCE}
redis.call('HSET', KEYS[1], 'done', '1')
if ARGV[3] then redis.call('HSET', KEYS[1], 'saved', ARGV[3]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
_RELEASE = _script(f"{_FENCE} return redis.call('DEL', KEYS[1])")


class RedisIdempotencyStore:
    """See :class:`golive.chassis.idempotency.IdempotencyStore`, and :class:`RedisLink` for when the server is away."""

    bounded = True

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def begin(self, key: str, fingerprint: bytes, owner: str, lease_seconds: float) -> Record:
        """See the protocol."""
        reply = await self._run(_BEGIN, key, fingerprint, owner, _milliseconds(lease_seconds))
        if reply == 0:
            return Record(fingerprint, owner, True, False, None, lease_seconds)
        given, holder, saved, done, left = reply
        return Record(given, holder.decode(), False, done is not None, saved, max(0, left) / 1000)

    async def renew(self, key: str, owner: str, lease_seconds: float) -> bool:
        """See the protocol."""
        return bool(await self._run(_RENEW, key, owner, _milliseconds(lease_seconds)))

    async def finish(self, key: str, owner: str, saved: bytes | None, ttl_seconds: float) -> bool:
        """See the protocol."""
        answer = () if saved is None else (saved,)
        return bool(await self._run(_FINISH, key, owner, _milliseconds(ttl_seconds), *answer))

    async def release(self, key: str, owner: str) -> None:
        """See the protocol."""
        await self._run(_RELEASE, key, owner)

    async def close(self) -> None:
        """Drop the connection."""
        self._link.close()

    async def evicts(self) -> bool:
        """Whether the server drops keys when it is full. Raises: StoreAwayError, StoreReplyError."""
        reply = await self._link.call("INFO", "memory")
        return b"maxmemory_policy:noeviction" not in reply

    async def _run(self, script: _Script, key: str, *arguments: Any) -> Any:
        given = (1, KEY_PREFIX + key, *arguments)
        try:
            return await self._link.call("EVALSHA", script.sha, *given)
        except StoreReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return await self._link.call("EVAL", script.text, *given)  # after a restart or a FLUSH; it is kept again


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
