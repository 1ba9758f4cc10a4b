"""
A SQLAlchemy engine under the same watch as :class:`golive.chassis.pool.Pool`: saturation, slow statements, budget.

    engine = chassis.watch(create_async_engine(url, pool_size=5))

The engine stays the application's: this listens to its events, sync or async, and changes one thing only. A caller
that gets no connection in time is told :class:`PoolExhaustedError`, which is SQLAlchemy's ``TimeoutError`` and is
answered 503 instead of 500. Everything else the database says stays SQLAlchemy's own exception. Of pools without a
limit (``NullPool``, SQLite's) times of statements are measured, and no saturation.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from golive.chassis import requestid
from golive.chassis.pool import ANSWERED_SECONDS, LIMITS, RETRY_AFTER_SECONDS, Measures, budget_fault
from golive.chassis.slowqueries import SlowQueries
from golive.errors import ConfigError, TryLaterError

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis

try:
    import sqlalchemy
    from sqlalchemy import event, exc
except ImportError:
    raise ConfigError("watch: expected sqlalchemy to be installed, because an engine is given.") from None


class PoolExhaustedError(TryLaterError, exc.TimeoutError):
    """No connection became free within the engine's ``pool_timeout``."""


class _Held:
    """A connection that is out: since when, and for which request."""

    __slots__ = ("reported", "request", "since")

    def __init__(self) -> None:
        self.since, self.request, self.reported = time.monotonic(), requestid.current.get(), False


