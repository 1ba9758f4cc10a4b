"""
Idempotency keys in a SQLite file, shared by every process on the machine.

Acknowledged means on disk: WAL with ``synchronous=FULL``. That costs an fsync per commit, so one thread per process
gathers what is waiting into one transaction (group commit), and the processes take turns
(:mod:`golive.chassis.stores.turns`). A second thread looks keys up first, also many in one transaction: a duplicate is
answered from what is on the disk already, and waits for no fsync of others. The threads also keep SQLite, which blocks,
off the loop.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from golive.chassis.idempotency import Record
from golive.chassis.stores.turns import Turns
from golive.db.sqlite import connect, transaction

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

#: Operations gathered into one transaction.
BATCH_MAX = 256
#: How long a transaction waits for whoever takes no turns: an operator's shell, a backup. Less than
#: ``once.STORE_SECONDS``, so that who gives up has not taken the key after all.
_BUSY = timedelta(seconds=4)
#: Expired rows removed with each batch, so that the file does not grow for ever and no batch stalls.
SWEEP_ROWS = 20

_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS golive_idempotency (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    owner TEXT NOT NULL,
    done INTEGER NOT NULL,
    saved BLOB,
    until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS golive_idempotency_until ON golive_idempotency (until);
COMMIT;
"""

#: A look that may answer without writing, the change otherwise, and who waits.
_Piece = tuple[Work | None, Work, asyncio.Future[Any]]


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
        self._lookups: queue.SimpleQueue[_Piece] = queue.SimpleQueue()
        self._changes: queue.SimpleQueue[_Piece] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._faults = 0  # of the writer: each makes both threads open the file anew

    async def begin(self, key: str, fingerprint: bytes, owner: str, lease_seconds: float) -> Record:
        """See the protocol."""

        def look(connection: sqlite3.Connection) -> Record | None:
            now = self._now()
            row = connection.execute(
                "SELECT fingerprint, owner, done, saved, until FROM golive_idempotency WHERE key = ? AND until > ?",
                (key, now),
            ).fetchone()
            return Record(row[0], row[1], False, bool(row[2]), row[3], row[4] - now) if row is not None else None

        def take(connection: sqlite3.Connection) -> Record:
            held = look(connection)
            if held is not None:
                return held
            connection.execute(
                "INSERT OR REPLACE INTO golive_idempotency VALUES (?, ?, ?, 0, NULL, ?)",
                (key, fingerprint, owner, self._now() + lease_seconds),
            )
            return Record(fingerprint, owner, True, False, None, lease_seconds)

        return await self._do(take, look)

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

    def prepare(self) -> None:
        """Open the file in the background: making a new one takes several fsyncs, which no caller should wait for."""
        if self._threads and all(thread.is_alive() for thread in self._threads):
            return
        works = ((self._write_all, "golive-idempotency"), (self._look_up_all, "golive-idempotency-look"))
        self._threads = [threading.Thread(target=work, name=name, daemon=True) for work, name in works]
        for thread in self._threads:
            thread.start()

    async def close(self) -> None:
        """The threads keep their connections: they are daemons, and what they were given they still do."""

    async def _update(self, statement: str, values: tuple[Any, ...], key: str, owner: str) -> bool:
        """Only the owner of a key that is not done may touch it: that is the fence."""
        fenced = f"{statement} WHERE key = ? AND owner = ? AND done = 0"
        return await self._do(lambda connection: connection.execute(fenced, (*values, key, owner)).rowcount == 1)

    async def _do(
        self, change: Callable[[sqlite3.Connection], T], look: Callable[[sqlite3.Connection], T | None] | None = None
    ) -> T:
        """What *look* finds, and when it finds nothing what *change* gives, once that is on disk."""
        self.prepare()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        (self._changes if look is None else self._lookups).put((look, change, future))
        return await future

    def _write_all(self) -> None:
        """A thread: one batch, one transaction, then the answers."""
        file = _opened(self._path)
        while True:
            batch = _gathered(self._changes)
            results: list[Any]
            try:
                file = file or _File(self._path)
                results = self._transaction(file, batch)
            except Exception as error:
                if file is not None:
                    file.close()
                file = None  # it may have been replaced: open it anew next time
                self._faults += 1
                results = [error] * len(batch)
            _settle([(future, result) for (_, _, future), result in zip(batch, results, strict=True)])

    def _look_up_all(self) -> None:
        """A thread: one batch, one look; what is not there goes on to the writer, and so does what went wrong."""
        file, faults = _opened(self._path), self._faults
        while True:
            batch = _gathered(self._lookups)
            if faults != self._faults:
                if file is not None:
                    file.close()
                file, faults = None, self._faults
            try:
                file = file or _File(self._path)
                found = file.looked_up([look for look, _, _ in batch if look is not None])
            except Exception:
                faults, found = -1, [None] * len(batch)
            known: list[tuple[asyncio.Future[Any], Any]] = []
            for piece, record in zip(batch, found, strict=True):
                if record is None:
                    self._changes.put(piece)
                else:
                    known.append((piece[2], record))
            _settle(known)

    def _transaction(self, file: _File, batch: list[_Piece]) -> list[Any]:
        with file.turns, transaction(file.connection) as connection:
            results = [change(connection) for _, change, _ in batch]
            connection.execute(
                "DELETE FROM golive_idempotency WHERE key IN "
                "(SELECT key FROM golive_idempotency WHERE until <= ? ORDER BY until LIMIT ?)",
                (self._now() - 1.0, SWEEP_ROWS),
            )
        return results


class _File:
    """The file, opened by one thread for itself; its table is made in a turn."""

    def __init__(self, path: str) -> None:
        # an empty table is nothing acknowledged: the fsync of the first key carries it to the disk too
        self.connection = connect(path, durable=False, busy_timeout=_BUSY, check_same_thread=False)
        self.turns = Turns(path)
        try:
            with self.turns:
                self.connection.executescript(_SCHEMA)
            self.connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            self.close()
            raise

    def looked_up(self, looks: list[Work]) -> list[Any]:
        """What each of *looks* finds, all at the same moment."""
        self.connection.execute("BEGIN")
        try:
            return [look(self.connection) for look in looks]
        finally:
            self.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of it."""
        self.connection.close()
        self.turns.close()


def _opened(path: str) -> _File | None:
    """The file, ahead of its first use; whatever is wrong with it is told to who uses it."""
    try:
        return _File(path)
    except Exception:
        return None


def _gathered(pieces: queue.SimpleQueue[_Piece]) -> list[_Piece]:
    """What waits, at least one."""
    batch = [pieces.get()]
    while len(batch) < BATCH_MAX and not pieces.empty():
        batch.append(pieces.get())
    return batch


def _settle(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    """Give each future its answer, all of a loop in one call."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for answer in answers:
        loops.setdefault(answer[0].get_loop(), []).append(answer)
    for loop, settled in loops.items():
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(_answer, settled)


def _answer(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
