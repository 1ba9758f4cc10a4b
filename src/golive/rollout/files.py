"""Files that other processes read while we write them: replaced whole, changed under a lock."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from golive.errors import UnavailableError

_LOCK_SECONDS = 5.0


def replace_file(path: Path, content: bytes) -> None:
    """Write *content* to *path* so that a reader, or a crash, finds the old file or the new one, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    with fresh.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    fresh.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@asynccontextmanager
async def locked(path: Path, seconds: float = _LOCK_SECONDS) -> AsyncIterator[None]:
    """
    Hold the lock file *path*, against other processes and other tasks. A holder that dies lets go.

    Raises: UnavailableError when it stays taken for *seconds*.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    with path.open("w") as handle:
        while not _taken(handle.fileno()):
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{path}: expected the lock within {seconds:g} s, another process holds it. "
                    "See who with `fuser` and end it."
                )
            await asyncio.sleep(0.005)
        yield


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
