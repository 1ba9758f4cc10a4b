"""Memory and processor of a version, from its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from golive.rollout.deployers.instance import Instance
from golive.rollout.evidence import processes
from golive.rollout.evidence.processes import ProcessEvidence, memory_allowed
from golive.rollout.processes import Process

MIB = 1024 * 1024
HOG = """
import os, sys, time
data = bytearray(os.urandom(1) * 40 * 1024 * 1024)
if os.fork() == 0:
    more = bytearray(os.urandom(1) * 40 * 1024 * 1024)
    print("up", flush=True)
    while True:
        pass
os.wait()
"""

pytestmark = pytest.mark.process


@pytest.fixture
def hog() -> Iterator[Instance]:
    """A version of two processes: both hold 40 MiB of their own, one computes."""
    child = subprocess.Popen([sys.executable, "-c", HOG], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    child.stdout.readline()
    yield Instance("v2", Process(child.pid, "x"), "-", time.time())
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()


async def test_memory_and_processor_of_all_processes_of_a_version(hog: Instance) -> None:
    """
    Children too; pages they share once; processor time between two looks, over all processors there are.

    A system without ``/proc`` measures nothing, and is never taken for one on which all is well.
    """
    evidence = ProcessEvidence(lambda: [hog], memory_limit=400 * MIB)
    arms = (await evidence.sample()).arms
    if sys.platform != "linux":
        assert arms == {}
        return
    first = arms["v2"].levels
    assert 80 / 400 <= first["memory_ratio"] < 200 / 400
    assert "cpu_ratio" not in first  # there is nothing to compare with yet
    deadline = time.monotonic() + 60
    while (level := (await evidence.sample()).arms["v2"].levels["cpu_ratio"]) <= 0:
        assert time.monotonic() < deadline, "a process that computes uses processor time"
    assert level <= 1.2


async def test_without_proc_nothing_is_measured(hog: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another system than Linux the rows of a version stay INCONCLUSIVE; they are never good by mistake."""
    monkeypatch.setattr(processes, "_PROC", tmp_path / "proc")
    assert (await ProcessEvidence(lambda: [hog], memory_limit=400 * MIB).sample()).arms == {}


async def test_what_is_not_there_is_not_measured() -> None:
    """A version that ended has no entry: its row is INCONCLUSIVE, never good."""
    gone = Instance("v1", Process(2**22 - 1, "x"), "-", 0.0)
    assert (await ProcessEvidence(lambda: [gone]).sample()).arms == {}
    assert (await ProcessEvidence(list).sample()).arms == {}


def test_the_limit_is_the_smallest_one_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container's when it has one, else the machine's; ``max`` and the number that means none are none."""
    machine = memory_allowed()
    assert machine is not None
    files = tmp_path / "v2", tmp_path / "v1"
    monkeypatch.setattr(processes, "_LIMITS", files)
    whole = memory_allowed()
    assert whole is not None
    files[0].write_text("max\n")
    files[1].write_text(f"{2**63 - 4096}\n")
    assert memory_allowed() == whole
    files[0].write_text(f"{100 * MIB}\n")
    assert memory_allowed() == 100 * MIB
