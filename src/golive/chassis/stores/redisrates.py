"""
The rate limit that all processes share: GCRA in one Lua script, so that a decision is one atomic round trip.

The server keeps, for each caller, its *debt*: how far the theoretical arrival time lies ahead, and when that was
written, by the server's own clock. A debt is a small number and keeps its precision where an absolute time in a double
would not, and a clock that steps back cannot lock a caller out. Keys carry the version of this layout and the rule's
numbers: a changed rule or a newer release begins afresh instead of tripping over another type.
"""

from __future__ import annotations

import hashlib

from golive.chassis.ratelimit import Decision, Rule
from golive.chassis.stores.redislink import RedisLink, StoreReplyError

KEY_PREFIX = "golive:rate:1:"

_SCRIPT = """
local interval, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local debt = 0
local held = redis.call('GET', KEYS[1])
if held then
  local owed, at = string.match(held, '^(%S+) (%d+)$')
  if owed then debt = math.max(0, tonumber(owed) - math.max(0, now - tonumber(at))) end
end
local after = debt + interval
local over = after - window
if over > math.min(1, interval / 2) then return {0, 0, math.max(1, math.ceil(over / 1000000))} end
redis.call('SET', KEYS[1], string.format('%.17g %.0f', after, now), 'PX', math.ceil(after / 1000) + 1000)
local room = window - after
local remaining = math.floor(room / interval + 1e-6)
local reset = after
if remaining == 0 then reset = interval - room end
return {1, remaining, math.max(1, math.ceil(reset / 1000000))}
"""
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RedisRates:
    """Decisions of one server; see :class:`golive.chassis.stores.redislink.RedisLink`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def take(self, rule: Rule, key: str) -> Decision:
        """
        Decide for *key*, and remember it at the server.

        Raises: StoreAwayError, StoreReplyError.
        """
        window = rule.window_seconds * 1_000_000
        arguments = (1, KEY_PREFIX + key, repr(window / rule.quota), window)
        try:
            reply = await self._link.call("EVALSHA", _SHA, *arguments)
        except StoreReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            reply = await self._link.call("EVAL", _SCRIPT, *arguments)  # after a restart or a FLUSH; it is kept again
        return Decision(reply[0] == 1, 0.0, reply[1], reply[2])
