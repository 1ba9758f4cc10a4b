"""
How the processes of one SQLite file notice each other's commits: at once where the kernel tells of writes, else by
looking often.

A commit is written to the log, flushed, and then published in shared memory. Of the first inotify tells, at no cost to
whoever writes, golive or not; of the last nobody tells, so after a write the file's ``data_version`` is looked at, soon
and then ever less often: a commit that took *t* is seen within a quarter of *t*. While nothing is written there are ten
looks a second, in case the kernel tells nothing (a file system that is not local, another system than Linux); where
that is seen to happen, and where there is no inotify, there are many hundreds.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from golive.db.sqlite import connect, storage_errors

#: Between two looks: while nothing is written; after a write, at least; and after a commit that was told, so that a
#: busy store is not a busier one for it, or where the kernel does not tell of writes.
QUIET_SECONDS = 0.1
BRISK_SECONDS = 0.0003
BUSY_SECONDS = 0.0015
#: The share of the time since the write that the next look waits.
PATIENCE = 0.25
#: ``poll`` counts in whole milliseconds.
POLLED_SECONDS_MIN = 0.002
#: Commits in a row of which the kernel told nothing: then it is not relied upon any more.
MISSES_MAX = 3

_IN_MODIFY = 2


class Watch:
    """A thread that tells listeners of commits to *path*, anybody's, while there are any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listeners: list[Callable[[], None]] = []
        self._closing = threading.Event()
        self._ending, self._end = os.pipe()  # readable when the event is set
        self._thread: threading.Thread | None = None

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call *wake*, in the watch's thread, after commits. Returns the function that ends it."""
        self._listeners.append(wake)
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="golive-jobs-watch", daemon=True)
            self._thread.start()
        return lambda: self._listeners.remove(wake)

    def ring(self) -> None:
        """Tell the listeners at once: this process has committed."""
        for wake in tuple(self._listeners):
            wake()

    def close(self) -> None:
        """Returns when the thread has ended. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        os.close(self._end)
        if self._thread is not None:
            self._thread.join()
        os.close(self._ending)

    def _main(self) -> None:
        with storage_errors(self._path), closing(connect(self._path, create=False)) as connection:

            def look() -> int:
                return int(connection.execute("pragma data_version").fetchone()[0])

            look()  # from now on the log's file is there
            ear = written_to(Path(f"{os.path.realpath(self._path)}-wal"))  # beside the file itself, not beside a link
            try:
                self._follow(look, ear)
            finally:
                if ear is not None:
                    os.close(ear)

    def _follow(self, look: Callable[[], int], ear: int | None) -> None:
        """Until :meth:`close`; *ear* is what :func:`written_to` returned."""
        seen, written_at, misses = -1, time.monotonic(), 0  # -1: they are told at once, nobody saw what came before
        while True:
            wanted = bool(self._listeners)
            hears = wanted and ear is not None and misses < MISSES_MAX
            since = time.monotonic() - written_at
            pause = BUSY_SECONDS if wanted else QUIET_SECONDS
            if hears:
                pause = min(QUIET_SECONDS, max(BRISK_SECONDS, since * PATIENCE))
            if self._ended_within(pause, ear if hears else None):
                return
            if ear is not None and heard(ear):
                written_at = time.monotonic()
            version = look() if self._listeners else seen
            if version != seen:
                seen = version
                self.ring()
                misses = 0 if time.monotonic() - written_at < QUIET_SECONDS / PATIENCE else misses + 1
                if self._ended_within(BUSY_SECONDS, None):
                    return

    def _ended_within(self, seconds: float, ear: int | None) -> bool:
        """False after *seconds*, or when *ear* hears something before; of a short while it is not asked."""
        if ear is None or seconds < POLLED_SECONDS_MIN:
            return self._closing.wait(seconds)
        poll = select.poll()
        poll.register(self._ending, select.POLLIN)
        poll.register(ear, select.POLLIN)
        poll.poll(seconds * 1000)
        return self._closing.is_set()


def written_to(path: Path) -> int | None:
    """A descriptor that is readable after each write to *path*, by whomever; None where the system has none."""
    if sys.platform != "linux":
        return None
    import ctypes  # only who watches needs it

    libc = ctypes.CDLL(None)
    if not hasattr(libc, "inotify_init1"):
        return None
    ear = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if ear < 0:  # too many of them are in use
        return None
    if libc.inotify_add_watch(ear, os.fsencode(path), _IN_MODIFY) < 0:
        os.close(ear)
        return None
    return ear


def heard(ear: int) -> bool:
    """True if something was written since the last time; that is forgotten then."""
    try:
        return bool(os.read(ear, 4096))
    except BlockingIOError:
        return False
