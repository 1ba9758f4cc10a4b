"""
What an application declares about its queues and about what its handlers call: limits that hold over all workers.

    jobs.queue("reports", concurrency=20, tenant_concurrency=2, fair=True)
    jobs.downstream("stripe", rate="50/s", burst=10, breaker=payments)

    @jobs.handler("charge", downstream="stripe") ...

A handler that names a downstream waits for it, without holding anything against its jobs: while the rate is used up or
the breaker is open, they stay pending.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from golive.errors import ConfigError, did_you_mean
from golive.jobs.handlers import Handler
from golive.jobs.limits import Bucket, Limits
from golive.jobs.settings import valid_name

_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*/\s*(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Breaker(Protocol):
    """
    What a circuit breaker says to the workers: ``chassis.breaker("payments")`` is one.

    A run in which it refuses a call (with a :class:`golive.errors.TryLaterError`) ends as :class:`golive.jobs.NotNow`
    would end it.
    """

    @property
    def state(self) -> str:
        """``"open"`` while nothing may be called. Asked often, so it must not wait for anything."""
        ...


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Limits of one queue, over all workers; None is none. See :meth:`golive.jobs.Jobs.queue`."""

    name: str
    concurrency: int | None = None
    tenant_concurrency: int | None = None
    fair: bool = False


@dataclass(frozen=True, kw_only=True)
class Downstream:
    """Something handlers call. See :meth:`golive.jobs.Jobs.downstream`."""

    name: str
    bucket: Bucket | None = None
    breaker: Breaker | None = None


def new_queue(name: str, concurrency: int | None, tenant_concurrency: int | None, fair: bool) -> Queue:
    """
    A checked declaration.

    Raises: ConfigError naming what is out of range.
    """
    if not valid_name(name):
        raise ConfigError(f"jobs.queue({name!r}): expected a name of letters, digits, '.', '_', '-' (at most 64).")
    for what, value in (("concurrency", concurrency), ("tenant_concurrency", tenant_concurrency)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"jobs.queue({name!r}): {what}: expected a whole number >= 1, got {value!r}.")
    return Queue(name=name, concurrency=concurrency, tenant_concurrency=tenant_concurrency, fair=fair)


def new_downstream(name: str, rate: str | None, burst: int, breaker: Breaker | None) -> Downstream:
    """
    A checked declaration.

    Raises: ConfigError naming what is out of range.
    """
    place = f"jobs.downstream({name!r})"
    if not valid_name(name):
        raise ConfigError(f"{place}: expected a name of letters, digits, '.', '_', '-' (at most 64).")
    if isinstance(burst, bool) or not isinstance(burst, int) or not 1 <= burst <= 100_000:
        raise ConfigError(f"{place}: burst: expected a whole number of 1 to 100,000, got {burst!r}.")
    if rate is None and breaker is None:
        raise ConfigError(f'{place}: expected a rate such as "50/s", a breaker, or both, got neither.')
    bucket = None if rate is None else Bucket(name, _per_second(place, rate), burst)
    return Downstream(name=name, bucket=bucket, breaker=breaker)


def limits_of(handler: Handler, queues: Mapping[str, Queue], downstreams: Mapping[str, Downstream]) -> Limits | None:
    """
    What a claim for *handler* obeys; None when nothing limits it.

    Raises: ConfigError when it names a downstream nobody declared.
    """
    queue = queues.get(handler.queue) or Queue(name=handler.queue)
    bucket = None if (found := downstream_of(handler, downstreams)) is None else found.bucket
    limits = Limits(queue.concurrency, queue.tenant_concurrency, queue.fair, bucket)
    return None if limits == Limits() else limits


def downstream_of(handler: Handler, downstreams: Mapping[str, Downstream]) -> Downstream | None:
    """
    What *handler* calls, as declared.

    Raises: ConfigError when nobody declared it.
    """
    if handler.downstream is None:
        return None
    if handler.downstream not in downstreams:
        raise ConfigError(
            f"@jobs.handler({handler.name!r}): downstream: expected one that jobs.downstream() declared, got "
            f"{handler.downstream!r}{did_you_mean(handler.downstream, list(downstreams))}"
        )
    return downstreams[handler.downstream]


def _per_second(place: str, rate: str) -> float:
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if found is None or float(found[1]) == 0:
        raise ConfigError(f'{place}: rate: expected something like "50/s", "100/m" or "1000/h", got {rate!r}.')
    return float(found[1]) / _SECONDS[found[2]]
