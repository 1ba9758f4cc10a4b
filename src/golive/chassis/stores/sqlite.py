"""
Idempotency keys in a SQLite file, shared by every process on the machine.

Acknowledged means on disk: WAL with ``synchronous=FULL``. That costs an fsync per commit, so one thread per process
gathers what is waiting into one transaction (group commit). The thread also keeps SQLite, which blocks, off the loop.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from golive.chassis.idempotency import Record

T = TypeVar("T")

#: Operations gathered into one transaction.
BATCH_MAX = 256
#: How long a transaction waits for another process's.
BUSY_SECONDS = 5.0
#: Expired rows removed with each batch, so that the file does not grow for ever and no batch stalls.
SWEEP_ROWS = 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS golive_idempotency (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    owner TEXT NOT NULL,
    done INTEGER NOT NULL,
    saved BLOB,
    until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS golive_idempotency_until ON golive_idempotency (until);
"""


class SqliteIdempotencyStore:
    """
    See :class:`golive.chassis.idempotency.IdempotencyStore`.

    Args:
        path: the file; made with its table when first used.
        now: Unix time in seconds; the processes of one machine share its clock.
    """

    bounded = False

    def __init__(self, path: Path | str, now: Callable[[], float] = time.time) -> None:
        self._path = str(path)
        self._now = now
        self._queue: queue.SimpleQueue[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None

    async def begin(self, key: str, fingerprint: bytes, owner: str, lease_seconds: float) -> Record:
        """See the protocol."""

        def work(connection: sqlite3.Connection) -> Record:
            now = self._now()
            row = connection.execute(
                "SELECT fingerprint, owner, done, saved, until FROM golive_idempotency WHERE key = ? AND until > ?",
                (key, now),
            ).fetchone()
            if row is not None:
                return Record(row[0], row[1], False, bool(row[2]), row[3], row[4] - now)
            connection.execute(
                "INSERT OR REPLACE INTO golive_idempotency VALUES (?, ?, ?, 0, NULL, ?)",
                (key, fingerprint, owner, now + lease_seconds),
            )
            return Record(fingerprint, owner, True, False, None, lease_seconds)

        return await self._do(work)

    async def renew(self, key: str, owner: str, lease_seconds: float) -> bool:
        """See the protocol."""
        until = self._now() + lease_seconds
        return await self._update("UPDATE golive_idempotency SET until = ?", (until,), key, owner)

    async def finish(self, key: str, owner: str, saved: bytes | None, ttl_seconds: float) -> bool:
        """See the protocol."""
        return await self._update(
            "UPDATE golive_idempotency SET done = 1, saved = ?, until = ?",
            (saved, self._now() + ttl_seconds),
            key,
            owner,
        )

    async def release(self, key: str, owner: str) -> None:
        """See the protocol."""
        await self._update("DELETE FROM golive_idempotency", (), key, owner)

    async def close(self) -> None:
        """The thread keeps its connection: it is a daemon, and what it was given it still does."""

    async def _update(self, statement: str, values: tuple[Any, ...], key: str, owner: str) -> bool:
        """Only the owner of a key that is not done may touch it: that is the fence."""
        fenced = f"{statement} WHERE key = ? AND owner = ? AND done = 0"
        return await self._do(lambda connection: connection.execute(fenced, (*values, key, owner)).rowcount == 1)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="golive-idempotency", daemon=True)
            self._thread.start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((work, future))
        return await future

    def _run(self) -> None:
        """The thread: one batch, one transaction, then the answers."""
        connection: sqlite3.Connection | None = None
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH_MAX and not self._queue.empty():
                batch.append(self._queue.get())
            try:
                connection = connection or self._connect()
                results = self._transaction(connection, batch)
            except Exception as error:
                connection = None  # the file may have been replaced: open it anew next time
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                _settle(future, result)

    def _transaction(self, connection: sqlite3.Connection, batch: list[Any]) -> list[Any]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [work(connection) for work, _ in batch]
            connection.execute(
                "DELETE FROM golive_idempotency WHERE key IN "
                "(SELECT key FROM golive_idempotency WHERE until <= ? ORDER BY until LIMIT ?)",
                (self._now() - 1.0, SWEEP_ROWS),
            )
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
        return results

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(_SCHEMA)
        return connection


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    def settle() -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    try:
        future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:  # the loop has ended: nobody waits any more
        pass
