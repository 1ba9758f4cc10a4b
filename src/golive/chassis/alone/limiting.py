"""How much: size, time and number (:mod:`golive.chassis.limits`), odd JSON, and how often (``ratelimit``)."""

from __future__ import annotations

import asyncio

from golive.chassis.alone.concern import Concern, Passage
from golive.chassis.ratelimit import KeyFunction, by_address
from golive.chassis.settings import ChassisSettings
from golive.chassis.strictjson import is_json, strict_json
from golive.chassis.types import ASGIApp, Receive, Scope, Send
from golive.errors import ConfigError


class Limited(Concern):
    """``head_max_bytes`` 431, ``body_max_bytes`` 413, ``concurrency_max`` 503, ``request_timeout`` 504."""

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        passage, limits, lifecycle = Passage(scope, send), self.chassis.limits, self.chassis.lifecycle
        refusal = limits.refusal(passage.exchange, lifecycle.in_flight)
        if refusal is not None:
            await passage.turn_away(refusal, receive)
            return
        lifecycle.in_flight += 1
        try:
            counted = limits.counted(passage.exchange, receive) if passage.chunked else receive
            async with asyncio.timeout(limits.timeout_seconds) as limit:
                await passage.through(self.app, counted)
        except TimeoutError:
            if not limit.expired() or passage.started:
                raise
            await passage.refuse(limits.time_refusal(), close=True)
        finally:
            lifecycle.in_flight -= 1


class StrictBodies(Concern):
    """A JSON body that Python takes and no JSON has is 400: NaN, Infinity, half characters, NUL, bytes not UTF-8."""

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        passage = Passage(scope, send)
        strict = strict_json(passage.exchange, receive) if is_json(passage.content_type) else receive
        await passage.through(self.app, strict)


class RateLimited(Concern):
    """
    ``rate_limit`` for every caller, in memory or in the server of ``redis_url``.

    Args:
        by: whom to count: from the request's scope to a text, or None for a caller without limit.

    Raises: ConfigError when the settings name no rate.
    """

    def __init__(self, app: ASGIApp, settings: ChassisSettings | None = None, *, by: KeyFunction = by_address) -> None:
        super().__init__(app, settings)
        rule = self.chassis.rates.everywhere
        if rule is None:
            raise ConfigError('rate_limit: expected a rate such as "100/minute", got none.')
        self._rule, self._by = rule, by

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        passage = Passage(scope, send)
        refusal = await self.chassis.rates.take(passage.exchange, (self._rule, self._by, ""))
        if refusal is not None:
            await passage.turn_away(refusal, receive)
        else:
            await self.app(scope, receive, passage.send)
