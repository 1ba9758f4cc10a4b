"""Asking a database a few questions: SQLite by its file, PostgreSQL by its URL. Read only, one connection, bounded."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from golive.errors import ConfigError, UnavailableError

_TIMEOUT_SECONDS = 10.0
ROWS_MAX = 100_000


async def rows(url: str, *questions: str, root: Path | None = None) -> list[list[tuple[Any, ...]]]:
    """
    The rows each of *questions* has.

    Args:
        url: ``sqlite:///file`` (relative to *root*), ``sqlite:////absolute`` or ``postgresql://``.

    Raises: UnavailableError when there is no such database, it does not answer, or refuses a question.
    """
    if url.startswith("sqlite:///"):
        return await asyncio.to_thread(_sqlite, (root or Path()) / url.removeprefix("sqlite:///"), questions)
    if url.startswith(("postgresql://", "postgres://")):
        return await _postgres(url, questions)
    raise UnavailableError("expected sqlite:///file or postgresql://host/name, got another URL")


def _sqlite(path: Path, questions: tuple[str, ...]) -> list[list[tuple[Any, ...]]]:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT_SECONDS)
        try:
            return [connection.execute(question).fetchmany(ROWS_MAX) for question in questions]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UnavailableError(f"{path.name}: {error}") from None


async def _postgres(url: str, questions: tuple[str, ...]) -> list[list[tuple[Any, ...]]]:
    try:
        from golive.db.postgres import Line
    except ConfigError as error:
        raise UnavailableError(str(error)) from None
    line = Line(url.replace("postgres://", "postgresql://", 1))

    async def work(connection: Any) -> list[list[tuple[Any, ...]]]:
        async with connection.transaction(readonly=True):
            return [[tuple(row) for row in await connection.fetch(question)] for question in questions]

    try:
        return await asyncio.wait_for(line.run(work), _TIMEOUT_SECONDS)
    except TimeoutError:
        raise UnavailableError(f"the database does not answer within {_TIMEOUT_SECONDS:g} s") from None
    finally:
        await line.close()


def quoted(name: str) -> str:
    """*name* as an SQL identifier, with its schema if it has one."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def existing_tables(url: str, tables: tuple[str, ...]) -> str:
    """The question whose rows are the names of *tables* that exist."""
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in tables) or "''"
    if url.startswith("sqlite:"):
        return f"select name from sqlite_master where type in ('table', 'view') and name in ({listed})"  # noqa: S608 - quoted above
    return f"select relname from pg_class where relkind in ('r', 'p', 'v', 'm') and relname in ({listed})"  # noqa: S608 - quoted above
