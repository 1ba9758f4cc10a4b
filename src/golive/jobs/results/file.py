"""
Results in files: for the processes of one machine, or a folder that all machines mount.

A result is written beside its name, flushed to the disk and renamed, and the folder is flushed too: after a power cut
there is the whole result or none.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from golive.errors import ConfigError, StateError
from golive.jobs.results.ports import ResultCapability, checked

CHUNK_BYTES = 256 * 1024


class FileResults:
    """See :class:`golive.jobs.results.ports.ResultStore`."""

    capabilities: frozenset[ResultCapability] = frozenset()

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    async def open(self) -> None:
        """See the port. Makes the folder."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """See the port."""

    async def put(self, name: str, result: bytes) -> None:
        """See the port."""
        await asyncio.to_thread(self._put, self._folder / checked(name), result)

    async def get(self, name: str) -> AsyncIterator[bytes] | None:
        """See the port."""
        try:
            return _chunks(await asyncio.to_thread((self._folder / checked(name)).open, "rb"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{self._folder / name}: expected a result that can be read, got: {error}.") from error

    async def link(self, name: str, seconds: int) -> str | None:
        """See the port."""
        checked(name)
        return None

    async def sweep(self, before: float, limit: int) -> int:
        """See the port."""
        return await asyncio.to_thread(self._sweep, before, limit)

    def _open(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            probe = self._folder / f".probe-{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"jobs.results: expected a folder to write to, got {self._folder}: {error.strerror}."
            ) from error

    def _put(self, path: Path, result: bytes) -> None:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                _flush_folder(path.parent.parent)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(result)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _flush_folder(path.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StateError(f"{path}: expected room for a result, got: {error.strerror}.") from error

    def _sweep(self, before: float, limit: int) -> int:
        removed = 0
        for folder in sorted(each for each in self._folder.iterdir() if each.is_dir() and len(each.name) == 6):
            for path in sorted(folder.iterdir()):
                if removed >= limit:
                    return removed
                try:
                    if path.stat().st_mtime < before:
                        path.unlink()
                        removed += 1
                except FileNotFoundError:  # another process sweeps as well
                    continue
            try:
                folder.rmdir()
            except OSError:  # not empty
                return removed  # folders sort by time: later ones are younger
        return removed


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield piece


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
