"""A whole release by hand, on real processes behind a real gateway, under load that never stops: nobody notices."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.gateway.conftest import eventually, settings

from golive.load import LoadPlan, LoadReport, RequestSpec, run
from golive.rollout.deployers.process import ProcessDeployer
from golive.rollout.deployers.releases_path import PathReleases
from golive.rollout.deployers.settings import DeploySettings
from golive.rollout.ports import WEIGHT_MAX, Health, Split
from golive.rollout.routers.envoy import EnvoyRouter
from golive.rollout.routers.envoy_gateway import EnvoyGateway

SERVICE = '''
"""Answers with its version, slowly under /slow; on SIGTERM finishes what it has, as every service should."""
import asyncio, os, signal

version, busy = os.environ["GOLIVE_VERSION"].encode(), 0
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(version), version)

async def client(reader, writer):
    global busy
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            busy += 1
            if head.startswith(b"GET /slow"):
                await asyncio.sleep(0.4)
            writer.write(ANSWER)
            await writer.drain()
            busy -= 1
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await asyncio.start_server(client, os.environ["HOST"], int(os.environ["PORT"]))
    await stop.wait()
    while busy:
        await asyncio.sleep(0.01)

asyncio.run(main())
'''


class House:
    """A gateway, a deployer and three releases."""

    def __init__(self, directory: Path) -> None:
        for version in ("v1", "v2", "v3"):
            folder = directory / "releases" / version
            folder.mkdir(parents=True)
            (folder / "service.py").write_text(SERVICE)
        releases = PathReleases(directory / "releases")
        deploy = DeploySettings(("{python}", "service.py"), releases, stop_timeout=timedelta(seconds=5))
        self.deployer = ProcessDeployer(directory / "deploy", deploy)
        self.gateway = EnvoyGateway(directory / "gateway", settings(ensure_timeout=timedelta(seconds=20)))
        self.router = EnvoyRouter(self.gateway)

    async def deploy(self, version: str) -> None:
        await self.deployer.prepare(version)
        arm = await self.deployer.start(version)

        async def ready() -> bool:
            return (await self.deployer.condition(version)).health is Health.READY

        await eventually(ready, 30)
        await self.router.ensure([arm], fence=1)

    async def release(self, old: str, new: str) -> None:
        """Add, 1, 25, 100 %, promote, drain, retire, stop."""
        await self.deploy(new)
        for weight in (100, 2_500, WEIGHT_MAX):
            await self.router.apply(Split(old, new, weight), fence=1)
            await asyncio.sleep(0.2)
        await self.router.apply(Split(new), fence=1)

        async def drained() -> bool:
            return await self.router.active(old) == 0

        await eventually(drained)
        await self.router.retire(old, fence=1)
        await self.deployer.stop(old)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.gateway.up()
    try:
        yield house
    finally:
        await house.gateway.down(drain=False)
        for arm in house.deployer.running():
            await house.deployer.stop(arm.version)


def _load(house: House, stop: threading.Event) -> asyncio.Task[LoadReport]:
    mix = (RequestSpec(path="/", weight=20), RequestSpec(path="/slow", weight=1))
    url = f"http://{house.gateway.address}"
    plan = LoadPlan(url, rate=300, duration=60, requests=mix, tally_header="x-golive-served-by", timeout=20)
    return asyncio.create_task(asyncio.to_thread(run, plan, None, stop))


@pytest.mark.process
async def test_two_releases_in_a_row_under_load_lose_nothing(house: House):
    """Not a fast request and not a slow one; and the old versions are gone at the end."""
    await house.deploy("v1")
    await house.router.apply(Split("v1"), fence=1)
    stop = threading.Event()
    load = _load(house, stop)
    try:
        await house.release("v1", "v2")
        await house.release("v2", "v3")
        await asyncio.sleep(0.2)
    finally:
        stop.set()
    report = await load
    assert report.failed == 0
    assert report.requests > 300
    assert min(report.tally[version] for version in ("v1", "v2", "v3")) > 0
    assert [arm.version for arm in house.deployer.running()] == ["v3"]


@pytest.mark.process
async def test_a_rollback_under_load_loses_nothing(house: House):
    """From half of the traffic to none of it, with slow requests in flight on the candidate."""
    await house.deploy("v1")
    await house.router.apply(Split("v1"), fence=1)
    await house.deploy("v2")
    await house.router.apply(Split("v1", "v2", 5_000), fence=1)
    stop = threading.Event()
    load = _load(house, stop)

    async def busy() -> bool:
        return await house.router.active("v2") > 0

    try:
        await eventually(busy)
        await house.router.apply(Split("v1"), fence=1)

        async def drained() -> bool:
            return await house.router.active("v2") == 0

        await eventually(drained)
        await house.router.retire("v2", fence=1)
        await house.deployer.stop("v2")
        await asyncio.sleep(0.2)
    finally:
        stop.set()
    report = await load
    assert report.failed == 0
    assert report.tally["v2"] > 0
