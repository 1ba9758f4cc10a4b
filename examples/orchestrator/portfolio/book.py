"""
The book of trades and its summary. The summary is a table that is computed anew from all trades, which takes a while;
a trade is one row. They use two connections: a write never waits for the summary.
"""

from __future__ import annotations

import os
import sqlite3
import time
from functools import cache
from threading import Lock

_WRITES, _REFRESH = Lock(), Lock()
SUMMARY_SECONDS = 0.5  # what the sums over a year of trades cost; here there are not enough of them to take that long


@cache
def _connection(_purpose: str) -> sqlite3.Connection:
    connection = sqlite3.connect(os.environ.get("PORTFOLIO_DB", "portfolio.db"), check_same_thread=False, timeout=5)
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table if not exists trades (id integer primary key, paper text, units integer)")
    connection.execute("create table if not exists summary (paper text primary key, units integer)")
    return connection


def trade(paper: str, units: int) -> int:
    """Write one trade; its number."""
    with _WRITES, _connection("writes") as connection:
        return int(connection.execute("insert into trades (paper, units) values (?, ?)", (paper, units)).lastrowid or 0)


def refresh() -> int:
    """Compute the summary anew, one at a time, and put it in place in one short transaction; how many papers."""
    with _REFRESH:
        connection = _connection("summary")
        rows = connection.execute("select paper, sum(units) from trades group by paper").fetchall()
        time.sleep(SUMMARY_SECONDS)
        with connection:
            connection.execute("delete from summary")
            connection.executemany("insert into summary values (?, ?)", rows)
        return len(rows)


def summary() -> dict[str, int]:
    """Units by paper, as of the last refresh."""
    return dict(_connection("reads").execute("select paper, units from summary").fetchall())
