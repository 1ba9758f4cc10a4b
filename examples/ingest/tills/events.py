"""The events that came in, by tenant. In SQLite, one row each, written before the 201 leaves."""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from threading import Lock

_LOCK = Lock()


@cache
def _connection() -> sqlite3.Connection:
    connection = sqlite3.connect(os.environ.get("TILLS_DB", ":memory:"), check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table if not exists events (id text primary key, tenant text, till text, cents integer)")
    return connection


def add(identifier: str, tenant: str, till: str, cents: int) -> None:
    """Store one."""
    with _LOCK, _connection() as connection:
        connection.execute("insert into events values (?, ?, ?, ?)", (identifier, tenant, till, cents))


def get(identifier: str, tenant: str) -> dict[str, object] | None:
    """One of this tenant's, or None."""
    with _LOCK:
        row = (
            _connection()
            .execute("select id, till, cents from events where id = ? and tenant = ?", (identifier, tenant))
            .fetchone()
        )
    return None if row is None else {"id": row[0], "till": row[1], "cents": row[2]}


def count(tenant: str) -> int:
    """How many this tenant has."""
    with _LOCK:
        return int(_connection().execute("select count(*) from events where tenant = ?", (tenant,)).fetchone()[0])