class WatchedEngine:
    """
    What is known of one engine.

    Args:
        engine: of ``create_engine`` or ``create_async_engine``.
        name: the label of its metrics and the name of its readiness check.

    Attributes:
        size_max: connections the pool may open; 0 when it has no limit.
        budget: what is wrong with the sum of all pools; empty when it fits, or before the first check.
    """

    def __init__(self, chassis: Chassis, engine: Any, name: str) -> None:
        self._chassis, self._engine, self.name = chassis, engine, name
        self._sync = getattr(engine, "sync_engine", engine)
        self._settings = chassis.settings
        self._measures = Measures(chassis, name)
        self._slow = SlowQueries(chassis, name, self._measures.slow)
        self._lock = threading.Lock()  # a sync engine is used by many threads, and metrics are for one
        self._held: dict[int, _Held] = {}
        self._waiting = 0
        self._open = 0
        self._answered_at = float("-inf")
        self._compared = False
        self.budget = ""
        self._adopt()
        for happening, noted in (
            ("connect", self._connected), ("close", self._closed), ("close_detached", self._closed),
            ("checkout", self._checked_out), ("checkin", self._checked_in), ("detach", self._checked_in),
            ("before_cursor_execute", self._began), ("after_cursor_execute", self._ran),
            ("handle_error", self._failed), ("engine_disposed", lambda _engine: self._adopt()),
        ):  # fmt: skip
            event.listen(self._sync, happening, noted)

    def _adopt(self) -> None:
        """Stand at the door of the pool there is now; disposing of an engine gives it another."""
        pool = self._sync.pool
        size, overflow = getattr(pool, "size", None), getattr(pool, "_max_overflow", -1)
        self.size_max = size() + overflow if callable(size) and overflow >= 0 else 0
        self._measures.size_max.set(float(self.size_max), self.name)
        enter = pool.connect

        def connect() -> Any:
            began = time.monotonic()
            self._wait(+1)
            try:
                return enter()
            except exc.TimeoutError as error:
                with self._lock:
                    self._measures.timeouts.inc(self.name)
                raise self._exhausted() from error
            finally:
                with self._lock:
                    self._measures.wait_seconds.observe(time.monotonic() - began, self.name)
                self._wait(-1)

        pool.connect = connect

    def _exhausted(self) -> PoolExhaustedError:
        return PoolExhaustedError(
            f"engine {self.name}: expected a connection within its pool_timeout, got none: {len(self._held)} of "
            f"{self.size_max} are in use, {self._waiting - 1} others wait. Raise pool_size, or hold them shorter.",
            "The database is not available.",
            RETRY_AFTER_SECONDS,
        )

    def _wait(self, change: int) -> None:
        with self._lock:
            self._waiting += change
        self._show()

    # ---- what the engine tells

    def _connected(self, *_: Any) -> None:
        with self._lock:
            self._open += 1
        self._show()

    def _closed(self, *_: Any) -> None:
        with self._lock:
            self._open = max(0, self._open - 1)
        self._show()

    def _checked_out(self, _connection: Any, record: Any, _proxy: Any) -> None:
        with self._lock:
            self._held[id(record)] = _Held()
        self._show()

    def _checked_in(self, _connection: Any, record: Any) -> None:
        with self._lock:
            held = self._held.pop(id(record), None)
        if held is not None:
            self._look_at(held)
        self._show()

    def _began(self, _conn: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        context.golive_began = time.monotonic()

    def _ran(self, _conn: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        self._answered_at = time.monotonic()
        self._time(statement, context)

    def _failed(self, context: Any) -> None:
        if context.execution_context is not None and context.statement:
            self._time(context.statement, context.execution_context)

    def _time(self, statement: str, context: Any) -> None:
        began = getattr(context, "golive_began", None)
        if began is None:
            return
        seconds = time.monotonic() - began
        with self._lock:
            self._measures.query_seconds.observe(seconds, self.name)
            if seconds >= self._settings.db_slow_query.total_seconds():
                self._slow.note(statement, seconds)

    # ---- the check

    def check(self) -> Any:
        """The readiness check, for a sync engine plain and for an async one not; see :meth:`Pool.check`."""
        if self._sync is self._engine:
            return self._ping
        return self._ping_async

    def _ping(self) -> dict[str, Any]:
        if not self._busy():
            with self._engine.connect() as connection:
                self._ask(connection)
        return self._about()

    async def _ping_async(self) -> dict[str, Any]:
        if not self._busy():
            async with self._engine.connect() as connection:
                await connection.run_sync(self._ask)
        return self._about()

    def _busy(self) -> bool:
        """A pool whose connections are all in use has been answered by the database, and must not be waited for."""
        answered = time.monotonic() - self._answered_at < ANSWERED_SECONDS
        return bool(self.size_max) and answered and len(self._held) >= self.size_max

    def _ask(self, connection: Any) -> None:
        connection.execute(sqlalchemy.text("select 1"))
        if self._compared or self._sync.dialect.name != "postgresql" or not self.size_max:
            return
        most, reserved = connection.execute(sqlalchemy.text(LIMITS)).one()
        self._measures.server_max.set(float(most), self.name)
        processes, replicas = self._settings.db_processes, self._settings.db_replicas
        self.budget, self._compared = budget_fault(self.size_max, processes, replicas, most, reserved), True
        if self.budget:
            self._chassis.log.event("db_pool_budget", level="warning", pool=self.name, message=self.budget)

    def _about(self) -> dict[str, Any]:
        with self._lock:
            held = list(self._held.values())
        for each in held:
            self._look_at(each)
        version = ".".join(map(str, getattr(self._sync.dialect, "server_version_info", None) or ()))
        numbers = {"size": self._open, "in_use": len(held), "waiting": self._waiting, "max": self.size_max}
        return {"engine": self._sync.dialect.name, "server_version": version, **numbers}

    def _look_at(self, held: _Held) -> None:
        """Report a connection that is, or was, held too long: once."""
        seconds = time.monotonic() - held.since
        if held.reported or seconds < self._settings.db_held_max.total_seconds():
            return
        held.reported, route = True, requestid.route(held.request)
        with self._lock:
            self._measures.held_too_long.inc(self.name, route)
        self._chassis.log.event(
            "db_connection_held", level="warning", pool=self.name, seconds=round(seconds, 1), route=route,
            request_id=held.request[0],
        )  # fmt: skip

    def _show(self) -> None:
        self._measures.in_use.set(float(len(self._held)), self.name)
        self._measures.waiting.set(float(self._waiting), self.name)
        self._measures.size.set(float(self._open), self.name)
