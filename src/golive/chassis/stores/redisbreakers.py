"""
The state of circuit breakers that a fleet shares: one Redis hash for each, changed by scripts, by the server's clock.

The hash exists while a breaker is open or half-open. A *phase* numbers each opening, so that a probe of an earlier one
cannot close or reopen a later. Nothing but the breaker ends it: a process that starts finds it as it is.
"""

from __future__ import annotations

import hashlib
from typing import Any

from golive.chassis.stores.redislink import RedisLink, StoreReplyError

KEY_PREFIX = "golive:breaker:1:"

#: A breaker nobody has asked about for a day is forgotten.
_KEPT_MS = 86_400_000

_SCRIPT = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'until', 'phase', 'granted', 'granted_at', 'passed')
local is_open = held[1] and true or false
local ends, phase, granted = tonumber(held[1] or 0), tonumber(held[2] or 0), tonumber(held[3] or 0)
local granted_at, passed = tonumber(held[4] or 0), tonumber(held[5] or 0)

local function open(milliseconds)
  ends = now + milliseconds
  redis.call('HSET', KEYS[1], 'until', ends, 'phase', phase + 1, 'granted', 0, 'granted_at', 0, 'passed', 0)
  redis.call('PEXPIRE', KEYS[1], {_KEPT_MS})
  return {{1, math.max(0, ends - now)}}
end

local verb, a, b = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if verb == 'view' then
  if not is_open then return {{0, 0}} end
  return {{1, math.max(0, ends - now)}}
elseif verb == 'open' then
  if is_open and ends > now then return {{1, ends - now}} end
  return open(a)
elseif verb == 'probe' then
  if not is_open then return {{0, 0}} end
  if ends > now then return {{1, ends - now}} end
  if granted >= a then
    local lost = granted_at + b
    if lost > now then return {{1, math.min(lost - now, 1000)}} end
    granted = 0
  end
  redis.call('HSET', KEYS[1], 'granted', granted + 1, 'granted_at', now)
  return {{2, phase}}
end
-- a probe has ended; a: its phase, b: how many must pass
if not is_open then return {{0, 0}} end
if a ~= phase then return {{1, math.max(0, ends - now)}} end
if verb == 'failed' then return open(tonumber(ARGV[4])) end
if verb == 'released' then
  redis.call('HSET', KEYS[1], 'granted', math.max(0, granted - 1))
  return {{1, 0}}
end
if passed + 1 >= b then
  redis.call('DEL', KEYS[1])
  return {{0, 0}}
end
redis.call('HSET', KEYS[1], 'passed', passed + 1)
return {{1, 0}}
"""
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RedisBreakers:
    """
    The breakers of one service. Every method raises StoreAwayError and StoreReplyError.

    Args:
        service: part of the key: two services' breakers of one name have nothing to do with each other.
    """

    def __init__(self, link: RedisLink, service: str) -> None:
        self._link = link
        self._prefix = f"{KEY_PREFIX}{service}:"

    async def view(self, name: str) -> float | None:
        """Seconds until the next probe (0: now), or None when it is closed."""
        state, left = await self._run(name, "view")
        return left / 1000 if state else None

    async def open(self, name: str, seconds: float) -> float:
        """Open it; the seconds left, which are another process's when that was first."""
        _, left = await self._run(name, "open", round(seconds * 1000))
        return left / 1000

    async def probe(self, name: str, probes: int, lease_seconds: float) -> tuple[str, float]:
        """``probe`` and its phase, ``wait`` and for how many seconds, or ``closed``."""
        state, value = await self._run(name, "probe", probes, round(lease_seconds * 1000))
        if state == 2:
            return "probe", value
        return ("wait", value / 1000) if state else ("closed", 0.0)

    async def probed(
        self, name: str, phase: int, failed: bool | None, probes: int, open_seconds: float
    ) -> tuple[str, float]:
        """How a probe ended (None: it says nothing); ``closed``, or ``open`` and the seconds left."""
        verb = "released" if failed is None else "failed" if failed else "passed"
        state, left = await self._run(name, verb, phase, probes, round(open_seconds * 1000))
        return ("open", left / 1000) if state else ("closed", 0.0)

    async def _run(self, name: str, *arguments: Any) -> tuple[int, int]:
        given = (1, self._prefix + name, *arguments)
        try:
            reply = await self._link.call("EVALSHA", _SHA, *given)
        except StoreReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            reply = await self._link.call("EVAL", _SCRIPT, *given)
        return reply[0], reply[1]
