"""Repeated requests, by ``Idempotency-Key``; see :mod:`golive.chassis.once`."""

from __future__ import annotations

from dataclasses import replace

from golive.chassis.alone.concern import Concern, Passage
from golive.chassis.idempotency import IdempotencyRules
from golive.chassis.limits import CallerLeftError
from golive.chassis.settings import ChassisSettings
from golive.chassis.types import ASGIApp, Receive, Scope, Send


class Idempotent(Concern):
    """
    A ``POST`` or ``PATCH`` with an ``Idempotency-Key`` runs once; keys live in ``idempotency_store``.

    Args:
        rules: how a repeated request is treated; the same for every path of *app*. Keys of different paths are
            independent.
    """

    def __init__(
        self, app: ASGIApp, settings: ChassisSettings | None = None, *, rules: IdempotencyRules | None = None
    ) -> None:
        super().__init__(app, settings)
        given = rules or IdempotencyRules()
        self._rules = replace(given, source=given.source or self.chassis.settings.service)  # a path is no label

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        passage = Passage(scope, send)
        try:
            await self.chassis.once.run(self.app, passage.exchange, receive, self._rules, passage.path)
        except CallerLeftError:
            pass  # there is nobody to answer
