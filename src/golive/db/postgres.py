"""
PostgreSQL as golive's own tables use it: one connection per purpose, schema steps, and errors without passwords.

A :class:`Line` is a connection that is made when needed, made again after it broke, and used by one caller at a time.
Not a pool: a pool resets a connection after every use, which costs the round trip that group commit has just saved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from golive.errors import ConfigError, StateError, UnavailableError

try:
    import asyncpg  # type: ignore[import-untyped]
except ImportError as error:
    raise ConfigError('PostgreSQL needs asyncpg, got no such package. pip install "golive[postgres]".') from error

T = TypeVar("T")

#: How long a new connection, and how long a statement may take. Beyond, the database counts as not there.
CONNECT_TIMEOUT = timedelta(seconds=3)
STATEMENT_TIMEOUT = timedelta(seconds=10)
#: How long a step of a schema may take: an index over a table of many millions of rows.
STEP_TIMEOUT = timedelta(minutes=15)

_BY_INDEX = {
    "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_bitmapscan": "off",
    "enable_hashjoin": "off", "enable_mergejoin": "off",
}  # fmt: skip

#: SQLSTATE classes that mean "not now" and not "wrong": connection, resources, operator, system, read-only standby.
_NOT_NOW = ("08", "53", "57", "58", "25006", "40")

_VENDOR = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError)


class Line:
    """
    One connection to *url*, used by one caller at a time, on one event loop.

    Args:
        durable: False commits without waiting for the disk: only for what may be lost in a database crash.
        by_index: True keeps the planner to indexes and nested loops, in one plan per statement. For statements that
            touch a few rows by key, whatever the statistics of a table that was empty a second ago say.
    """

    def __init__(self, url: str, *, durable: bool = True, by_index: bool = False) -> None:
        self._url = url
        self._settings = {"application_name": "golive", "synchronous_commit": "on" if durable else "off", "jit": "off"}
        if by_index:
            self._settings |= _BY_INDEX
        self._lock = asyncio.Lock()
        self._connection: Any = None

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """
        What *work* returns, given the connection.

        Raises: UnavailableError when the database does not answer; a commit that was under way may have happened.
        """
        async with self._lock:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connect()
                return await work(self._connection)
            except _VENDOR as error:
                raise self._translated(error) from error

    async def listen(self, channel: str, heard: Callable[[], None]) -> None:
        """Call *heard* for every notification on *channel*; returns when the connection breaks."""
        broken = asyncio.Event()

        async def start(connection: Any) -> None:
            connection.add_termination_listener(lambda *_: broken.set())
            await connection.add_listener(channel, lambda *_: heard())

        await self.run(start)
        await broken.wait()

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        async with self._lock:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                try:
                    await connection.close(timeout=1)
                except _VENDOR:
                    connection.terminate()

    async def _connect(self) -> Any:
        return await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT.total_seconds(),
            command_timeout=STATEMENT_TIMEOUT.total_seconds(),
            server_settings=self._settings,
        )

    def _translated(self, error: Exception) -> Exception:
        state = getattr(error, "sqlstate", None) or ""
        if isinstance(error, asyncpg.PostgresError) and not state.startswith(_NOT_NOW):
            ours: Exception = error
            return ours  # a bug of ours, or an answer such as a violated constraint
        gone_bad = isinstance(error, asyncpg.InternalClientError)  # the protocol is out of step after a broken answer
        if self._connection is not None and (gone_bad or state.startswith("25006")):  # or no longer the primary
            self._connection.terminate()
        reason = str(error) or type(error).__name__
        return UnavailableError(
            f"{place(self._url)}: expected an answer from PostgreSQL, got: {reason}. "
            "Check that it runs, accepts connections and is the primary."
        )


async def migrate(line: Line, steps: Sequence[str], name: str) -> None:
    """
    Bring component *name* to the schema of this code, each step once, under a lock all processes share.

    Raises: StateError when the tables were made by a newer golive.
    """

    async def work(connection: Any) -> None:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(hashtext('golive_schema'))")
            await connection.execute(
                "create table if not exists golive_schema (component text primary key, version integer not null)"
            )
            known = await connection.fetchval("select version from golive_schema where component = $1", name) or 0
            if known > len(steps):
                raise StateError(
                    f'schema of "{name}": expected version {len(steps)} or older, got {known}. '
                    "A newer golive made these tables: run that version, or name another table."
                )
            for step in steps[known:]:
                await connection.execute(step, timeout=STEP_TIMEOUT.total_seconds())
            await connection.execute(
                "insert into golive_schema values ($1, $2) "
                "on conflict (component) do update set version = excluded.version",
                name,
                len(steps),
            )

    await line.run(work)


def place(url: str) -> str:
    """*url* as it may be shown: without user and password."""
    parts = urlsplit(url)
    return f"postgresql://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
