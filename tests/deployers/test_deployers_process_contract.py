"""Processes on this machine are a deployer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.deployers.conftest import ProcessWorld, stop_all

from golive.testing.deployers import DeployerContract


@pytest.mark.process
class TestProcessDeployer(DeployerContract):
    """Real processes of a small service."""

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[ProcessWorld]:
        world = ProcessWorld(tmp_path)
        yield world
        await stop_all(world.deployer)
