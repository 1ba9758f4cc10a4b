"""
Processes that outlive the controller: who they are, whether they live, how they end.

A pid alone is not an identity, the kernel hands it out again. Here a process is its pid *and* its start time, so that a
controller that comes back after a kill -9 adopts what it started and never signals a stranger. Linux reads ``/proc``;
elsewhere ``ps`` is asked. Everything started here leads its own session, so a process group is ended as a whole.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

_PROC = Path("/proc")
_LINUX = sys.platform.startswith("linux")
_LISTEN = "0A"  # the state column of /proc/net/tcp


class Process(msgspec.Struct, frozen=True):
    """One process for ever: *started* is opaque, equal only for the same process on the same boot."""

    pid: int
    started: str


_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this very process started: only the parent can read an exit code, and must, or a dead child stays a zombie."""


def spawn(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> Process:
    """
    Start *command* in a session of its own, so that it outlives us; its output is appended to *log*.

    Raises: OSError when it cannot be started.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    return Process(child.pid, _started(child.pid)[1])


def identify(pid: int) -> Process | None:
    """Who *pid* is now; None when there is no such process, or only its unreaped rest."""
    if pid in _children and _children[pid].poll() is not None:
        return None
    state, started = _started(pid)
    return None if state in ("", "Z", "X") else Process(pid, started)


def alive(process: Process) -> bool:
    """Whether exactly this process still runs."""
    return identify(process.pid) == process


def exit_code(process: Process) -> int | None:
    """How it ended, negative for a signal; None while it runs, and when somebody else started it."""
    child = _children.get(process.pid)
    return child.poll() if child is not None else None


async def end(process: Process, grace_seconds: float) -> bool:
    """
    End *process* and its group: SIGTERM, *grace_seconds* of patience, then SIGKILL. Returns when it is gone.

    Returns: True when it went by itself within the grace.
    """
    if alive(process):
        _signal_group(process, signal.SIGTERM)
    if await gone(process, grace_seconds):
        _signal_rest(process)
        return True
    _signal_group(process, signal.SIGKILL)
    await gone(process, 5.0)
    return False


async def gone(process: Process, seconds: float) -> bool:
    """Wait up to *seconds* for *process* to end. Returns whether it did."""
    import asyncio  # half of what `golive pause` would cost, which only asks who lives

    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() >= deadline:
            return not alive(process)
        await asyncio.sleep(0.02)
    return True


def with_environment(name: str, value: str) -> Iterator[Process]:
    """The caller's own processes that carry ``name=value`` in their environment. Linux only; elsewhere none."""
    needle = f"{name}={value}".encode()
    for pid in _pids():
        try:
            found = needle in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # another user's, or gone meanwhile
        process = identify(pid) if found else None
        if process is not None:
            yield process


def listening_on(port: int) -> tuple[int, str] | None:
    """The pid and command line of whoever listens on TCP *port* here; None when it cannot be seen."""
    inodes = set(_listening_inodes(port))
    if not inodes:
        return None
    for pid in _pids():
        if any(_links_to(pid, inode) for inode in inodes):
            return pid, command_line(pid)
    return None


def listens(process: Process, port: int) -> bool:
    """Whether *process*, or a child in its session, listens on TCP *port*. False where that cannot be seen."""
    owner = listening_on(port)
    try:
        return owner is not None and os.getsid(owner[0]) == process.pid
    except ProcessLookupError:
        return False


def command_line(pid: int) -> str:
    """What *pid* was started as, shortened for a message; empty when it cannot be read."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return ""
    return words.decode(errors="replace").strip()[:200]


def _started(pid: int) -> tuple[str, str]:
    """The state letter and the start time of *pid*, both empty when there is no such process."""
    return _started_linux(pid) if _LINUX else _started_ps(pid)


def _started_linux(pid: int) -> tuple[str, str]:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    return fields[0], f"{boot}-{fields[19]}"


def _started_ps(pid: int) -> tuple[str, str]:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    state, _, started = answer.partition(" ")
    return state[:1], started.strip()


def _signal_group(process: Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        _signal_one(process.pid, number)


def _signal_one(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _signal_rest(process: Process) -> None:
    # The leader went by itself; children of it that linger would hold its port and its files.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _pids() -> Iterator[int]:
    if _LINUX:
        yield from (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (_PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _links_to(pid: int, inode: str) -> bool:
    try:
        return any(os.readlink(fd.path) == f"socket:[{inode}]" for fd in os.scandir(_PROC / str(pid) / "fd"))
    except OSError:
        return False
