"""
How much one caller may ask: GCRA, decided by arithmetic on one number per caller.

A caller has a *theoretical arrival time*: the moment its quota would be whole again. A request moves it by window /
quota; it may not move beyond one window from now. So a burst of the whole quota is allowed, then one request per
window / quota, without counters that reset. The store here is this process's, so N processes allow N times the quota;
:mod:`golive.chassis.stores.redisrates` decides the same way for all processes together.
Source: ITU-T I.371 (generic cell rate algorithm); headers: draft-ietf-httpapi-ratelimit-headers.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from golive.chassis.addresses import bucket
from golive.chassis.limits import Refusal
from golive.chassis.types import Headers, Scope

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.stores.redisrates import RedisRates

#: Callers remembered; beyond it the longest silent one is forgotten. About 20 MB.
KEYS_MAX = 100_000
#: A key longer than this is replaced by its hash.
KEY_LENGTH_MAX = 128

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "s": 1, "m": 60, "h": 3600, "d": 86400}
_RULE = re.compile(r"\s*(\d{1,9})\s*(?:/|per)\s*(\d{1,6})?\s*([a-z]+?)s?\s*")

KeyFunction = Callable[[Scope], str | None]


class Rule(NamedTuple):
    """*quota* requests per *window_seconds*, under a *name* that is shown to callers."""

    name: str
    quota: int
    window_seconds: int


class Decision(msgspec.Struct, frozen=True, gc=False):
    """
    What one request may do.

    Attributes:
        allowed: whether it passes.
        arrival: the caller's new theoretical arrival time, in the clock's seconds.
        remaining: requests that would pass right now after this one.
        reset_seconds: until there is more than that: the next request if none remains, else the whole quota.
    """

    allowed: bool
    arrival: float
    remaining: int
    reset_seconds: int


def parse_rule(text: str, name: str = "default") -> Rule:
    """``"100/minute"``, ``"5/10s"``, ``"1000 per hour"`` as a rule. Raises: ValueError saying what was expected."""
    match = _RULE.fullmatch(text.lower())
    unit = match and (_UNITS.get(match[3]) or _UNITS.get(match[3] + "s"))
    if match is None or not unit or int(match[1]) < 1 or int(match[2] or 1) < 1:
        raise ValueError(f'expected a rate such as "100/minute" or "5/10s", got {text!r}')
    return Rule(name, int(match[1]), int(match[2] or 1) * unit)


def decide(rule: Rule, arrival: float, now: float) -> Decision:
    """Whether a request at *now* passes, for a caller whose theoretical arrival time is *arrival* (0.0: never seen)."""
    interval = rule.window_seconds / rule.quota
    later = (arrival if arrival > now else now) + interval
    over = later - now - rule.window_seconds
    if over > 1e-9:
        return Decision(False, arrival, 0, max(1, math.ceil(over - 1e-9)))
    remaining = int((rule.window_seconds - (later - now)) / interval + 1e-9)
    reset = later - now if remaining else interval - (rule.window_seconds - (later - now))
    return Decision(True, later, remaining, math.ceil(reset - 1e-9) or 1)


class Asker(Protocol):
    """A request, or a websocket that asks to open: limits look at its *scope* and leave their last decision with it."""

    scope: Scope
    quota: tuple[Rule, Decision] | None


class MemoryStore:
    """Theoretical arrival times of this process's callers, the longest silent first."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self._arrivals: dict[str, float] = {}
        self._keys_max = keys_max

    def __len__(self) -> int:
        return len(self._arrivals)

    def take(self, rule: Rule, key: str, now: float) -> Decision:
        """Decide for *key* and remember it."""
        decision = decide(rule, self._arrivals.pop(key, 0.0), now)
        self._arrivals[key] = decision.arrival
        if len(self._arrivals) > self._keys_max:
            del self._arrivals[next(iter(self._arrivals))]
        return decision


