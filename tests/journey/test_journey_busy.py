"""A new version while another one is under way: it takes its place, or its turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


@contextmanager
def _when_busy(project: Any, mode: str) -> Iterator[None]:
    config = project.folder / "golive.toml"
    before = config.read_text()
    config.write_text(before.replace('pace = "demo"', f'pace = "demo"\nwhen_busy = "{mode}"'))
    try:
        yield
    finally:
        config.write_text(before)


def _ship(project: Any, version: str) -> str:
    project.write(broken=False, note=version)
    return project.ok("ship", version, "--detach").strip()


def test_a_newer_version_supersedes_the_running_one(project: Any) -> None:
    """The running one is taken back first and is not in quarantine; a superseder that is refused moves nothing."""
    with _when_busy(project, "supersede"):
        _ship(project, "v2")
        project.until("soaking")
        assert project.run("ship", "v1").returncode == 6
        assert project.status()["rollouts"][0]["phase"] not in ("rolling_back", "rolled_back")
        _ship(project, "v3")
    newest, older = project.status()["rollouts"][:2]
    assert (newest["candidate"], newest["stable"]) == ("v3", "v1")
    assert (older["phase"], older["reason"]) == ("rolled_back", "aborted by ada: superseded by v3")
    project.ok("abort")
    project.until("rolled_back")


def test_a_queued_version_starts_when_the_other_is_over(project: Any) -> None:
    """It is seen waiting, and starts by itself."""
    with _when_busy(project, "queue"):
        _ship(project, "v4")
        project.until("soaking")
        short = project.run("ship", "v6", "--detach", "--timeout", "4s")
        assert short.returncode == 5, short.stderr
        assert "v6 waits for its turn" in short.stderr
        assert "its turn did not come within" in short.stderr
        assert project.status()["queued"] == []
        waiting = project.start("ship", "v5", "--detach")
        deadline = time.monotonic() + 10
        while not project.status()["queued"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert project.status()["queued"] == [{"version": "v5", "by": "ada"}]
        project.ok("abort")
        out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    newest = project.status()["rollouts"][0]
    assert (newest["id"], newest["candidate"]) == (out.strip(), "v5")
    project.ok("abort")
