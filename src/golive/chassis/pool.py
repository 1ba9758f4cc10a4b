"""
The service's pool of PostgreSQL connections, bounded and watched.

    pool = chassis.pool()
    async with pool.acquire() as connection: ...

An asyncpg pool, opened with the first connection that is asked for, so that a database that is away makes the instance
not ready instead of ending it. What it adds: a caller that gets no connection in time is answered 503 and not 500; how
many are in use and how many wait is measured; slow statements are logged without their values; a connection that is
held too long is reported with its route; and the sum of all pools is compared with what the server allows.

What stays out: SQL. The connections are asyncpg's own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from golive.chassis import requestid
from golive.chassis.slowqueries import SlowQueries
from golive.errors import ConfigError, TryLaterError
from golive.redact import redact_text

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis

#: How often the pool looks after itself: sizes, connections held too long.
LOOK_SECONDS = 1.0
#: What a caller without a connection is told to wait.
RETRY_AFTER_SECONDS = 1.0
#: A busy pool whose last statement ended longer ago than this is no sign of a database that works.
ANSWERED_SECONDS = 15.0
#: Upper edges in seconds: statements, and waits for a connection.
EDGES_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

#: SQLSTATE classes that mean "not now": connection, resources, operator, system.
_NOT_NOW = ("08", "53", "57", "58")
LIMITS = """
select (select setting::int from pg_settings where name = 'max_connections') as most,
       (select coalesce(sum(setting::int), 0)::int from pg_settings
        where name in ('superuser_reserved_connections', 'reserved_connections')) as reserved
"""
_ABOUT = """
select (select count(*) from pg_stat_activity where backend_type = 'client backend') as used,
       split_part(current_setting('server_version'), ' ', 1) as version,
       coalesce(has_table_privilege(to_regclass('alembic_version'), 'select'), false) as has_head
