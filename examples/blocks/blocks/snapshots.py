"""
The snapshot store: where a driver was, and when. The only file that opens its database.

A snapshot never changes once it is written. The file is shared by all releases and workers on the machine; each process
keeps one connection, guarded by a lock, and waits at most two seconds for another writer.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from blocks.processor import BlocksProcessorError, Driver
from blocks.travel import Position

SNAPSHOTS_MAX = 50_000
"""Snapshots kept; the oldest make room. A driver's own is used within minutes of being taken."""
BUSY_SECONDS = 2.0

SCHEMA = """
create table if not exists snapshots (
    sequence integer primary key,
    id text not null unique,
    device_id text not null check (device_id <> ''),
    latitude real not null,
    longitude real not null,
    local_time text not null
)
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a driver's phone reported: *device_id* took it at *driver*'s place and time."""

    id: str
    device_id: str
    driver: Driver


SMOKE = Snapshot(
    id="00000000-0000-4000-8000-000000000001",
    device_id="smoke-test",
    driver=Driver(Position(41.2, -70.95), datetime.fromisoformat("2025-10-31T17:30")),
)
"""A Friday afternoon in the middle of the city. Every store has it, for the checks after a deployment."""


def beside(jobs_url: str) -> Path:
    """
    Where the snapshots lie: in the folder of the job store, because both must outlive a release and be shared by all.

    Args:
        jobs_url: ``sqlite:///.golive/jobs.db``; a store that is no file leaves them in ``.golive``.
    """
    scheme, _, path = jobs_url.partition(":///")
    return (Path(path) if scheme == "sqlite" else Path(".golive/jobs.db")).with_name("snapshots.db")


class SnapshotStore:
    """Snapshots in an SQLite file. Any thread may use it; it opens on first use, so that an import touches no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def add(self, device_id: str, driver: Driver) -> Snapshot:
        """
        Keeps a new snapshot, durable when this returns.

        Raises: BlocksProcessorError ``snapshot_invalid`` (400) when the table refuses it, ``snapshots_unavailable``
            (503, retryable) when the file cannot be written.
        """
        snapshot = Snapshot(str(uuid.uuid4()), device_id, driver)
        with self._lock, _translated():
            connection = self._open()
            with connection:
                newest = _insert(connection, snapshot)
                connection.execute("delete from snapshots where sequence between 2 and ?", (newest - SNAPSHOTS_MAX,))
        return snapshot

    def get(self, snapshot_id: str) -> Snapshot:
        """
        The snapshot of this id.

        Raises: BlocksProcessorError ``snapshot_not_found`` (404), or ``snapshots_unavailable`` (503, retryable).
        """
        with self._lock, _translated():
            row = (
                self._open()
                .execute(
                    "select id, device_id, latitude, longitude, local_time from snapshots where id = ?", (snapshot_id,)
                )
                .fetchone()
            )
        if row is None:
            raise BlocksProcessorError(
                "snapshot_not_found",
                "x-snapshot-id: expected the id of a stored snapshot, got one that is unknown or too old. "
                "Take a new snapshot with POST /api/snapshots.",
                status=404,
            )
        return Snapshot(row[0], row[1], Driver(Position(row[2], row[3]), datetime.fromisoformat(row[4])))

    def close(self) -> None:
        """Lets go of the file. Idempotent; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(self._path)
        return self._connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    with connection:
        connection.execute(SCHEMA)
        _insert(connection, SMOKE)
    return connection


def _insert(connection: sqlite3.Connection, snapshot: Snapshot) -> int:
    """Returns the sequence number of the newest row; an id that is there already stays as it is."""
    driver = snapshot.driver
    position = driver.position
    row = (snapshot.id, snapshot.device_id, position.latitude, position.longitude, driver.local_time.isoformat())
    return (
        connection.execute(
            "insert into snapshots (id, device_id, latitude, longitude, local_time) values (?, ?, ?, ?, ?) "
            "on conflict (id) do nothing",
            row,
        ).lastrowid
        or 0
    )


@contextmanager
def _translated() -> Iterator[None]:
    """What SQLite and the file system say becomes an error both endpoints know; the insides stay in the chain."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise BlocksProcessorError(
            "snapshot_invalid", "expected a snapshot with a device_id, a position and a local time.", status=400
        ) from error
    except (sqlite3.Error, OSError) as error:
        raise BlocksProcessorError(
            "snapshots_unavailable", "the snapshot store does not answer. Try again.", status=503, retryable=True
        ) from error
