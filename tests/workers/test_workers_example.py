"""examples/reports is a service golive can release, and its README names only what there is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from golive.cli import VERBS
from golive.config import load_settings
from golive.jobs import Jobs

EXAMPLE = Path(__file__).parents[2] / "examples" / "reports"


def test_its_configuration_moves_jobs() -> None:
    """By the worker command alone."""
    settings = load_settings(EXAMPLE / "golive.toml")
    assert (settings.moves, settings.service) == ("jobs", "reports")


async def test_its_handler_renders_and_fails_when_told_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three reports in ten of a broken version, and none of a good one."""
    monkeypatch.setenv("GOLIVE_JOBS_URL", "memory://")
    for broken, failing in ((False, 0), (True, 3)):
        source = (EXAMPLE / "main.py").read_text()
        assert source.count("BROKEN = False") == 1
        (tmp_path / "main.py").write_text(source.replace("BROKEN = False", f"BROKEN = {broken}"))
        jobs = runpy.run_path(str(tmp_path / "main.py"))["jobs"]
        assert isinstance(jobs, Jobs)
        outcomes = [await jobs.run("report", str(number).encode()) for number in range(10)]
        assert sum(outcome.failure is not None for outcome in outcomes) == failing


def test_its_readme_names_verbs_there_are() -> None:
    """Every ``golive`` line."""
    verbs = re.findall(r"golive (\w+)", (EXAMPLE / "README.md").read_text())
    assert len(verbs) >= 6
    assert set(verbs) <= set(VERBS)
