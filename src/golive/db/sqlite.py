"""
SQLite as golive's own files use it: the job store and the rollout journal.

One way to open a file (write-ahead log, ``synchronous=FULL``, explicit transactions), one way to change its schema, and
one border where sqlite3's exceptions become :class:`DatabaseFileError`. What stays out: pools and threads; whoever
opens a connection decides which thread owns it.

Why FULL: with NORMAL a power cut loses commits that were already acknowledged (measured: 6 of 12 cuts lost rows, FULL
0 of 12), and kill -9 cannot tell the two apart. FULL costs one fsync per commit, so callers put many rows into one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar

from golive.errors import StateError

C = TypeVar("C", bound=sqlite3.Connection)
Step = str | Callable[[sqlite3.Connection], None]

#: How long a statement waits for another process's write. Our writes last milliseconds; a checkpoint may take a second.
BUSY_TIMEOUT = timedelta(seconds=5)


class DatabaseFileError(StateError):
    """
    The file cannot be used as it is. Nothing golive does on this error moves traffic.

    Attributes:
        path: the file, as it was given.
        reason: what SQLite said, in its own words.
    """

    def __init__(self, path: str | os.PathLike[str], expected: str, reason: str, remedy: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{os.fspath(path)}: expected {expected}, got: {reason}. {remedy} Traffic is untouched.")


class Connection(sqlite3.Connection):
    """A sqlite3 connection that remembers its file, so that an error can name it."""

    path: Path = Path(":memory:")


def connect(
    path: str | os.PathLike[str],
    *,
    durable: bool = True,
    create: bool = True,
    busy_timeout: timedelta = BUSY_TIMEOUT,
    check_same_thread: bool = True,
) -> Connection:
    """
    Open *path* (``":memory:"`` for a private database that ends with the connection), in explicit-transaction mode.

    Args:
        durable: True makes a commit return only after an fsync; False survives kill -9 but not a power cut.
        create: False refuses a missing file; True makes it, and its folder.
        busy_timeout: how long a statement waits for a lock before it fails.
        check_same_thread: as in :func:`sqlite3.connect`; False when the owner guarantees one thread at a time.

    Raises: DatabaseFileError when the file cannot be opened, is no database, or is damaged.
    """
    with storage_errors(path):
        if create:
            _make_folder(Path(path))
        connection = sqlite3.connect(
            _uri(path, create),
            uri=True,
            timeout=busy_timeout.total_seconds(),
            isolation_level=None,
            check_same_thread=check_same_thread,
            factory=Connection,
        )
        try:
            connection.path = Path(path)
            _configure(connection, durable, busy_timeout)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: C, mode: Literal["immediate", "deferred", "exclusive"] = "immediate") -> Iterator[C]:
    """
    Commit on the way out, roll back when anything is raised. On return the commit is as durable as the connection.

    *mode* "immediate" takes the write lock at once, so that a transaction which reads before it writes cannot fail
    half-way.
    """
    with storage_errors(_path_of(connection)):
        connection.execute(f"begin {mode}")
        try:
            yield connection
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:  # SQLite has already rolled back after some errors, such as a full disk
                connection.execute("rollback")
            raise


def migrate(connection: sqlite3.Connection, steps: Sequence[Step], name: str) -> int:
    """
    Bring component *name* to the schema of this code: each of *steps* is applied once, ever, in its own transaction.

    A step is SQL (several statements are fine) or a function of the connection. Steps are only ever appended: their
    count is the schema version. Several processes may call this at once.

    Returns: how many steps were applied now.
    Raises: DatabaseFileError when the file was written by a newer golive.
    """
    applied = 0
    while _version(connection, name) != len(steps):
        with transaction(connection):
            connection.execute(_SCHEMA_TABLE)
            version = _version(connection, name)  # again, now that nobody else can write
            if version > len(steps):
                raise DatabaseFileError(
                    _path_of(connection), f'schema version {len(steps)} or older of "{name}"', f"version {version}",
                    "A newer golive wrote this file: run that version, or give this one a file of its own.",
                )  # fmt: skip
            if version < len(steps):
                _apply(connection, steps[version])
                connection.execute(
                    "insert into golive_schema (component, version) values (?, ?) "
                    "on conflict (component) do update set version = excluded.version",
                    (name, version + 1),
                )
                applied += 1
    return applied


@contextmanager
def storage_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """
    Translate what is wrong with the *file* into :class:`DatabaseFileError`.

    Constraint violations and faulty SQL pass through: the first are answers, the second are bugs of ours.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        known = _REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)  # the low byte is the primary code
        if known is None:
            raise
        raise DatabaseFileError(path, known[0], str(error), known[1]) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatabaseFileError(
            path, "a folder this user may write to", reason, "Check the path and its owner."
        ) from error


