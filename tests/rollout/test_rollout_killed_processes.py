"""
Controllers killed by SIGKILL at points drawn from all there are: real processes, a real file, real time. Thousands of
points are played in virtual time by test_rollout_kill_points.py; this is what ties them to the real thing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]

KILLED = int(os.environ.get("GOLIVE_KILLED_PROCESSES", "6"))
SCRIPT = Path(__file__).parent / "killed_controller.py"


def life(folder: Path, *point: int) -> subprocess.CompletedProcess[str]:
    """One process, to its end."""
    command = [sys.executable, str(SCRIPT), str(folder), *map(str, point)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def told(done: subprocess.CompletedProcess[str]) -> Any:
    """What a process that lived to the end says of the world."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_process_killed_at_any_point_is_continued_by_the_next(tmp_path: Path) -> None:
    """The same ending as undisturbed: versions, traffic, steps, answers; and a record that holds together."""

    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    undisturbed = told(life(folder("undisturbed")))
    assert undisturbed["ending"]["rollouts"][0]["phase"] == "live"
    points = random.Random(1).sample(range(1, undisturbed["points"] - 8), KILLED)

    def disturbed(point: int) -> tuple[int, Any]:
        place = folder(str(point))
        return life(place, point).returncode, told(life(place))

    with ThreadPoolExecutor(2) as pool:
        for point, (code, after) in zip(points, pool.map(disturbed, points), strict=True):
            assert code == -signal.SIGKILL, f"point {point}"
            assert after["ending"] == undisturbed["ending"], f"killed at point {point}"
            assert after["faults"] == []
