"""
Your own connection to PostgreSQL, whatever made it: asyncpg, psycopg (blocking and async), SQLAlchemy (both).

The store says what to run, once, with ``$1``; :func:`fetch_on` says how it is run on a connection. A blocking
connection blocks: the returned function then does everything before its first suspension, so that
:func:`at_once` can drive it without an event loop.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from golive.errors import UsageError

T = TypeVar("T")
Fetch = Callable[..., Awaitable[list[Any]]]

_ARGUMENT = re.compile(r"\$(\d+)::([a-z0-9]+\[\])")


def fetch_on(connection: Any) -> Fetch:
    """
    How to run a statement in the transaction that is open on *connection*, and get its rows.

    Raises: UsageError for a connection of another make, or one that would commit by itself.
    """
    make = _make(connection)
    if make is None:
        raise UsageError(
            "submit within: expected a connection of asyncpg, psycopg or SQLAlchemy, got "
            f"{type(connection).__module__}.{type(connection).__qualname__}."
        )
    return make(connection)


def at_once(connection: object, work: Coroutine[Any, Any, T]) -> T:
    """
    The result of *work*, which uses *connection* and waits for nothing else.

    Raises: UsageError if the connection is one that has to be awaited; nothing was sent on it then.
    """
    if not _awaits(connection):
        try:
            work.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
    work.close()
    raise UsageError("submit within: expected a blocking connection, got one to be awaited. Use `await jobs.submit()`.")


def root_of(connection: object) -> str:
    """The package that made *connection*, by any of its classes: ``"psycopg"``."""
    known = {"asyncpg", "psycopg", "sqlalchemy", "sqlite3"}
    return next((root for each in type(connection).__mro__ if (root := each.__module__.partition(".")[0]) in known), "")


def _make(connection: Any) -> Callable[[Any], Fetch] | None:
    root = root_of(connection)
    if root == "asyncpg":
        return _asyncpg
    awaits = _awaits(connection)
    if root == "psycopg":
        return _psycopg_async if awaits else _psycopg
    if root == "sqlalchemy" and hasattr(connection, "execute"):
        return _sqlalchemy_async if awaits else _sqlalchemy
    return None


def _awaits(connection: object) -> bool:
    return root_of(connection) == "asyncpg" or any(
        each.__name__.startswith("Async") for each in type(connection).__mro__
    )


def _asyncpg(connection: Any) -> Fetch:
    if not getattr(connection, "is_in_transaction", bool)():
        raise UsageError(f"submit within: expected an asyncpg connection in a transaction, got {type(connection)}.")
    fetch: Fetch = connection.fetch
    return fetch


def _psycopg(connection: Any) -> Fetch:
    _refuse_autocommit(connection)

    async def fetch(sql: str, *arguments: object) -> list[Any]:
        from psycopg.rows import tuple_row

        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(_named(sql, "%(p{})s"), _by_name(arguments))
            return list(cursor.fetchall())

    return fetch


def _psycopg_async(connection: Any) -> Fetch:
    _refuse_autocommit(connection)

    async def fetch(sql: str, *arguments: object) -> list[Any]:
        from psycopg.rows import tuple_row

        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_named(sql, "%(p{})s"), _by_name(arguments))
            return list(await cursor.fetchall())

    return fetch


def _refuse_autocommit(connection: Any) -> None:
    if connection.autocommit and connection.info.transaction_status.name != "INTRANS":
        raise UsageError(
            "submit within: expected a psycopg connection in a transaction, got one that commits by itself."
        )


def _sqlalchemy(connection: Any) -> Fetch:
    async def fetch(sql: str, *arguments: object) -> list[Any]:
        from sqlalchemy import text

        return [tuple(row) for row in connection.execute(text(_named(sql, ":p{}")), _by_name(arguments))]

    return fetch


def _sqlalchemy_async(connection: Any) -> Fetch:
    async def fetch(sql: str, *arguments: object) -> list[Any]:
        from sqlalchemy import text

        return [tuple(row) for row in await connection.execute(text(_named(sql, ":p{}")), _by_name(arguments))]

    return fetch


def _named(sql: str, style: str) -> str:
    """*sql* with named arguments, each with its type: the drivers cannot know what an empty list holds."""
    return _ARGUMENT.sub(lambda found: f"cast({style.format(found[1])} as {found[2]})", sql)


def _by_name(arguments: tuple[object, ...]) -> dict[str, object]:
    return {f"p{number}": argument for number, argument in enumerate(arguments, 1)}
