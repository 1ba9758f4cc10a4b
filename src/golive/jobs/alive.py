"""
A worker's sign of life for whoever supervises it: a file, touched while the event loop turns.

A worker has no port to ask. The file appears once the worker claims jobs, is touched once a second, and goes when it
drains; a file older than ten seconds belongs to a worker that is stuck or dead. It also serves an exec probe:
``find /tmp/alive -newermt '-10 seconds' | grep -q .``
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from golive.errors import StateError

TOUCH_SECONDS = 1.0


@asynccontextmanager
async def sign_of_life(path: str) -> AsyncIterator[None]:
    """
    Inside, the file *path* is fresh. An empty path shows nothing.

    Raises: StateError when it cannot be written.
    """
    if not path:
        yield
        return
    file = Path(path)
    _begin(file)
    task = asyncio.create_task(_keep_fresh(file))
    try:
        yield
    finally:
        task.cancel()
        _end(file)


def _begin(file: Path) -> None:
    try:
        file.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise StateError(f"GOLIVE_JOBS_ALIVE_FILE: expected to write {file}, got {error.strerror}.") from error


def _end(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)


async def _keep_fresh(file: Path) -> None:
    while True:
        await asyncio.sleep(TOUCH_SECONDS)
        _touch(file)


def _touch(file: Path) -> None:
    with suppress(OSError):  # the next second tries again; until then the file looks old, which is the truth
        file.touch()