_SCHEMA_TABLE = (
    "create table if not exists golive_schema "
    "(component text primary key, version integer not null check (version >= 0)) without rowid"
)

_ASIDE = "Move it aside (a new one is made) or restore a backup."
_REMEDIES: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_NOTADB: ("a SQLite database", _ASIDE),
    sqlite3.SQLITE_CORRUPT: ("a whole SQLite database", _ASIDE),
    sqlite3.SQLITE_BUSY: ("a free lock", "Another process holds it; find it with `fuser`, or try again."),
    sqlite3.SQLITE_LOCKED: ("a free lock", "Another connection of this process holds it; try again."),
    sqlite3.SQLITE_READONLY: ("a file this user may write to", "Check its owner, its mode and the mount."),
    sqlite3.SQLITE_PERM: ("a file this user may open", "Check its owner and its mode."),
    sqlite3.SQLITE_CANTOPEN: ("a file that can be opened", "Check that it exists and that this user may write there."),
    sqlite3.SQLITE_FULL: ("room on the disk", "Free some space and try again; nothing was stored in part."),
    sqlite3.SQLITE_IOERR: ("a disk that answers", "Look at the kernel log; move the file to a healthy, local disk."),
}


def _uri(path: str | os.PathLike[str], create: bool) -> str:
    if os.fspath(path) == ":memory:":
        return ":memory:"
    return f"{Path(path).absolute().as_uri()}?mode={'rwc' if create else 'rw'}"


def _configure(connection: Connection, durable: bool, busy_timeout: timedelta) -> None:
    mode = _enter_wal(connection, time.monotonic() + busy_timeout.total_seconds())
    if mode not in ("wal", "memory"):
        raise DatabaseFileError(
            connection.path, "a disk that supports a write-ahead log", f"journal mode {mode}",
            "Put the file on a local disk; network file systems cannot share its index.",
        )  # fmt: skip
    connection.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
    connection.execute("pragma foreign_keys = on")


def _enter_wal(connection: sqlite3.Connection, deadline: float) -> str:
    """The switch to WAL ignores the busy timeout when two processes open a new file at once, so it is retried here."""
    while True:
        try:
            return str(connection.execute("pragma journal_mode = wal").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _make_folder(path: Path) -> None:
    """The parents of *path*, and the fsync that makes a new folder survive a power cut (SQLite syncs only its own)."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        handle = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _path_of(connection: sqlite3.Connection) -> Path:
    return connection.path if isinstance(connection, Connection) else Path(":memory:")


def _version(connection: sqlite3.Connection, name: str) -> int:
    with storage_errors(_path_of(connection)):
        if not connection.execute("select 1 from sqlite_schema where name = 'golive_schema'").fetchone():
            return 0
        row = connection.execute("select version from golive_schema where component = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def _apply(connection: sqlite3.Connection, step: Step) -> None:
    if callable(step):
        step(connection)
        return
    for statement in _statements(step):  # executescript() would commit the transaction we are in
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for piece in script.split(";"):
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n;"):
                yield pending
            pending = ""
