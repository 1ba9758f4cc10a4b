"""Your own connection to the SQLite store's file: sqlite3, or SQLAlchemy, blocking and async."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from golive.errors import UsageError
from golive.jobs.stores.within import root_of

T = TypeVar("T")


async def within(connection: Any, path: Path, work: Callable[[Any], T]) -> T:
    """
    *work* in the transaction that is open on *connection*, or that this opens; the caller commits.

    Blocks in the calling thread, except for SQLAlchemy's async connections and sessions.

    Raises: UsageError for another kind of connection, or one to another file.
    """
    if isinstance(connection, sqlite3.Connection):
        cursor = connection.cursor()
        cursor.row_factory = None  # the caller's rows may be of any make
        _refuse_other_file(cursor, path)
        if not connection.in_transaction:
            cursor.execute("begin immediate")
        return work(cursor)
    if root_of(connection) == "sqlalchemy" and hasattr(connection, "run_sync"):
        result: T = await connection.run_sync(lambda inner: _by_sqlalchemy(inner, path, work))
        return result
    if root_of(connection) == "sqlalchemy" and hasattr(connection, "execute"):
        return _by_sqlalchemy(connection, path, work)
    raise UsageError(
        f"submit within: expected a sqlite3 or SQLAlchemy connection to {path}, got "
        f"{type(connection).__module__}.{type(connection).__qualname__}."
    )


def _by_sqlalchemy(connection: Any, path: Path, work: Callable[[Any], T]) -> T:
    bound = connection.connection() if hasattr(connection, "flush") else connection  # a session's own
    driver = _Driver(bound)
    if bound.dialect.name != "sqlite":
        raise UsageError(f"submit within: expected a connection to {path}, got one to another database.")
    _refuse_other_file(driver, path)
    if not bound.connection.driver_connection.in_transaction:  # sqlite3 begins one before an insert, not before ours
        driver.execute("begin immediate")
    return work(driver)


class _Driver:
    """A SQLAlchemy connection as our statements use one: text in SQLite's own style."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, arguments: Sequence[Any] = ()) -> Any:
        return self._connection.exec_driver_sql(sql, tuple(arguments))


def _refuse_other_file(cursor: Any, path: Path) -> None:
    rows = cursor.execute("pragma database_list").fetchall()
    file = next(file for _, name, file in rows if name == "main")
    if not (file and path.exists() and Path(file).samefile(path)):
        raise UsageError(f"submit within: expected a connection to {path}, got one to another database.")
