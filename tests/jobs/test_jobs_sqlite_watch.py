"""How the processes of one SQLite file notice each other's commits."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from golive.db import sqlite
from golive.jobs.stores import sqlite_watch
from golive.jobs.stores.sqlite_watch import BUSY_SECONDS, MISSES_MAX, QUIET_SECONDS, Watch


class Database:
    """A file another program writes to, and a watch over it; *heard* counts what the listener was told."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite.connect(path)
        self.connection.execute("create table if not exists it (n)")
        self.watch, self.heard = Watch(path), 0
        self.unsubscribe = self.watch.subscribe(self._hear)

    def _hear(self) -> None:
        self.heard += 1

    def commit(self) -> None:
        self.connection.execute("insert into it values (1)")

    def is_told(self) -> bool:
        """True when the listener hears of a commit made now, within a time no machine needs."""
        before, deadline = self.heard, time.monotonic() + 20
        self.commit()
        while self.heard == before and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.heard > before


@contextmanager
def database(path: Path) -> Iterator[Database]:
    made = Database(path)
    with closing(made.connection):
        try:
            assert made.is_told()  # by now the thread looks
            yield made
        finally:
            made.watch.close()


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts the looks at the file's version."""
    looks: Counter[str] = Counter()

    class Counting(sqlite.Connection):
        def execute(self, sql: str, *arguments: object) -> object:  # type: ignore[override]
            looks[sql] += 1
            return super().execute(sql, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite, "Connection", Counting)
    yield looks


@pytest.mark.parametrize("name", ["jobs.db", "link-to-jobs.db"])
def test_a_quiet_file_is_looked_at_ten_times_a_second_and_a_commit_told_all_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle worker costs next to nothing; where the kernel tells of no writes there are 600 looks a second."""
    between = QUIET_SECONDS if sys.platform == "linux" else BUSY_SECONDS
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link-to-jobs.db").symlink_to(tmp_path / "elsewhere" / "jobs.db")
    with counted(monkeypatch) as looks, database(tmp_path / name) as db:
        for _ in range(5):
            assert db.is_told()
        time.sleep(QUIET_SECONDS / sqlite_watch.PATIENCE)  # the looks become rare
        before, begin = looks["pragma data_version"], time.monotonic()
        time.sleep(1.0)
        taken = looks["pragma data_version"] - before
        assert taken <= 2 + (time.monotonic() - begin) / between
        assert db.is_told()


def test_the_kernel_tells_of_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a write two looks follow at once and the next in a minute: what is told in time then, the kernel told. Where
    it tells nothing (only Linux has inotify) the looks stay brisk, and it is told in time as well.
    """
    monkeypatch.setattr(sqlite_watch, "QUIET_SECONDS", 60.0)
    monkeypatch.setattr(sqlite_watch, "PATIENCE", 1000.0)
    with database(tmp_path / "jobs.db") as db:
        db.connection.execute("pragma synchronous = off")  # a slow disk must not come between a write and its commit
        for _ in range(3):
            time.sleep(0.2)
            assert db.is_told()


def test_while_nobody_listens_writes_cost_the_thread_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has stopped in a process that goes on; one that comes later hears as ever."""
    pauses: list[float] = []
    with database(tmp_path / "jobs.db") as db:
        real = db.watch._ended_within
        monkeypatch.setattr(db.watch, "_ended_within", lambda *args: pauses.append(args[0]) or real(*args))
        db.unsubscribe()
        deadline = time.monotonic() + 20
        while pauses[-2:] != [QUIET_SECONDS] * 2:  # it has noticed
            db.commit()
            assert time.monotonic() < deadline
        pauses.clear()
        begin = time.monotonic()
        while time.monotonic() < begin + 3 * QUIET_SECONDS:
            db.commit()
        assert len(pauses) <= 2 + (time.monotonic() - begin) / QUIET_SECONDS
        db.watch.subscribe(db._hear)
        assert all(db.is_told() for _ in range(3))


def test_where_the_kernel_tells_nothing_of_writes_commits_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another system than Linux, or no descriptor left."""
    monkeypatch.setattr(sqlite_watch, "written_to", lambda _: None)
    with database(tmp_path / "jobs.db") as db:
        assert all(db.is_told() for _ in range(5))


def test_a_kernel_that_misses_commits_is_not_relied_upon_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system whose writers are elsewhere: first the rare looks find commits, then frequent ones."""
    real, quiet = sqlite_watch.written_to, tmp_path / "never-written"
    quiet.touch()
    monkeypatch.setattr(sqlite_watch, "written_to", lambda _: real(quiet))
    with counted(monkeypatch) as looks, database(tmp_path / "jobs.db") as db:
        for _ in range(MISSES_MAX):
            time.sleep(QUIET_SECONDS / sqlite_watch.PATIENCE)  # so that none counts as told
            assert db.is_told()
        before, deadline = looks["pragma data_version"], time.monotonic() + 20
        while looks["pragma data_version"] < before + 300:  # half a minute of rare ones
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert db.is_told()


def test_a_watch_that_is_closed_twice_or_never_listened_ends(tmp_path: Path) -> None:
    """And leaves no descriptor."""
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with database(tmp_path / "jobs.db") as db:
        db.watch.close()
    Watch(tmp_path / "jobs.db").close()
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)
