"""
Whose turn it is to write: a queue for the processes that share one SQLite file.

SQLite lets a waiting writer look again every 100 ms, and a writer with more to do takes the lock back within a
millisecond. On a disk whose fsync is slow the lock is free so rarely that the other process waits for seconds and is
then told "database is locked". Here whoever waits is next: it holds the first lock while it waits for the second, and
the one who had the turn needs the first to come again.

How it fails. The kernel frees the locks of a process that dies. Where they cannot be had (a file system without
``flock``, a folder that is not ours) there are no turns and SQLite's own lock decides, as it does in any case.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress


class Turns:
    """
    ``with turns:`` waits for the turn and has it. For one thread.

    Args:
        path: of the file that is shared; the locks are the empty files ``PATH-next`` and ``PATH-turn``.
    """

    def __init__(self, path: str) -> None:
        self._next: int | None = None
        self._turn: int | None = None
        with suppress(OSError):
            flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
            self._next = os.open(f"{path}-next", flags, 0o600)
            self._turn = os.open(f"{path}-turn", flags, 0o600)

    def __enter__(self) -> None:
        if self._next is None or self._turn is None:
            return
        with suppress(OSError):
            fcntl.flock(self._next, fcntl.LOCK_EX)
        try:
            with suppress(OSError):
                fcntl.flock(self._turn, fcntl.LOCK_EX)
        finally:
            with suppress(OSError):
                fcntl.flock(self._next, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        if self._turn is not None:
            with suppress(OSError):
                fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the locks up."""
        for file in (self._next, self._turn):
            if file is not None:
                os.close(file)
        self._next = self._turn = None
