"""A version that is slow is the judge's business; a version that refuses is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from golive.rollout.deployers.process import SLOW_SECONDS, ProcessDeployer
from golive.rollout.deployers.releases_path import PathReleases
from golive.rollout.ports import Health


async def health(deployer: ProcessDeployer, wanted: Health, seconds: float) -> bool:
    """Whether v1 gets to *wanted* within *seconds*."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (await deployer.condition("v1")).health is wanted:
            return True
    return False


@pytest.mark.process
async def test_a_version_that_stalls_is_unready_only_after_a_while(
    make_deployer: Callable[..., ProcessDeployer], make_release: Callable[..., Path]
) -> None:
    """Stopped dead in its tracks it still counts as ready at the first look, as unready soon, and as ready again."""
    deployer = make_deployer(PathReleases(make_release("v1")))
    await deployer.start("v1")
    assert await health(deployer, Health.READY, 20)
    instance = deployer.instances.find("v1")
    assert instance is not None
    os.kill(instance.process.pid, signal.SIGSTOP)
    try:
        assert (await deployer.condition("v1")).health is Health.READY
        assert await health(deployer, Health.UNREADY, 3 * SLOW_SECONDS)
    finally:
        os.kill(instance.process.pid, signal.SIGCONT)
    assert await health(deployer, Health.READY, 20)
