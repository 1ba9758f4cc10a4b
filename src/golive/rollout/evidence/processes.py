"""
Memory and processor of each version, from the processes that were started for it: the levels ``memory_ratio`` and
``cpu_ratio`` of the table. Linux only; elsewhere nothing is measured, and such rows stay INCONCLUSIVE.

A version is every process in the session its leader began, so children count. Memory is the proportional share (PSS: a
page shared by four workers counts a quarter in each) over the limit: the one that was declared, else the container's,
else the machine's. Processor time is seconds spent per second and per processor there is, since the look before.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from golive.rollout.deployers.instance import Instance
from golive.rollout.ports import ArmSample, Evidence, Sample

EPOCH = "processes"
_PROC = Path("/proc")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_UNLIMITED = 1 << 60
"""What cgroup v1 says when there is no limit is a little less than 2**63."""


class ProcessEvidence(Evidence):
    """
    Measures what *instances* names at every look. Never fails: what cannot be read is not there.

    Args:
        instances: the versions that were started, dead or alive.
        memory_limit: bytes one version may use; None takes what the system allows.
    """

    bounds = (1.0,)

    def __init__(self, instances: Callable[[], Iterable[Instance]], memory_limit: int | None = None) -> None:
        self._instances = instances
        self._limit = memory_limit or memory_allowed()
        self._cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._spent: dict[str, tuple[dict[int, float], float]] = {}  # version -> seconds by process, and when

    async def sample(self) -> Sample:
        """See :class:`~golive.rollout.ports.Evidence`. There are levels in it, and nothing else."""
        levels = await asyncio.to_thread(self._levels)
        arms = {version: ArmSample({}, {}, [0, 0], levels=found) for version, found in levels.items()}
        return Sample(datetime.now(UTC), EPOCH, arms)

    def _levels(self) -> dict[str, dict[str, float]]:
        leaders = {instance.process.pid: instance.version for instance in self._instances()}
        members: dict[str, list[int]] = defaultdict(list)
        for pid, session in _sessions():
            if session in leaders:
                members[leaders[session]].append(pid)
        self._spent = {version: held for version, held in self._spent.items() if version in members}
        return {version: self._of(version, pids) for version, pids in members.items()}

    def _of(self, version: str, pids: list[int]) -> dict[str, float]:
        found = {}
        memory = [size for size in map(_memory, pids) if size is not None]
        if memory and self._limit:
            found["memory_ratio"] = sum(memory) / self._limit
        spent = {pid: seconds for pid in pids if (seconds := _processor_seconds(pid)) is not None}
        now = time.monotonic()
        before, at = self._spent.get(version, ({}, now))
        self._spent[version] = (spent, now)
        if now > at:
            # A process that is new began at nothing; one that ended takes the last of its time with it.
            used = sum(seconds - before.get(pid, 0.0) for pid, seconds in spent.items())
            found["cpu_ratio"] = max(used, 0.0) / (now - at) / self._cores
        return found


def memory_allowed() -> int | None:
    """Bytes this machine, or the container around us, has; None where that cannot be known."""
    limits = [size for size in map(_number_in, _LIMITS) if size is not None and size < _UNLIMITED]
    try:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError):
        pass
    return min(limits, default=None)


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" is no limit
        return None


def _sessions() -> Iterable[tuple[int, int]]:
    """Every process and the session it belongs to."""
    if not _PROC.is_dir():
        return
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                yield int(entry.name), int(fields[3])


def _stat(pid: int) -> list[str]:
    """The fields behind the name, which may hold spaces and parentheses: state, parent, group, session, ..."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _processor_seconds(pid: int) -> float | None:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else None


def _memory(pid: int) -> int | None:
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
