"""The snapshot store: what is kept, what is refused, and what it says when its file is gone."""

from __future__ import annotations

import sqlite3
import threading
from datetime import datetime
from pathlib import Path

import pytest

from blocks import snapshots as module
from blocks.processor import BlocksProcessorError, Driver
from blocks.snapshots import SMOKE, SnapshotStore, beside
from blocks.travel import Position

HERE = Driver(Position(41.19, -70.93), datetime(2025, 11, 3, 20, 0))


def test_a_snapshot_is_read_back_as_it_was_taken_also_by_another_process(tmp_path: Path) -> None:
    """Two stores on one file stand for two releases: what one acknowledged the other can read."""
    one, other = SnapshotStore(tmp_path / "s.db"), SnapshotStore(tmp_path / "s.db")
    taken = one.add("phone-1", HERE)
    assert other.get(taken.id) == taken
    one.close()
    assert one.get(taken.id) == taken


def test_every_store_has_the_smoke_snapshot(tmp_path: Path) -> None:
    """A check after a deployment needs a valid id before any driver came by; opening twice changes nothing."""
    for _ in range(2):
        store = SnapshotStore(tmp_path / "nested" / "s.db")
        assert store.get(SMOKE.id) == SMOKE
        store.close()


def test_an_unknown_id_is_not_found(tmp_path: Path) -> None:
    """404, and the way to a valid one."""
    with pytest.raises(BlocksProcessorError, match="POST /api/snapshots") as error:
        SnapshotStore(tmp_path / "s.db").get("nobody' or 1=1 --")
    assert (error.value.code, error.value.status, error.value.retryable) == ("snapshot_not_found", 404, False)


def test_a_broken_file_is_a_retryable_503_without_its_path(tmp_path: Path) -> None:
    """The client learns to try again; the cause stays in the exception chain for the log."""
    (tmp_path / "s.db").write_bytes(b"this is not a database, and long enough to be sure of it" * 100)
    with pytest.raises(BlocksProcessorError) as error:
        SnapshotStore(tmp_path / "s.db").get(SMOKE.id)
    assert (error.value.code, error.value.status, error.value.retryable) == ("snapshots_unavailable", 503, True)
    assert str(tmp_path) not in str(error.value)
    assert isinstance(error.value.__cause__, sqlite3.DatabaseError)


def test_a_folder_that_cannot_be_made_is_a_retryable_503(tmp_path: Path) -> None:
    """The file system's errors are translated like SQLite's."""
    (tmp_path / "file").touch()
    with pytest.raises(BlocksProcessorError) as error:
        SnapshotStore(tmp_path / "file" / "s.db").add("phone-1", HERE)
    assert error.value.code == "snapshots_unavailable"


def test_a_snapshot_without_a_device_is_refused_by_the_table_itself(tmp_path: Path) -> None:
    """The seed's constraint: should a caller get past validation it is still a 400, never a 500."""
    with pytest.raises(BlocksProcessorError, match="device_id") as error:
        SnapshotStore(tmp_path / "s.db").add("", HERE)
    assert (error.value.code, error.value.status) == ("snapshot_invalid", 400)


def test_the_oldest_make_room_and_the_smoke_snapshot_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three, the fourth pushes out the first of the drivers'."""
    monkeypatch.setattr(module, "SNAPSHOTS_MAX", 3)
    store = SnapshotStore(tmp_path / "s.db")
    taken = [store.add(f"phone-{number}", HERE).id for number in range(4)]
    assert [store.get(each).id for each in (SMOKE.id, *taken[1:])] == [SMOKE.id, *taken[1:]]
    with pytest.raises(BlocksProcessorError):
        store.get(taken[0])


def test_many_threads_share_one_store(tmp_path: Path) -> None:
    """FastAPI calls it from a thread pool: no snapshot is lost and none gets another's id."""
    store = SnapshotStore(tmp_path / "s.db")
    taken: list[str] = []
    threads = [threading.Thread(target=lambda: taken.append(store.add("phone", HERE).id)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({store.get(each).id for each in taken}) == 16


def test_snapshots_lie_beside_the_jobs() -> None:
    """Whatever makes the job store shared between releases makes the snapshots shared too."""
    assert beside("sqlite:////srv/state/jobs.db") == Path("/srv/state/snapshots.db")
    assert beside("sqlite:///.golive/jobs.db") == Path(".golive/snapshots.db")
    assert beside("postgresql://db.internal/jobs") == Path(".golive/snapshots.db")
