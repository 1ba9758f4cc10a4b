"""From settings to one store with all its layers; see :mod:`golive.jobs.layer` for their order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import cast

from golive.jobs.handlers import Handler
from golive.jobs.offloading import Offloading
from golive.jobs.ports import JobStore
from golive.jobs.results import INLINE, results_for
from golive.jobs.settings import JobsSettings
from golive.jobs.transports import transport_for
from golive.jobs.transports.ports import DeliveringTransport, TransportCapability

#: The longest result where it need not fit into a row, unless the settings say otherwise.
OFFLOADED_BYTES_MAX = 64 * 1024 * 1024


def offloading(store: JobStore, settings: JobsSettings) -> Offloading | None:
    """
    *store* with its large results where the *settings* say; None when they stay in it.

    Raises: ConfigError for an address nobody understands.
    """
    results = results_for(settings.results)
    if results is None:
        return None
    inline = min(settings.result_inline_bytes_max, store.result_bytes_max or settings.result_inline_bytes_max)
    return Offloading(store, results, inline, settings.results_keep.total_seconds())


def fitted(store: JobStore, settings: JobsSettings) -> JobsSettings:
    """*settings* with the longest result that can be kept."""
    most = settings.result_bytes_max
    if settings.results != INLINE and most == JobsSettings.result_bytes_max:
        return replace(settings, result_bytes_max=OFFLOADED_BYTES_MAX)
    if settings.results == INLINE and store.result_bytes_max is not None:
        return replace(settings, result_bytes_max=min(most, store.result_bytes_max))
    return settings


def announced(
    store: JobStore, settings: JobsSettings, handlers: Callable[[], Collection[Handler]], app: Callable[[], str]
) -> JobStore:
    """
    *store* with its jobs rung by the transport of the *settings*; the store itself when that is none.

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
