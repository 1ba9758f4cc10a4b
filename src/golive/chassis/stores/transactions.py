"""
One insert in a transaction of the application's, whichever of the usual clients holds it.

The clients are told apart by what they can do and none is imported: the one in use is loaded already.
"""

from __future__ import annotations

from typing import Any

from golive.errors import UsageError

UNIQUE_VIOLATION = "23505"


class DuplicateRowError(Exception):
    """The row exists. The transaction it was tried in can only be rolled back."""


async def insert_within(connection: Any, statement: str, values: tuple[Any, ...]) -> None:
    """
    Run *statement*, whose ``{0}``, ``{1}`` ... stand for *values*, in the transaction *connection* is in.

    Args:
        connection: of asyncpg, psycopg (async), or SQLAlchemy (async connection or session).
    Raises: DuplicateRowError; UsageError for another kind of connection, or one without a transaction.
    """
    try:
        if hasattr(connection, "is_in_transaction"):
            await _asyncpg(connection, statement, values)
        elif hasattr(connection, "pgconn"):
            await _psycopg(connection, statement, values)
        elif hasattr(connection, "run_sync"):
            await _sqlalchemy(connection, statement, values)
        else:
            raise UsageError(
                f"within: expected a connection of asyncpg, psycopg or SQLAlchemy (async), got a "
                f"{type(connection).__name__}. Pass the one your transaction runs on."
            )
    except Exception as error:
        if _state(error) == UNIQUE_VIOLATION:
            raise DuplicateRowError from error
        raise


async def _asyncpg(connection: Any, statement: str, values: tuple[Any, ...]) -> None:
    if not connection.is_in_transaction():
        raise UsageError(_NO_TRANSACTION)
    await connection.execute(statement.format("$1", "$2", "$3"), *values)


async def _psycopg(connection: Any, statement: str, values: tuple[Any, ...]) -> None:
    if connection.autocommit and connection.info.transaction_status == 0:
        raise UsageError(_NO_TRANSACTION)
    await connection.execute(statement.format("%s", "%s", "%s"), values)


async def _sqlalchemy(connection: Any, statement: str, values: tuple[Any, ...]) -> None:
    """Begins one by itself when there is none, and commits only when told."""
    from sqlalchemy import text

    names = {f"value_{number}": value for number, value in enumerate(values)}
    await connection.execute(text(statement.format(*(f":{name}" for name in names))), names)


_NO_TRANSACTION = "within: expected a connection in a transaction, got one without. Begin the transaction first."


def _state(error: BaseException) -> str:
    """The SQLSTATE of *error* or of what it wraps."""
    inner = getattr(error, "orig", None) or error
    for candidate in (inner, getattr(inner, "__cause__", None)):
        state = getattr(candidate, "sqlstate", None) or getattr(candidate, "pgcode", None)
        if state:
            return str(state)
    return ""
