"""
Materialised views kept fresh in the background, by one process of the fleet, without locking readers out.

    sales = chassis.view("daily_sales", every="5m")
    ...
    sales.changed()  # after a write: costs nothing, and a thousand calls are one refresh

Refreshing on every write makes each write as slow as the whole view. Here a write only says that the view is behind;
at most one refresh runs per *every*, and one more follows the last write. Whoever finds a refresh due takes an advisory
lock for the length of its transaction, so processes need not know of each other, and one that dies holds nothing.
``CONCURRENTLY`` needs a unique index; without one nothing is refreshed and the reason is logged, because a plain
refresh locks readers out for as long as it takes.

What the view is worth is ``mv_last_refresh_age_seconds``: how old the data in it is.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from golive.errors import ConfigError
from golive.redact import redact_text

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis

#: How often it is looked whether a refresh is due, at most.
LOOK_SECONDS_MAX = 5.0
#: What a refresh may take, and how long a failed one is left alone.
REFRESH_SECONDS_MAX, RETRY_SECONDS = 600.0, 30.0

_NAME = re.compile(r"(?:[a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}")
_TABLE = """
create table if not exists golive_views (
    name text primary key, asked_at timestamptz, started_at timestamptz, seconds double precision,
    refreshes bigint not null default 0
)
"""
_ASK = """
insert into golive_views (name, asked_at) values ($1, clock_timestamp())
on conflict (name) do update set asked_at = excluded.asked_at
"""
_LOOK = """
select extract(epoch from clock_timestamp() - started_at)::float8 as age, asked_at > started_at as behind
from golive_views where name = $1
"""
_STATE = """
select c.relispopulated as populated, exists (
    select from pg_index i where i.indrelid = c.oid and i.indisunique and i.indpred is null and i.indexprs is null
) as has_key
from pg_class c where c.oid = to_regclass($1) and c.relkind = 'm'
"""
_DONE = """
insert into golive_views (name, started_at, seconds, refreshes)
values ($1, now(), extract(epoch from clock_timestamp() - now()), 1)
on conflict (name) do update
set started_at = excluded.started_at, seconds = excluded.seconds, refreshes = golive_views.refreshes + 1
"""


class View:
    """
    One materialised view.

    Args:
        every: at most one refresh in this time.
        always: refresh every time, whether or not something changed.
        blocking: refresh a view without a unique index too, locking its readers out meanwhile.
    """

    def __init__(self, name: str, every: timedelta, *, always: bool, blocking: bool) -> None:
        self.name = name
        self.every_seconds = every.total_seconds()
        self.always = always
        self.blocking = blocking
        self.asked = False
        self.retry_at = 0.0

    def changed(self) -> None:
        """The data under the view has changed. Costs nothing; call it after each write."""
        self.asked = True

    def is_due(self, age: float | None, behind: bool | None) -> bool:
        """
        Whether to refresh now.

        Args:
            age: seconds since the last refresh began, None when there was none.
            behind: whether somebody said :meth:`changed` since; None: nobody ever.
        """
        if age is None:
            return True
        return age >= self.every_seconds and (self.always or bool(behind))


class Views:
    """The views of one chassis, and the task that looks after them."""

    def __init__(self, chassis: Chassis, now: Callable[[], float] = time.monotonic) -> None:
        self._chassis = chassis
        self._now = now
        self._views: dict[str, View] = {}
        self._task: asyncio.Task[None] | None = None
        metrics = chassis.metrics
        self._age = metrics.gauge("mv_last_refresh_age_seconds", "How old the data of a view is.", ("view",))
        self._seconds = metrics.gauge("mv_refresh_seconds", "What the last refresh here took.", ("view",))
        self._outcomes = metrics.counter("mv_refreshes_total", "Refreshes by this process.", ("view", "outcome"))

    def __iter__(self) -> Any:
        return iter(self._views.values())

    def add(self, view: View) -> View:
        """Look after *view*. Raises: ConfigError when its name is no name of a view."""
        if not _NAME.fullmatch(view.name):
            raise ConfigError(f"view: expected a name such as daily_sales or reports.daily_sales, got {view.name!r}.")
        self._views[view.name] = view
        return view

    def start(self) -> None:
        """Begin on the running event loop. Safe to call twice."""
        if self._views and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="views")

    def stop(self) -> None:
        """Stop; a refresh that runs is cancelled and rolled back by the server."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        pause = min(LOOK_SECONDS_MAX, *(view.every_seconds / 10 for view in self))
        ready = False
        while True:
            try:
                if not ready:
                    await self._chassis.pool().execute(_TABLE)
                    ready = True
                for view in self:
                    await self.look(view)
            except Exception as error:  # the database is away: its own check says so
                self._say("view", "warning", output=redact_text(str(error))[:300])
                await asyncio.sleep(LOOK_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def look(self, view: View) -> None:
        """Tell the others what changed here, measure, and refresh if that is due. Raises what the database raises."""
        async with self._chassis.pool().acquire() as connection:
            if view.asked:
                view.asked = False
                try:
                    await connection.execute(_ASK, view.name)
                except BaseException:
                    view.asked = True
                    raise
            row = await connection.fetchrow(_LOOK, view.name)
        age = row["age"] if row is not None else None
        if age is not None:
            self._age.set(age, view.name)
        if self._now() >= view.retry_at and view.is_due(age, row["behind"] if row is not None else None):
            await self._refresh(view)

    async def _refresh(self, view: View) -> None:
        """On a connection of its own, because a refresh may take minutes and the pool is for requests."""
        import asyncpg  # type: ignore[import-untyped]

        connection = await asyncpg.connect(
            self._chassis.pool().url, timeout=self._chassis.settings.db_connect_timeout.total_seconds(),
            command_timeout=REFRESH_SECONDS_MAX, server_settings={"application_name": "golive views"},
        )  # fmt: skip
        try:
            async with connection.transaction():
                fault = await self._refresh_within(connection, view)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            fault = redact_text(f"{type(error).__name__}: {error}")
        finally:
            connection.terminate()
        if fault:
            view.retry_at = self._now() + RETRY_SECONDS
            self._outcomes.inc(view.name, "failed")
            self._say("view_not_refreshed", "error", view=view.name, output=fault[:300])

    async def _refresh_within(self, connection: Any, view: View) -> str:
        """Why it could not be refreshed; empty when it was, or when another process does it."""
        if not await connection.fetchval("select pg_try_advisory_xact_lock(hashtext('golive view ' || $1))", view.name):
            return ""
        row = await connection.fetchrow(_LOOK, view.name)
        if row is not None and not view.is_due(row["age"], row["behind"]):
            return ""  # another process was faster
        state = await connection.fetchrow(_STATE, view.name)
        if state is None:
            return f"expected a materialised view {view.name}, got none. Create it, or mend its name."
        if not state["has_key"] and not view.blocking:
            return (
                f"expected a unique index on {view.name}, got none: a refresh would lock its readers out. "
                "Create one on plain columns, without a condition, or say blocking=True."
            )
        began = time.monotonic()
        how = "concurrently " if state["populated"] and state["has_key"] else ""
        quoted = ".".join(f'"{part}"' for part in view.name.split("."))
        await connection.execute(f"refresh materialized view {how}{quoted}")
        await connection.execute(_DONE, view.name)
        seconds = time.monotonic() - began
        self._outcomes.inc(view.name, "refreshed")
        self._seconds.set(seconds, view.name)
        self._age.set(seconds, view.name)
        self._say("view_refreshed", "info", view=view.name, seconds=round(seconds, 3), concurrently=bool(how))
        return ""

    def _say(self, event: str, level: str, **more: object) -> None:
        self._chassis.log.event(event, level=level, **more)
