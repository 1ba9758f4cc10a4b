"""Hooks and the one-command return, as typed, with real processes and a real gateway."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.process

HOOK = """#!/bin/sh
echo "$GOLIVE_HOOK $GOLIVE_STAGE $GOLIVE_ATTEMPT $GOLIVE_WEIGHT" >> hooks.log
if [ "$GOLIVE_HOOK-$GOLIVE_STAGE-$GOLIVE_ATTEMPT" = before_stage-2-1 ]; then echo 'table "orders" is locked'; exit 1; fi
if [ "$GOLIVE_HOOK-$GOLIVE_STAGE-$GOLIVE_ATTEMPT" = before_stage-2-2 ]; then while [ ! -e go ]; do sleep 0.05; done; fi
"""

CONFIG = """
[rollout.hooks]
before_stage = ["./hook"]
before_promote = "./hook"
on_rollback = { command = "./hook", timeout = "10s" }
"""


def test_hooks_run_once_through_a_failure_a_kill_and_a_return(project: Any, load_report: Callable[..., dict]) -> None:
    """
    A hook fails and is retried; the controller is killed while the second attempt runs; the version is live and goes
    back in one command while the old one is warm. Every line of the hook's own log is there once.
    """
    (project.folder / "hook").write_text(HOOK)
    (project.folder / "hook").chmod(0o755)
    config = project.folder / "golive.toml"
    config.write_text(config.read_text().replace('watch = "1s"', 'watch = "10m"') + CONFIG)
    project.write(broken=False, note="hooked")
    load = project.load("/hello")
    shipped = project.run("ship", "v2")
    assert shipped.returncode == 7, shipped.stdout + shipped.stderr
    assert "the hook before_stage of 50 % exited with 1 after" in shipped.stdout
    assert 'table "orders" is locked' in shipped.stdout
    project.ok("retry", "unlocked", "it")
    log = project.folder / "hooks.log"
    project.until("soaking")
    deadline = time.monotonic() + 60
    while "before_stage 2 2" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    os.kill(int(project.status()["controller"].split()[1]), signal.SIGKILL)
    (project.folder / "go").touch()
    project.ok("up", "--detach")
    project.until("watching")
    assert project.ok("rollback").endswith("traffic is v1=100\n")
    assert project.until("rolled_back")["reason"] == "aborted by ada: rollback"
    assert log.read_text().splitlines() == [
        "before_stage 1 1 10",
        "before_stage 2 1 50",
        "before_stage 2 2 50",
        "before_promote 3 1 100",
        "before_stage 3 1 100",
        "on_rollback 3 1 100",
    ]
    bundle = project.folder / ".golive" / "bundles" / "web-1.zip"
    deadline = time.monotonic() + 60
    while not bundle.exists():
        assert time.monotonic() < deadline, "the evidence bundle is written when it is over"
        time.sleep(0.05)
    assert project.ok("verify", str(bundle)).endswith(": whole\n")
    altered = bytearray(bundle.read_bytes())
    altered[len(altered) // 2] ^= 1
    (project.folder / "altered.zip").write_bytes(altered)
    assert project.run("verify", "altered.zip").returncode == 3
    seen = load_report(load)
    assert (seen["dropped"], seen["failed"]) == (0, 0)
