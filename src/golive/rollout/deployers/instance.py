"""
What the deployer remembers about a version it started, so that the next controller finds it: one small file each.

The file is written after the process was started. A controller that dies in between leaves a process that no file
names; it carries a mark in its environment and is ended before the version is started again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from golive.errors import StateError
from golive.rollout.files import locked, replace_file
from golive.rollout.ports import Arm, FencedError
from golive.rollout.processes import Process, alive, end, with_environment
from golive.rollout.versions import check_version

LOG_BYTES_MAX = 10 * 1024 * 1024
"""A log longer than this is set aside as ``<version>.log.1`` when the version is started the next time."""
MARK = "GOLIVE_INSTANCE"


class Instance(msgspec.Struct, frozen=True):
    """
    One started version.

    Attributes:
        address: where it answers, ``host:port``.
        since: when it was started, seconds of the epoch.
        started: seconds of the epoch when its start-up was first seen done; None before.
        ready: whether it was ever seen ready.
    """

    version: str
    process: Process
    address: str
    since: float
    started: float | None = None
    ready: bool = False

    @property
    def arm(self) -> Arm:
        """What the router needs to know."""
        return Arm(self.version, self.address)


class Instances:
    """The files below *directory*: ``instances/<version>.json`` and ``logs/<version>.log``."""

    def __init__(self, directory: Path) -> None:
        self._records = directory / "instances"
        self._logs = directory / "logs"
        self._lock = directory / "lock"
        self._fence = directory / "fence"

    @asynccontextmanager
    async def changing(self, fence: int | None) -> AsyncIterator[None]:
        """
        Hold the lock, as the controller whose lease has the token *fence*; None is a person.

        Raises: FencedError when a controller with a higher one was here, UnavailableError when the lock stays taken.
        """
        async with locked(self._lock):
            if fence is not None:
                self._enter(fence)
            yield

    def _enter(self, fence: int) -> None:
        try:
            highest = int(self._fence.read_text())
        except FileNotFoundError:
            highest = 0
        except (OSError, ValueError) as error:
            raise StateError(
                f"{self._fence}: expected a number written by golive, got something else. Remove it and ship again."
            ) from error
        if fence < highest:
            raise FencedError(
                f"versions: expected fence {highest} or higher, got {fence}. "
                "Another controller took over; this one stops acting."
            )
        if fence > highest:
            replace_file(self._fence, str(fence).encode())

    async def stop(self, version: str, *, fence: int | None, grace_seconds: float, file: Path | None = None) -> bool:
        """
        End what runs as *version* and forget it, *file* (what it left) included.

        The lock is free while the process has its grace, which is longer than another version may have to wait for its
        start. Whoever slept through it may find a successor's process under the same name, and leaves that alone.

        Returns: False when the version was started again meanwhile.
        Raises: see :meth:`changing`.
        """
        async with self.changing(fence):
            instance = self.find(version)
        if instance is not None:
            await end(instance.process, grace_seconds)
        async with self.changing(fence):
            found = self.find(version)
            if found is not None and (instance is None or found.process != instance.process):
                return False
            for orphan in self.orphans(version):
                await end(orphan, grace_seconds=0.0)
            self.forget(version, file)
        return True

    def find(self, version: str) -> Instance | None:
        """What was started under that name, dead or alive; None when nothing was, or it was stopped."""
        try:
            return msgspec.json.decode(self._record(version).read_bytes(), type=Instance)
        except (OSError, msgspec.MsgspecError):
            return None

    def living(self) -> Iterator[Instance]:
        """Every instance whose process runs."""
        for path in sorted(self._records.glob("*.json")):
            instance = self.find(path.name.removesuffix(".json"))
            if instance is not None and alive(instance.process):
                yield instance

    def save(self, instance: Instance) -> None:
        """Remember *instance*."""
        self._records.mkdir(parents=True, exist_ok=True)
        replace_file(self._record(instance.version), msgspec.json.encode(instance))

    def forget(self, version: str, file: Path | None = None) -> None:
        """The version was stopped on purpose, and *file* is of no use any more. Its log stays."""
        self._record(version).unlink(missing_ok=True)
        if file is not None:
            file.unlink(missing_ok=True)

    def orphans(self, version: str) -> list[Process]:
        """Processes of *version*, and children of them, that no record names."""
        instance = self.find(version)
        known = instance.process if instance is not None and alive(instance.process) else None
        return [process for process in with_environment(MARK, self.mark(version)) if process != known]

    def mark(self, version: str) -> str:
        """What the environment of the processes of *version* says."""
        return f"{self._records}/{check_version(version)}"

    def log(self, version: str) -> Path:
        """The log of *version*, set aside first if it grew too long."""
        self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.log_path(version)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_name(path.name + ".1"))
        return path

    def log_path(self, version: str) -> Path:
        """Where the output of *version* goes."""
        return self._logs / f"{check_version(version)}.log"

    def log_tail(self, version: str, lines: int = 5) -> str:
        """The last *lines* of its output that are not blank, for an error message."""
        try:
            with self.log_path(version).open("rb") as handle:
                handle.seek(0, 2)
                handle.seek(max(0, handle.tell() - 8192))
                text = handle.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])

    def _record(self, version: str) -> Path:
        return self._records / f"{check_version(version)}.json"
