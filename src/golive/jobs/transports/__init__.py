"""
How workers learn of jobs when it is not the store that tells them: one technology per file, behind
:class:`golive.jobs.transports.ports.Transport`. The default is none: the store wakes its own workers.
"""

from __future__ import annotations

from collections.abc import Callable

from golive.errors import ConfigError
from golive.jobs.transports.ports import Transport

#: The word for the default: the store's own doorbell (LISTEN/NOTIFY, SQLite's change counter, polling).
IN_STORE = "store"


def transport_for(address: str, app: Callable[[], str]) -> Transport | None:
    """
    The transport *address* names, not opened yet; None for the store's own.

    Args:
        app: tells the "module:name" of the :class:`golive.Jobs`, for engines whose workers must import it.

    Raises: ConfigError for an address no transport understands, or a missing package.
    """
    scheme = address.partition("://")[0]
    if address == IN_STORE:
        return None
    if scheme in ("rq", "rq+redis", "rq+rediss", "rq+unix"):
        from golive.jobs.transports.rq import RqTransport

        return RqTransport(address, app)
    if scheme == "sqs" and address != scheme:
        from golive.jobs.transports.sqs import SqsTransport

        return SqsTransport(address)
    shown = f"{scheme}://..." if "://" in address else repr(address)  # what follows may be a password
    raise ConfigError(
        f'jobs.transport: expected "{IN_STORE}", "rq", "rq+redis://host:port/0" or "sqs://queue-name", got {shown}.'
    )
