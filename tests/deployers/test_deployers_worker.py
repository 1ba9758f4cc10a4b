"""Workers as processes: their sign of life, their end, and versions that are web process and workers together."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from golive.errors import ConfigError, UnavailableError
from golive.rollout.deployers.releases_path import PathReleases
from golive.rollout.deployers.together import DeployersTogether
from golive.rollout.deployers.worker import WorkerDeployer, WorkerSettings
from golive.rollout.ports import Arm, Condition, Health

WORKER = """
import os, pathlib, signal, sys, time
behaviour = pathlib.Path("behaviour").read_text()
file = pathlib.Path(os.environ["GOLIVE_JOBS_ALIVE_FILE"])
if behaviour == "crash":
    print("no database"); sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("claiming as", os.environ["GOLIVE_VERSION"], sys.argv[1:], flush=True)
while True:
    if behaviour != "slow to start":
        file.touch()
    time.sleep(0.05)
"""


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., WorkerDeployer]]:
    """A deployer of workers whose release v1 behaves as told; its processes are ended with the test."""
    made: list[WorkerDeployer] = []

    def begin(behaviour: str = "good", **settings: object) -> WorkerDeployer:
        folder = tmp_path / "releases" / "v1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "worker.py").write_text(WORKER)
        (folder / "behaviour").write_text(behaviour)
        known = {"command": ("{python}", "worker.py", "{version}"), "releases": PathReleases(tmp_path / "releases")}
        quick = {"stop_timeout": timedelta(seconds=2)}
        made.append(WorkerDeployer(tmp_path / "workers", WorkerSettings(**{**known, **quick, **settings})))
        return made[-1]

    yield begin
    for deployer in made:
        await deployer.stop("v1")


async def until(deployer: WorkerDeployer, health: Health) -> Condition:
    async with asyncio.timeout(30):
        while (condition := await deployer.condition("v1")).health is not health:  # noqa: ASYNC110 - a process cannot wake us
            await asyncio.sleep(0.02)
    return condition


@pytest.mark.process
async def test_a_worker_is_ready_once_it_shows_life_and_the_next_controller_finds_it(
    make: Callable[..., WorkerDeployer],
) -> None:
    """Started once however often it is asked for; stopped, it is dead and its file is gone."""
    deployer = make()
    assert (await deployer.condition("v1")).health is Health.DEAD
    await deployer.prepare("v1")
    arm = await deployer.start("v1")
    await until(deployer, Health.READY)
    later = make()
    assert await later.start("v1") == arm == Arm("v1", "-")
    assert list(later.running()) == [arm]
    assert "claiming as v1 ['v1']" in deployer.instances.log_tail("v1")
    await later.stop("v1")
    await later.stop("v1")
    assert (await deployer.condition("v1")).health is Health.DEAD
    assert not deployer.alive_file("v1").exists()
    assert list(deployer.running()) == []


@pytest.mark.process
async def test_a_killed_worker_is_dead_and_comes_back(make: Callable[..., WorkerDeployer]) -> None:
    """What is started again is another process."""
    deployer = make()
    await deployer.start("v1")
    await until(deployer, Health.READY)
    instance = deployer.instances.find("v1")
    assert instance is not None
    os.kill(instance.process.pid, signal.SIGKILL)
    assert "was ended by signal 9" in (await until(deployer, Health.DEAD)).reason
    await deployer.start("v1")
    await until(deployer, Health.READY)


@pytest.mark.process
async def test_a_worker_that_stands_still_is_not_ready_and_says_since_when(make: Callable[..., WorkerDeployer]) -> None:
    """A stopped process touches no file; one that was never seen to claim is starting, and after its time-out dead."""
    deployer = make(fresh=timedelta(seconds=0.5))
    await deployer.start("v1")
    await until(deployer, Health.READY)
    instance = deployer.instances.find("v1")
    assert instance is not None
    os.kill(instance.process.pid, signal.SIGSTOP)
    assert "no sign of life" in (await until(deployer, Health.UNREADY)).reason
    os.kill(instance.process.pid, signal.SIGCONT)
    await until(deployer, Health.READY)
    await deployer.stop("v1")
    slow = make("slow to start", startup_timeout=timedelta(seconds=0.5))
    await slow.start("v1")
    assert "claims no jobs yet" in (await until(slow, Health.STARTING)).reason
    assert "claims no jobs 0.5 s after its start" in (await until(slow, Health.DEAD)).reason


@pytest.mark.process
async def test_a_worker_that_ends_at_once_says_its_last_words(make: Callable[..., WorkerDeployer]) -> None:
    """Its exit code and the end of its log."""
    deployer = make("crash")
    await deployer.start("v1")
    reason = (await until(deployer, Health.DEAD)).reason
    assert "ended with code 3" in reason
    assert "no database" in reason
    with pytest.raises(UnavailableError, match=r"deploy\.worker_command: expected a program"):
        await make(command=("/no/such/program",)).start("v1")


@pytest.mark.parametrize(
    ("command", "said"), [((), "got none"), (("{python}", "-m", "w", "{port}"), r"expected no \{port\}")]
)
def test_a_command_no_worker_can_have_is_refused(command: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError, match=f"deploy/worker_command: .*{said}"):
        WorkerSettings(command, PathReleases(tmp_path))


class Part:
    """A deployer of one part that does as told."""

    def __init__(self, address: str, health: Health) -> None:
        self.address, self.health, self.did = address, health, []

    async def prepare(self, version: str) -> None:
        self.did.append("prepare")

    async def start(self, version: str, *, fence: int | None = None) -> Arm:
        self.did.append("start")
        return Arm(version, self.address)

    async def condition(self, version: str) -> Condition:
        return Condition(self.health, "" if self.health is Health.READY else "no reason")

    async def stop(self, version: str, *, fence: int | None = None) -> None:
        self.did.append("stop")

    def running(self) -> list[Arm]:
        return [] if self.health is Health.DEAD else [Arm("v1", self.address)]


@pytest.mark.parametrize(
    ("web", "worker", "whole", "reason"),
    [
        (Health.READY, Health.READY, Health.READY, ""),
        (Health.READY, Health.STARTING, Health.STARTING, "worker: no reason"),
        (Health.UNREADY, Health.STARTING, Health.UNREADY, "web: no reason"),
        (Health.READY, Health.DEAD, Health.DEAD, "worker: no reason"),
    ],
)
async def test_a_version_is_as_well_as_its_worst_part(web: Health, worker: Health, whole: Health, reason: str) -> None:
    """And the reason names the part; all parts are prepared, started and stopped; the web address is the version's."""
    parts = {"web": Part("127.0.0.1:1", web), "worker": Part("-", worker)}
    deployer = DeployersTogether(parts)  # type: ignore[arg-type]
    await deployer.prepare("v1")
    assert await deployer.start("v1") == Arm("v1", "127.0.0.1:1")
    assert await deployer.condition("v1") == Condition(whole, reason)
    assert [arm.address for arm in deployer.running()] == ["127.0.0.1:1"]
    await deployer.stop("v1")
    assert all(part.did == ["prepare", "start", "stop"] for part in parts.values())
