"""
What an application declares at import time: handlers, queues, downstreams, schedules, webhooks, outboxes.

The half of :class:`golive.jobs.Jobs` that touches no store. Everything is checked here, so that a mistake stops the
start and not a job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from golive.errors import ConfigError
from golive.jobs.handlers import Handler, describe
from golive.jobs.queues import Breaker, Downstream, Queue, new_downstream, new_queue
from golive.jobs.schedules import SHORTEST, Cadence, Cron, Every, Missed, Recurring
from golive.jobs.settings import JobsSettings, valid_name
from golive.timing import parse_duration

if TYPE_CHECKING:
    from golive.jobs.destinations import Resolve
    from golive.jobs.outbox import Outbox
    from golive.jobs.webhooks import Webhooks

Function = TypeVar("Function", bound=Callable[..., Any])


class Declarations:
    """See :class:`golive.jobs.Jobs`."""

    def __init__(self, settings: JobsSettings) -> None:
        self.settings = settings
        self.handlers: dict[str, Handler] = {}
        self.queues: dict[str, Queue] = {}
        self.downstreams: dict[str, Downstream] = {}
        self.schedules: dict[str, Recurring] = {}
        self.hooks: Webhooks | None = None
        self.outboxes: list[Outbox] = []

    def handler(
        self, name: str, *, attempts_max: int | None = None, timeout: str | timedelta | None = None,
        queue: str = "default", concurrency: int | None = None, retry_on_timeout: bool = False,
        isolation: Literal["none", "process"] = "none", memory_bytes_max: int | None = None,
        backoff: str | timedelta | None = None, backoff_max: str | timedelta | None = None,
        downstream: str | None = None,
    ) -> Callable[[Function], Function]:  # fmt: skip
        """
        Register the decorated function, ``async def`` or ``def`` (which runs in a thread), as the handler of *name*.

        Args:
            attempts_max: runs held against a job before it is dead; a handler with effects must bear being run again.
            timeout: ``"30s"``; the run is cancelled then and the job fails with ``timeout``. ``"0s"`` means none.
            queue: workers may be told to serve some queues only.
            concurrency: runs of this handler at the same time in one worker; None leaves it to the worker. For limits
                over all workers see :meth:`queue`.
            retry_on_timeout: True lets a timed-out job be tried again; what took too long often does so again.
            isolation: ``"process"`` gives each run a process of its own, killed at the time-out: for what computes,
                crashes or cannot be cancelled. The function must be at the top of a module that can be imported.
            memory_bytes_max: address space of that process; beyond it the run meets a ``MemoryError``.
            backoff, backoff_max: the pause after the first failure, which doubles, and its ceiling; None takes the
                settings'.
            downstream: what the handler calls, as :meth:`downstream` declares it.

        Raises: ConfigError for a name taken, a limit out of range, or a signature that cannot be a handler's.
        """
        _check_names(name, queue)
        if name in self.handlers:
            raise ConfigError(f"@jobs.handler({name!r}): expected a new name, got one that is registered already.")
        place = f"@jobs.handler({name!r})"

        def register(function: Function) -> Function:
            self.handlers[name] = describe(
                function, name, queue=queue, concurrency=_at_least_one("concurrency", concurrency),
                attempts_max=_at_least_one("attempts_max", attempts_max) or self.settings.attempts_max,
                timeout=_duration(f"{place}: timeout", timeout, self.settings.timeout),
                retry_on_timeout=retry_on_timeout, isolation=_isolation(name, function, isolation, memory_bytes_max),
                memory_bytes_max=_at_least_one("memory_bytes_max", memory_bytes_max), downstream=downstream,
                backoff_base=_duration(f"{place}: backoff", backoff, self.settings.backoff_base),
                backoff_max=_duration(f"{place}: backoff_max", backoff_max, self.settings.backoff_max),
            )  # fmt: skip
            return function

        return register

    def queue(
        self, name: str, *, concurrency: int | None = None, tenant_concurrency: int | None = None, fair: bool = False
    ) -> Queue:
        """
        Limit a queue, over all workers together. A queue that is not declared has no limits, and no cost of them.

        Args:
            concurrency: jobs of the queue running at the same time.
            tenant_concurrency: the same for each tenant. Who is at it waits; the others do not.
            fair: the tenant with the fewest running jobs goes first, then priority and age; without it a tenant that
                submits a million jobs goes before everybody who comes later.

        Raises: ConfigError for a name taken or a limit out of range.
        """
        if name in self.queues:
            raise ConfigError(f"jobs.queue({name!r}): expected a new name, got one that is declared already.")
        self.queues[name] = new_queue(name, concurrency, tenant_concurrency, fair)
        return self.queues[name]

    def downstream(
        self, name: str, *, rate: str | None = None, burst: int = 1, breaker: Breaker | None = None
    ) -> Downstream:
        """
        Declare something that handlers call, so that its limits hold for all of them, over all workers.

        Args:
            rate: starts of jobs in the long run: ``"50/s"``, ``"100/m"``, ``"1000/h"``.
            burst: how many may start at once after a pause.
            breaker: while it is open no job is claimed; a run that it refused goes back, and is not held against the
                job.

        Raises: ConfigError for a name taken or a limit out of range.
        """
        if name in self.downstreams:
            raise ConfigError(f"jobs.downstream({name!r}): expected a new name, got one that is declared already.")
        self.downstreams[name] = new_downstream(name, rate, burst, breaker)
        return self.downstreams[name]

    def cron(
        self, name: str, expression: str, *, handler: str | None = None, payload: Any = None, timezone: str = "UTC",
        missed: Literal["latest", "all", "skip"] = "latest", tenant: str = "",
    ) -> None:  # fmt: skip
        """
        Submit a job at the times of a cron *expression*: exactly one, however many workers there are.

        Args:
            name: of the schedule, unique in the store.
            expression: ``"0 3 * * *"``; five fields, or six with seconds first.
            handler: whose job; None means the one that is called like the schedule.
            payload: what it takes, or a function of the moment (an aware datetime) that returns it.
            timezone: in which the expression is read, ``"Europe/Berlin"``. A time that a change of clocks skips runs
                when the gap is over; one that comes twice runs once.
            missed: what happens to times at which no worker was alive: one job for the ``"latest"`` of them, one for
                each (``"all"``, the newest 100), or ``"skip"``: none that is more than a minute late.
            tenant: whose jobs they are.

        Raises: ConfigError for a name taken, an expression that cannot be read, or an unknown time zone.
        """
        place = f"jobs.cron({name!r})"
        try:
            zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
            raise ConfigError(
                f'{place}: timezone: expected a name such as "Europe/Berlin", got {timezone!r}.'
            ) from error
        self._recur(place, name, Cron(expression, zone, place), handler, payload, missed, tenant)

    def every(
        self, name: str, interval: str | timedelta, *, handler: str | None = None, payload: Any = None,
        missed: Literal["latest", "all", "skip"] = "latest", tenant: str = "",
    ) -> None:  # fmt: skip
        """
        Submit a job at whole multiples of *interval* (``"5m"``) since the epoch. The rest as :meth:`cron`.

        Raises: ConfigError for a name taken, or an interval that is none or below a second.
        """
        place = f"jobs.every({name!r})"
        length = _duration(f"{place}: interval", interval, SHORTEST)
        if length < SHORTEST:
            raise ConfigError(f"{place}: interval: expected at least a second, got {interval!r}.")
        self._recur(place, name, Every(length), handler, payload, missed, tenant)

    def webhooks(
        self, *, secret: str, allow: Collection[str] = (), trust: Collection[str] = (), resolve: Resolve | None = None
    ) -> None:
        """
        Let jobs be submitted with a webhook, and tell their ends to it.

        Args:
            secret: signs the deliveries: ``whsec_`` and base64, or at least 24 bytes of any text.
            allow: the hosts a webhook may name, ``"hooks.example.com"`` or ``"*.example.com"``; empty allows every
                host with public addresses only.
            trust: ``"host:port"`` that may be private, and plain http.
            resolve: another way from a name to addresses (tests).

        Raises: ConfigError for a secret that is too short, or when they are declared already.
        """
        from golive.jobs import webhooks as hooks  # only who has webhooks pays for http.client and ssl

        if self.hooks is not None:
            raise ConfigError("jobs.webhooks: expected to be declared once, got a second time.")
        self.hooks = hooks.Webhooks(secret=secret, allow=allow, trust=trust, resolve=resolve)
        limits: dict[str, Any] = {"attempts_max": hooks.ATTEMPTS_MAX, "timeout": "60s", "queue": hooks.QUEUE}
        register = self.handler(
            hooks.NAME, backoff=hooks.BACKOFF_BASE, backoff_max=hooks.BACKOFF_MAX, concurrency=8, **limits
        )
        register(hooks.delivering(self))

    def outbox(self, connect: Callable[[], Any], *, table: str = "golive_outbox") -> Outbox:
        """
        An outbox in another database, which the workers of this application empty into the store.

        Args:
            connect: makes a DB-API connection to that database.

        Raises: ConfigError for a table that cannot be one.
        """
        from golive.jobs.outbox import Outbox

        self.outboxes.append(Outbox(self, connect, table))  # type: ignore[arg-type]
        return self.outboxes[-1]

    def _recur(
        self, place: str, name: str, cadence: Cadence, handler: str | None, payload: Any, missed: str, tenant: str
    ) -> None:
        if not valid_name(name):
            raise ConfigError(f"{place}: expected a name of letters, digits, '.', '_', '-' (at most 64).")
        if name in self.schedules:
            raise ConfigError(f"{place}: expected a new name, got one that is declared already.")
        if missed not in list(Missed):
            raise ConfigError(f'{place}: missed: expected "latest", "all" or "skip", got {missed!r}.')
        self.schedules[name] = Recurring(
            name=name, kind=handler or name, cadence=cadence, payload=payload, missed=Missed(missed), tenant=tenant
        )


def _check_names(handler: str, queue: str) -> None:
    for what, name in (("handler", handler), ("queue", queue)):
        if not valid_name(name):
            raise ConfigError(f"{what} {name!r}: expected a name of letters, digits, '.', '_', '-' (at most 64).")


def _at_least_one(what: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"@jobs.handler: {what}: expected a whole number >= 1, got {value!r}.")
    return value


def _isolation(name: str, function: Callable[..., Any], isolation: str, memory_bytes_max: int | None) -> str:
    place = f"@jobs.handler({name!r})"
    if isolation not in ("none", "process"):
        raise ConfigError(f'{place}: isolation: expected "none" or "process", got {isolation!r}.')
    if isolation == "none" and memory_bytes_max is not None:
        raise ConfigError(f'{place}: memory_bytes_max: expected isolation="process" beside it, got none.')
    where = f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', function)}"
    if isolation == "process" and (where.startswith("__main__:") or "<" in where):
        raise ConfigError(
            f'{place}: isolation="process": expected a function another process can import, got {where}. '
            "Move it to the top of a module."
        )
    return isolation


def _duration(place: str, given: str | timedelta | None, default: timedelta) -> timedelta:
    if given is None or isinstance(given, timedelta):
        return default if given is None else given
    try:
        return parse_duration(given)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error
