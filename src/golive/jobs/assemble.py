"""From settings to one store with all its layers; see :mod:`golive.jobs.layer` for their order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import cast

from golive.jobs.handlers import Handler
from golive.jobs.ports import JobStore
from golive.jobs.settings import JobsSettings
from golive.jobs.transports import transport_for
from golive.jobs.transports.ports import DeliveringTransport, TransportCapability


def assemble(
    store: JobStore, settings: JobsSettings, handlers: Callable[[], Collection[Handler]], app: Callable[[], str]
) -> JobStore:
    """
    *store* with what the *settings* put around it; the store itself when that is nothing.

    Raises: ConfigError for an address nobody understands.
    """
    transport = transport_for(settings.transport, app)
    if transport is None:
        return store
    if TransportCapability.DELIVERS in transport.capabilities:
        from golive.jobs.delivered import Delivered

        return Delivered(store, cast(DeliveringTransport, transport), handlers).whole()
    from golive.jobs.rung import Rung

    return Rung(store, transport, handlers).whole()
