"""The only place that opens the database. SQLite here; the plan's managed Postgres behind the same three functions."""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from threading import Lock

_LOCK = Lock()
_SEED = [
    ("5560125790", "Nordic Timber", 182.0),
    ("5560360793", "Harbour Crane", 97.5),
    ("5590048472", "Mill & Sons", 12.4),
]


@cache
def _connection() -> sqlite3.Connection:
    connection = sqlite3.connect(os.environ.get("COMPANIES_DB", ":memory:"), check_same_thread=False)
    connection.execute("create table if not exists companies (orgnr text primary key, name text, revenue_msek real)")
    connection.executemany("insert or ignore into companies values (?, ?, ?)", _SEED)
    connection.commit()
    return connection


def companies() -> list[dict[str, object]]:
    """All of them, by name."""
    with _LOCK:
        rows = _connection().execute("select orgnr, name, revenue_msek from companies order by name").fetchall()
    return [{"orgnr": orgnr, "name": name, "revenueMsek": revenue} for orgnr, name, revenue in rows]


def company(orgnr: str) -> dict[str, object] | None:
    """One of them, or None."""
    return next((each for each in companies() if each["orgnr"] == orgnr), None)


def version() -> str:
    """Of the database engine; asking it is what "reachable" means."""
    with _LOCK:
        return str(_connection().execute("select sqlite_version()").fetchone()[0])