"""
_HEAD = "select string_agg(version_num, ',' order by version_num) from alembic_version"


def budget_fault(pool_max: int, processes: int, replicas: int, most: int, reserved: int) -> str:
    """Why the pools of a fleet do not fit into a server, or the empty string."""
    wanted, room = pool_max * processes * replicas, most - reserved
    if wanted <= room:
        return ""
    return (
        f"expected pool_max x processes x replicas <= {room} (max_connections {most} - {reserved} reserved), got "
        f"{pool_max} x {processes} x {replicas} = {wanted}. Lower pool_max, or put a pooler in between."
    )


class Pool:
    """
    One pool of connections to one database.

    Args:
        url: the database, without a driver's name.
        name: the label of its metrics and the name of its readiness check.

    Attributes:
        url: as given; it may hold a password.
        budget: what is wrong with the sum of all pools; empty when it fits, or before the first connection.

    Raises: ConfigError when asyncpg is not installed.
    """

    def __init__(self, chassis: Chassis, url: str, name: str) -> None:
        try:
            import asyncpg  # type: ignore[import-untyped]
        except ImportError:
            raise ConfigError("pool: expected asyncpg to be installed. Install golive[postgres].") from None
        self._asyncpg = asyncpg
        self._chassis = chassis
        self._settings = chassis.settings
        self.url = url
        self.name = name
        self.budget = ""
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._held: set[Checkout] = set()
        self._waiting = 0
        self._about: dict[str, Any] = {}
        self._answered_at = float("-inf")
        self._timeouts: deque[BaseException] = deque(maxlen=64)
        self._measures = Measures(chassis, name)
        self._slow = SlowQueries(chassis, name, self._measures.slow)
        self._measures.size_max.set(float(self._settings.db_pool_max), name)

    def acquire(self, timeout: float | None = None) -> Checkout:
        """
        ``async with pool.acquire() as connection``.

        Args:
            timeout: seconds to wait for a connection, instead of the setting ``db_connect_timeout``.
        Raises: TryLaterError, on entering, when none is free in time or the database is away; and out of the block
            when the database went away, or a statement took longer than ``db_statement_timeout``.
        """
        limit = self._settings.db_connect_timeout.total_seconds() if timeout is None else timeout
        frame = sys._getframe(1)
        return Checkout(self, limit, f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection in a transaction, committed on the way out and rolled back when anything is raised."""
        async with self.acquire() as connection, connection.transaction():
            yield connection

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """All rows. Raises as :meth:`acquire`."""
        async with self.acquire() as connection:
            return list(await connection.fetch(statement, *values))

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        """The first row, or None. Raises as :meth:`acquire`."""
        async with self.acquire() as connection:
            return await connection.fetchrow(statement, *values)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        """The first column of the first row, or None. Raises as :meth:`acquire`."""
        async with self.acquire() as connection:
            return await connection.fetchval(statement, *values)

    async def execute(self, statement: str, *values: Any) -> str:
        """The server's word for what was done, such as ``INSERT 0 1``. Raises as :meth:`acquire`."""
        async with self.acquire() as connection:
            return str(await connection.execute(statement, *values))

    async def check(self) -> dict[str, Any]:
        """
        The readiness check: the database answers. A pool whose connections are all busy has been answered by it.

        Returns: what ``/api/db/info`` shows: nothing about where the database is.
        Raises: TryLaterError.
        """
        if not self._busy():
            try:
                await self._ask_about_server()
            except TryLaterError:
                if not self._busy():
                    raise
        size = self._pool.get_size() if self._pool is not None else 0
        in_use, waiting = len(self._held), self._waiting
        return {**self._about, "size": size, "in_use": in_use, "waiting": waiting, "max": self._settings.db_pool_max}

    async def _ask_about_server(self) -> None:
        async with self.acquire() as connection:
            row = await connection.fetchrow(_ABOUT)
            head = await connection.fetchval(_HEAD) if row["has_head"] else None
        self._measures.server_used.set(float(row["used"]), self.name)
        self._about = {"engine": "postgresql", "server_version": row["version"], "migration_head": head}

    def _busy(self) -> bool:
        answered = time.monotonic() - self._answered_at < ANSWERED_SECONDS
        return answered and len(self._held) >= self._settings.db_pool_max

    async def close(self, timeout: float = 5.0) -> None:
        """Close every connection; those still held after *timeout* seconds are cut."""
        if self._looking is not None:
            self._looking.cancel()
        pool, self._pool, self._looking = self._pool, None, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), timeout)
        except TimeoutError:
            pool.terminate()

    # ---- one checkout

    async def take(self, checkout: Checkout) -> Any:
        """A connection for *checkout*. Raises: TryLaterError."""
        began = time.monotonic()
        self._waiting += 1
        self._show()
        try:
            async with asyncio.timeout(checkout.limit_seconds):
                pool = self._pool or await self._open()
                checkout.connection = await pool.acquire()
                checkout.source = pool
        except (TimeoutError, OSError, self._asyncpg.PostgresError, self._asyncpg.InterfaceError) as error:
            raise self._unavailable(error, checkout.limit_seconds) from error
        finally:
            self._waiting -= 1
            self._measures.wait_seconds.observe(time.monotonic() - began, self.name)
            self._show()
        checkout.since = time.monotonic()
        self._held.add(checkout)
        self._show()
        return checkout.connection

    async def give_back(self, checkout: Checkout, error: BaseException | None) -> None:
        """Take the connection of *checkout* back. Raises: TryLaterError when *error* is the database's absence."""
        connection, checkout.connection = checkout.connection, None
        self._held.discard(checkout)
        try:
            await checkout.source.release(connection, timeout=5.0)  # also when the pool is being closed meanwhile
        except (OSError, TimeoutError, self._asyncpg.PostgresError, self._asyncpg.InterfaceError):
            pass  # it was broken; the pool opens another
        self._show()
        if error is not None and self._is_absence(error):
            raise TryLaterError(
                f"pool {self.name}: {type(error).__name__}: the database went away or took too long.",
                "The database is not available.",
                RETRY_AFTER_SECONDS,
            ) from error

    def _is_absence(self, error: BaseException) -> bool:
        if isinstance(error, self._asyncpg.PostgresError):
            return str(error.sqlstate or "").startswith(_NOT_NOW)
        if isinstance(error, TimeoutError):
            return any(error is known for known in self._timeouts)  # the statement's, not one of the application's own
        return isinstance(error, ConnectionError) or (
            isinstance(error, self._asyncpg.InterfaceError) and "closed" in str(error)
        )

    def _unavailable(self, error: BaseException, seconds: float) -> TryLaterError:
        self._measures.timeouts.inc(self.name)
        in_use, most, others = len(self._held), self._settings.db_pool_max, self._waiting - 1
        why = "all are in use" if in_use >= most else f"{type(error).__name__}: {error}"
        return TryLaterError(
            f"pool {self.name}: expected a connection within {seconds:g} s, got none: {redact_text(why)} "
            f"({in_use} of {most} in use, {others} others wait). Raise pool_max, or hold connections shorter.",
            "The database is not available.",
            RETRY_AFTER_SECONDS,
        )

    # ---- the pool behind it

    async def _open(self) -> Any:
        async with self._opening:
            if self._pool is None:
                settings = self._settings
                pool = await self._asyncpg.create_pool(
                    self.url,
                    min_size=settings.db_pool_min,
                    max_size=settings.db_pool_max,
                    max_inactive_connection_lifetime=settings.db_idle_timeout.total_seconds(),
                    timeout=settings.db_connect_timeout.total_seconds(),
                    command_timeout=settings.db_statement_timeout.total_seconds(),
                    server_settings={"application_name": settings.service[:63]},
                    init=self._connected,
                )
                await self._compare(pool)
                self._pool = pool
                self._looking = asyncio.get_running_loop().create_task(self._look(), name=f"pool {self.name}")
        return self._pool

    async def _compare(self, pool: Any) -> None:
        """The pools of the whole fleet with what the server allows."""
        row = await pool.fetchrow(LIMITS)
        settings = self._settings
        self.budget = budget_fault(
            settings.db_pool_max, settings.db_processes, settings.db_replicas, row["most"], row["reserved"]
        )
        self._measures.server_max.set(float(row["most"]), self.name)
        if self.budget:
            self._chassis.log.event("db_pool_budget", level="warning", pool=self.name, message=self.budget)

    async def _connected(self, connection: Any) -> None:
        connection.add_query_logger(self._ran)

    def _ran(self, record: Any) -> None:
        """Called by asyncpg after each statement, in the context of who ran it."""
        self._measures.query_seconds.observe(record.elapsed, self.name)
        if record.exception is None:
            self._answered_at = time.monotonic()
        elif isinstance(record.exception, TimeoutError):
            self._timeouts.append(record.exception)
        if record.elapsed >= self._settings.db_slow_query.total_seconds():
            self._slow.note(record.query, record.elapsed)

    async def _look(self) -> None:
        limit = self._settings.db_held_max.total_seconds()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._show()
            now = time.monotonic()
            for checkout in [held for held in self._held if now - held.since >= limit and not held.reported]:
                checkout.reported = True
                route = checkout.route()
                self._measures.held_too_long.inc(self.name, route)
                self._chassis.log.event(
                    "db_connection_held", level="warning", pool=self.name, seconds=round(now - checkout.since, 1),
                    route=route, request_id=checkout.request[0], where=checkout.where,
                )  # fmt: skip

    def _show(self) -> None:
        self._measures.in_use.set(float(len(self._held)), self.name)
        self._measures.waiting.set(float(self._waiting), self.name)
        self._measures.size.set(float(self._pool.get_size()) if self._pool is not None else 0.0, self.name)


