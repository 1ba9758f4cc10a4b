"""
The Redis or Valkey servers of the settings, checked without anybody having to write the check.

A server counts for readiness when requests cannot be answered without it: it holds the idempotency keys, or the rate
limit is declared ``closed``. Where each process has a way of its own (``local``, a breaker) its absence is a warning,
because taking every instance out at once would make an outage of a slower day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from golive.chassis.stores.choice import store_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from golive.chassis.chassis import Chassis
    from golive.chassis.stores.redislink import RedisLink


class StoreChecks:
    """
    Registers one check for each server the settings of *chassis* name.

    Attributes:
        warnings: what the servers said of themselves that should not be so; each names its setting.
    """

    def __init__(self, chassis: Chassis) -> None:
        self._chassis = chassis
        self.warnings: list[str] = []
        settings = chassis.settings
        kind, place = store_kind(settings)
        self._keys_url = place if kind == "redis" else ""
        limits_url = settings.rate_limit_redis_url or settings.redis_url
        named = (
            ("redis", settings.redis_url),
            ("redis-rate-limit", settings.rate_limit_redis_url),
            ("redis-idempotency", self._keys_url),
        )
        seen: set[str] = set()
        for name, url in named:
            if url and url not in seen:
                seen.add(url)
                closed = url == limits_url and settings.rate_limit_on_store_error == "closed"
                chassis.check(name, needed=closed or url == self._keys_url)(self._ping(url))

    def _ping(self, url: str) -> Callable[[], Coroutine[None, None, None]]:
        asked = url != self._keys_url

        async def answers() -> None:
            nonlocal asked
            link = self._chassis.link(url)
            await link.call("PING")
            if not asked:
                asked = True
                await self._ask_eviction(link)

        return answers

    async def _ask_eviction(self, link: RedisLink) -> None:
        """Once per process: a server that drops keys when it is full runs work again that was done."""
        from golive.chassis.stores.redisidempotency import RedisIdempotencyStore
        from golive.chassis.stores.redislink import StoreReplyError

        try:
            if not await RedisIdempotencyStore(link).evicts():
                return
            warning = "idempotency_store: the server drops keys when it is full, and a dropped key runs again. "
            warning += "Set its maxmemory-policy to noeviction."
        except StoreReplyError as error:
            warning = f"idempotency_store: expected the server to say its maxmemory-policy, got {str(error)[:80]!r}."
        self.warnings.append(warning)
        self._chassis.log.event("idempotency_store", level="warning", message=warning)