@lru_cache(maxsize=8192)
def caller_key(rule: Rule, place: str, caller: str) -> str:
    """The store's key: the rule with its numbers, so that a changed rule begins afresh, the place and the caller."""
    if len(caller) > KEY_LENGTH_MAX or not caller.isprintable() or " " in caller:
        caller = hashlib.blake2b(caller.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{rule.name}:{rule.quota}/{rule.window_seconds}:{place}:{caller}"


def by_address(scope: Scope) -> str | None:
    """The caller's address; everybody without one (a unix socket) shares one bucket."""
    client = scope.get("client")
    return bucket(client[0]) if client else "local"


def header_fields(rule: Rule, decision: Decision) -> Headers:
    """``RateLimit-Policy`` and ``RateLimit`` as structured fields."""
    name, policy = _constant_fields(rule)
    return [policy, (b"ratelimit", b"%b;r=%d;t=%d" % (name, decision.remaining, decision.reset_seconds))]


@lru_cache(maxsize=256)
def _constant_fields(rule: Rule) -> tuple[bytes, tuple[bytes, bytes]]:
    name = f'"{rule.name}"'.encode()
    return name, (b"ratelimit-policy", b"%b;q=%d;w=%d" % (name, rule.quota, rule.window_seconds))


class RateLimits:
    """
    The limits of one chassis: one for every request, by address, and those of routes.

    Attributes:
        everywhere: the rule that counts all requests of an address, or None.
        shared: the store of all processes, or None when each process counts for itself.
    """

    def __init__(self, chassis: Chassis) -> None:
        settings = chassis.settings
        self._chassis = chassis
        self.everywhere = parse_rule(settings.rate_limit) if settings.rate_limit else None
        self.store = MemoryStore()
        self.shared: RedisRates | None = None
        self._away = False
        self._store_errors = chassis.metrics.counter(
            "ratelimit_store_errors_total", "Decisions the shared store did not make in time."
        )
        if self.everywhere is not None:
            self.connect()
        self._limited = chassis.metrics.counter("ratelimit_exceeded_total", "Requests over a quota.", ("policy",))

    def connect(self) -> None:
        """Count in the shared store, if the settings name one. Raises: ConfigError when its client is missing."""
        settings = self._chassis.settings
        url = settings.rate_limit_redis_url or settings.redis_url
        if url and self.shared is None:
            from golive.chassis.stores.redisrates import RedisRates

            self.shared = RedisRates(self._chassis.link(url))

    def take_here(self, asker: Asker, rule: Rule, key: KeyFunction, place: str) -> Refusal | None:
        """
        Count *asker* in this process for whoever *key* says, by *rule*, at *place* (a route's template, or empty).
        """
        caller = key(asker.scope)
        if caller is None:
            return None  # the key function says that this caller is not limited
        decision = self.store.take(rule, caller_key(rule, place, caller), time.monotonic())
        asker.quota = (rule, decision)
        return None if decision.allowed else self._exceeded(rule, decision)

    async def take(self, asker: Asker, *limits: tuple[Rule, KeyFunction, str]) -> Refusal | None:
        """
        As :meth:`take_here` for one limit after another until one refuses, but in the shared store if there is one:
        all of them in one question.
        """
        if self.shared is None:
            for limit in limits:
                refusal = self.take_here(asker, *limit)
                if refusal is not None:
                    return refusal
            return None
        asked = []
        for rule, key, place in limits:
            caller = key(asker.scope)
            if caller is not None:
                asked.append((rule, caller_key(rule, place, caller)))
        decisions = await self._take_shared(self.shared, asked) if asked else []
        if decisions is None:
            wait = max(1, round(self._chassis.settings.retry_after.total_seconds()))
            return Refusal(503, "The service cannot count requests at the moment.", wait)
        for (rule, _), decision in zip(asked, decisions, strict=False):  # those behind a refusal were not counted
            asker.quota = (rule, decision)
            if not decision.allowed:
                return self._exceeded(rule, decision)
        return None

    def _exceeded(self, rule: Rule, decision: Decision) -> Refusal:
        self._limited.inc(rule.name)
        members = {"kind": QUOTA_EXCEEDED, "violated-policies": [rule.name]}
        return Refusal(429, "You have used up your quota. Come back later.", decision.reset_seconds, members)

    async def _take_shared(self, store: RedisRates, asked: list[tuple[Rule, str]]) -> list[Decision] | None:
        """The decisions of all processes together; without the store this process's share of it, or None: refuse."""
        from golive.chassis.stores.redislink import StoreAwayError, StoreReplyError

        try:
            decisions = await store.take_all(asked)
        except (StoreAwayError, StoreReplyError) as error:
            self._store_errors.inc(by=float(len(asked)))
            self._note(away=True, why=str(error))
            settings = self._chassis.settings
            if settings.rate_limit_on_store_error == "closed":
                return None
            return self._shares(asked, settings.rate_limit_processes)
        self._note(away=False)
        return decisions

    def _shares(self, asked: list[tuple[Rule, str]], processes: int) -> list[Decision]:
        decisions: list[Decision] = []
        for rule, key in asked:
            share = rule._replace(quota=max(1, rule.quota // processes))
            decisions.append(self.store.take(share, key, time.monotonic()))
            if not decisions[-1].allowed:
                break
        return decisions

    def _note(self, *, away: bool, why: str = "") -> None:
        """Say it once when the store goes and once when it is back."""
        if away is not self._away:
            self._away = away
            policy = self._chassis.settings.rate_limit_on_store_error
            status = {"status": "away", "policy": policy, "output": why[:200]} if away else {"status": "back"}
            self._chassis.log.event("ratelimit_store", level="warning" if away else "info", **status)