class Checkout:
    """One connection, from entering to leaving the block; remembers who asked for it."""

    __slots__ = ("connection", "limit_seconds", "pool", "reported", "request", "since", "source", "where")

    def __init__(self, pool: Pool, limit_seconds: float, where: str) -> None:
        self.pool = pool
        self.limit_seconds = limit_seconds
        self.where = where
        self.request = requestid.current.get()
        self.connection: Any = None
        self.source: Any = None
        self.since = 0.0
        self.reported = False

    def route(self) -> str:
        """The route that holds the connection; empty outside a request."""
        return requestid.route(self.request)

    async def __aenter__(self) -> Any:
        """The connection. Raises: TryLaterError."""
        return await self.pool.take(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.pool.give_back(self, error)


class Measures:
    """The metrics of pools; each family is registered once, whatever the number of pools."""

    def __init__(self, chassis: Chassis, name: str) -> None:
        metrics = chassis.metrics
        labels = ("pool",)
        self.size_max = metrics.gauge("db_pool_size_max", "Connections the pool may open.", labels)
        self.size = metrics.gauge("db_pool_size", "Connections that are open.", labels)
        self.in_use = metrics.gauge("db_pool_in_use", "Connections that are held.", labels)
        self.waiting = metrics.gauge("db_pool_waiting", "Callers that wait for a connection.", labels)
        self.timeouts = metrics.counter("db_pool_timeouts_total", "Callers that got no connection in time.", labels)
        self.wait_seconds = metrics.histogram(
            "db_pool_wait_seconds", "Time until a caller had a connection.", labels, edges=EDGES_SECONDS
        )
        self.query_seconds = metrics.histogram(
            "db_query_duration_seconds", "Time of a statement.", labels, edges=EDGES_SECONDS
        )
        self.slow = metrics.counter("db_queries_slow_total", "Statements slower than db_slow_query.", labels)
        self.held_too_long = metrics.counter(
            "db_connections_held_too_long_total", "Connections held longer than db_held_max.", ("pool", "route")
        )
        self.server_used = metrics.gauge(
            "db_server_connections", "Connections the server has, of everybody.", labels, across="max"
        )
        self.server_max = metrics.gauge(
            "db_server_connections_max", "Connections the server allows.", labels, across="max"
        )
        self.timeouts.inc(name, by=0.0)
        self.slow.inc(name, by=0.0)
