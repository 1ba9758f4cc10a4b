"""
The rate limits that all processes share: GCRA in one Lua script, so that the decisions about a request are one atomic
round trip.

The server keeps, for each caller, its *debt*: how far the theoretical arrival time lies ahead, and when that was
written, by the server's own clock. A debt is a small number and keeps its precision where an absolute time in a double
would not, and a clock that steps back cannot lock a caller out. Keys carry the version of this layout and the rule's
numbers: a changed rule or a newer release begins afresh instead of tripping over another type.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from golive.chassis.ratelimit import Decision, Rule
from golive.chassis.stores.redislink import RedisLink, StoreReplyError

KEY_PREFIX = "golive:rate:1:"

# One limit after another until one refuses; three numbers for each.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answers = {}
for number, key in ipairs(KEYS) do
  local interval, window = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
  local debt = 0
  local held = redis.call('GET', key)
  if held then
    local owed, at = string.match(held, '^(%S+) (%d+)$')
    if owed then debt = math.max(0, tonumber(owed) - math.max(0, now - tonumber(at))) end
  end
  local after = debt + interval
  local over = after - window
  local place = #answers
  if over > math.min(1, interval / 2) then
    answers[place + 1], answers[place + 2], answers[place + 3] = 0, 0, math.max(1, math.ceil(over / 1000000))
    return answers
  end
  redis.call('SET', key, string.format('%.17g %.0f', after, now), 'PX', math.ceil(after / 1000) + 1000)
  local room = window - after
  local remaining = math.floor(room / interval + 1e-6)
  local reset = after
  if remaining == 0 then reset = interval - room end
  answers[place + 1], answers[place + 2], answers[place + 3] = 1, remaining, math.max(1, math.ceil(reset / 1000000))
end
return answers
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
        return (await self.take_all([(rule, key)]))[0]

    async def take_all(self, asked: list[tuple[Rule, str]]) -> list[Decision]:
        """
        Decide for one key after another, in one round trip; those behind a refusal are not counted and left out.

        Raises: StoreAwayError, StoreReplyError.
        """
        keys = [KEY_PREFIX + key for _, key in asked]
        numbers = [number for rule, _ in asked for number in _numbers(rule)]
        try:
            reply = await self._link.call("EVALSHA", _SHA, len(keys), *keys, *numbers)
        except StoreReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            # after a restart or a FLUSH; the server keeps it again
            reply = await self._link.call("EVAL", _SCRIPT, len(keys), *keys, *numbers)
        return [
            Decision(reply[place] == 1, 0.0, reply[place + 1], reply[place + 2]) for place in range(0, len(reply), 3)
        ]


@lru_cache(maxsize=256)
def _numbers(rule: Rule) -> tuple[str, int]:
    """What the script needs of *rule*, in microseconds: the time one request costs, and the window."""
    window = rule.window_seconds * 1_000_000
    return repr(window / rule.quota), window
