"""What is particular to processes: ports, environments, logs, orphans, and how their health is read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.deployers.conftest import eventually, write_release

from golive.errors import StateError, UnavailableError
from golive.rollout.deployers import instance as instance_module
from golive.rollout.deployers import process as process_module
from golive.rollout.deployers.process import ProcessDeployer
from golive.rollout.deployers.releases_path import PathReleases
from golive.rollout.ports import Condition, FencedError, Health
from golive.rollout.processes import Process, alive, end, identify, listening_on, spawn

pytestmark = pytest.mark.process
Make = Callable[..., ProcessDeployer]


@pytest.fixture
def releases(tmp_path: Path) -> PathReleases:
    write_release(tmp_path / "releases" / "v1")
    return PathReleases(tmp_path / "releases")


@pytest.fixture
async def server() -> AsyncIterator[dict[str, int]]:
    """A service whose answers the test decides: path to status, 0 for none. Its port is under ``port``."""
    answers: dict[str, int] = {}

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        if answers.get(path, 404):
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % answers.get(path, 404))
        else:
            await reader.read()  # until the other side gives up
        writer.close()

    listening = await asyncio.start_server(client, "127.0.0.1", 0)
    answers["port"] = listening.sockets[0].getsockname()[1]
    yield answers
    listening.close()


async def _until(deployer: ProcessDeployer, health: Health) -> Condition:
    deadline = time.monotonic() + 30
    while (condition := await deployer.condition("v1")).health is not health:
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.02)
    return condition


async def _beside(make: Make, releases: PathReleases, server: dict[str, int], **changes: object) -> ProcessDeployer:
    """A deployer whose v1 is a process that sleeps, with *server* answering in its place."""
    deployer = make(releases, command=("{python}", "-c", "import time; time.sleep(60)"), **changes)
    await deployer.start("v1")
    found = deployer.instances.find("v1")
    assert found is not None
    deployer.instances.save(instance_module.Instance("v1", found.process, f"127.0.0.1:{server['port']}", found.since))
    return deployer


async def test_the_service_is_told_who_it_is_and_where_to_listen(make_deployer: Make, releases: PathReleases):
    """By environment and by placeholders; the user's variables arrive, and its output is not held back."""
    code = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:], os.getcwd()]))"
    command = ("{python}", "-c", code, "{port}", "{version}", "{release}", "{host}")
    deployer = make_deployer(releases, command=command, env={"COLOUR": "blue", "PORT": "mine"})
    arm = await deployer.start("v1")
    await _until(deployer, Health.DEAD)
    environment, arguments, folder = json.loads(deployer.instances.log_path("v1").read_text())
    port = arm.address.rpartition(":")[2]
    assert arguments == [port, "v1", str(releases.root / "v1"), "127.0.0.1"]
    assert Path(folder) == releases.root / "v1"
    named = {name: environment[name] for name in ("GOLIVE_VERSION", "PORT", "HOST", "PYTHONUNBUFFERED", "COLOUR")}
    assert named == {
        "GOLIVE_VERSION": "v1", "PORT": port, "HOST": "127.0.0.1", "PYTHONUNBUFFERED": "1", "COLOUR": "blue"
    }  # fmt: skip


async def test_a_port_lost_at_the_last_moment_is_replaced(
    make_deployer: Make, releases: PathReleases, monkeypatch: pytest.MonkeyPatch
):
    """Somebody binds it between our look and the service's: it is started again on another."""
    with socket.create_server(("127.0.0.1", 0)) as thief:
        ports = iter([thief.getsockname()[1], thief.getsockname()[1]])
        real = process_module.free_port
        monkeypatch.setattr(process_module, "free_port", lambda host: next(ports, None) or real(host))
        deployer = make_deployer(releases)
        arm = await deployer.start("v1")
        assert arm.address != f"127.0.0.1:{thief.getsockname()[1]}"
        await _until(deployer, Health.READY)


async def test_a_program_that_does_not_exist_is_an_error_that_names_it(make_deployer: Make, releases: PathReleases):
    """And nothing counts as running."""
    deployer = make_deployer(releases, command=("no-such-program", "{port}"))
    with pytest.raises(UnavailableError, match="no-such-program"):
        await deployer.start("v1")
    assert list(deployer.running()) == []


async def test_a_log_that_grew_is_set_aside_at_the_next_start(
    make_deployer: Make, releases: PathReleases, monkeypatch: pytest.MonkeyPatch
):
    """One old one is kept."""
    monkeypatch.setattr(instance_module, "LOG_BYTES_MAX", 10)
    deployer = make_deployer(releases)
    await deployer.start("v1")
    await _until(deployer, Health.READY)
    await deployer.stop("v1")
    await deployer.start("v1")
    await _until(deployer, Health.READY)
    log = deployer.instances.log_path("v1")
    assert "listening" in log.with_name("v1.log.1").read_text()
    assert log.read_text().count("listening") == 1


async def test_a_process_that_no_record_names_is_ended_before_its_version_starts(
    make_deployer: Make, releases: PathReleases
):
    """The controller died between starting it and writing so."""
    deployer = make_deployer(releases)
    await deployer.start("v1")
    lost = deployer.instances.find("v1")
    assert lost is not None
    deployer.instances.forget("v1")
    await deployer.start("v1")
    found = deployer.instances.find("v1")
    assert found is not None
    assert found.process != lost.process
    if sys.platform.startswith("linux"):
        assert not alive(lost.process)


async def test_children_of_a_service_end_with_it(make_deployer: Make, releases: PathReleases):
    """Workers of a server that was killed would keep its port and its database connections."""
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    deployer = make_deployer(releases, command=("{python}", "-c", code + "print('up'); time.sleep(60)"))
    await deployer.start("v1")
    found = deployer.instances.find("v1")
    assert found is not None
    await eventually(lambda: deployer.instances.orphans("v1"))
    children = deployer.instances.orphans("v1")
    os.kill(found.process.pid, signal.SIGKILL)
    await deployer.stop("v1")
    await eventually(lambda: not any(alive(child) for child in children))


async def test_a_record_of_another_process_with_the_same_pid_is_not_believed(
    make_deployer: Make, releases: PathReleases
):
    """Pids come round again; a stranger is neither adopted nor killed."""
    deployer = make_deployer(releases)
    stranger = identify(os.getpid())
    assert stranger is not None
    before = instance_module.Process(stranger.pid, "another time")
    deployer.instances.save(instance_module.Instance("v1", before, "127.0.0.1:1", time.time()))
    assert list(deployer.running()) == []
    await deployer.stop("v1")  # this very process would not return from it


async def test_starting_goes_on_until_the_startup_path_is_done(
    make_deployer: Make, releases: PathReleases, server: dict[str, int]
):
    """STARTING, with what the path said; then UNREADY until it is ready, and UNREADY again when it is not."""
    deployer = await _beside(make_deployer, releases, server)
    server |= {"/livez": 200, "/startupz": 503, "/health/ready": 503}
    starting = await deployer.condition("v1")
    assert starting == Condition(Health.STARTING, "/startupz: expected 200, got 503")
    server["/startupz"] = 200
    assert (await deployer.condition("v1")).health is Health.UNREADY
    server["/health/ready"] = 200
    assert await deployer.condition("v1") == Condition(Health.READY)
    server |= {"/startupz": 503, "/health/ready": 503}
    assert await deployer.condition("v1") == Condition(Health.UNREADY, "/health/ready: expected 200, got 503")


async def test_a_service_without_a_startup_path_is_judged_by_its_readiness(
    make_deployer: Make, releases: PathReleases, server: dict[str, int]
):
    """Not offered (404), or switched off."""
    for changes in ({}, {"startup_path": None, "live_path": None, "ready_path": "/"}):
        deployer = await _beside(make_deployer, releases, server, **changes)
        server |= {"/health/ready": 200, "/": 200}
        assert await deployer.condition("v1") == Condition(Health.READY)
        await deployer.stop("v1")


async def test_a_start_that_takes_too_long_is_dead_and_says_so(
    make_deployer: Make, releases: PathReleases, server: dict[str, int]
):
    """With the limit, the last answer and where the log is."""
    server |= {"/livez": 200, "/startupz": 503}
    deployer = await _beside(make_deployer, releases, server, startup_timeout=timedelta(seconds=0.2))
    reason = (await _until(deployer, Health.DEAD)).reason
    assert "not started within 0.2 s" in reason
    assert "503" in reason
    assert "v1.log" in reason


async def test_a_version_that_never_becomes_ready_is_dead_in_the_end(
    make_deployer: Make, releases: PathReleases, server: dict[str, int]
):
    """But one that was ready once is only unready, however long."""
    server |= {"/livez": 200, "/startupz": 200, "/health/ready": 503}
    deployer = await _beside(make_deployer, releases, server, ready_timeout=timedelta(seconds=0.2))
    assert (await deployer.condition("v1")).health is Health.UNREADY
    assert "not ready within" in (await _until(deployer, Health.DEAD)).reason
    server["/health/ready"] = 200
    assert (await deployer.condition("v1")).health is Health.READY
    server["/health/ready"] = 503
    assert (await deployer.condition("v1")).health is Health.UNREADY


async def test_a_version_that_is_stuck_is_dead_after_its_time(
    make_deployer: Make, releases: PathReleases, server: dict[str, int]
):
    """One slow answer is not: only silence that lasts."""
    server |= {"/livez": 200, "/startupz": 200, "/health/ready": 200}
    deployer = await _beside(make_deployer, releases, server, live_timeout=timedelta(seconds=1))
    assert (await deployer.condition("v1")).health is Health.READY
    server |= {"/livez": 0, "/health/ready": 0}
    assert (await deployer.condition("v1")).health is not Health.DEAD
    assert "/livez" in (await _until(deployer, Health.DEAD)).reason
    server |= {"/livez": 200, "/health/ready": 200}
    assert (await deployer.condition("v1")).health is Health.READY


async def test_end_says_whether_the_process_went_by_itself(tmp_path: Path):
    """And returns only when it is gone."""
    polite, stubborn = (
        spawn([sys.executable, "-c", code], cwd=tmp_path, env=dict(os.environ), log=tmp_path / "log")
        for code in (
            "import time; print('on', flush=True); time.sleep(60)",
            "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)",
        )
    )
    await eventually(lambda: (tmp_path / "log").read_text().count("on") == 2)
    assert await end(polite, grace_seconds=20) is True
    assert await end(stubborn, grace_seconds=0.2) is False
    assert not alive(polite)
    assert not alive(stubborn)


def test_who_listens_on_a_port_can_be_named():
    """By pid and command line."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        owner = listening_on(listening.getsockname()[1])
    assert owner is not None
    assert owner[0] == os.getpid()
    assert listening_on(1) is None


def test_a_process_of_long_ago_is_not_alive(tmp_path: Path):
    """Neither its pid nor its start time alone makes it the same."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    before = identify(done.pid)
    done.wait()
    assert identify(done.pid) is None
    assert before is None or not alive(before)


async def test_a_fence_that_golive_did_not_write_is_an_error_that_names_the_file(
    make_deployer: Make, releases: PathReleases, tmp_path: Path
):
    """Nobody acts on a guess."""
    deployer = make_deployer(releases)
    await deployer.start("v1", fence=3)
    fence = next(tmp_path.rglob("fence"))
    fence.write_text("three")
    with pytest.raises(StateError, match=f"{fence}: expected a number"):
        await deployer.stop("v1", fence=3)
    assert len(deployer.running()) == 1


async def test_a_controller_that_slept_through_its_stop_leaves_what_its_successor_started(
    make_deployer: Make, releases: PathReleases, monkeypatch: pytest.MonkeyPatch
):
    """It sent the signal and slept while the process had its grace; process and record are another's by then."""
    sleeper, successor = make_deployer(releases), make_deployer(releases)
    await sleeper.start("v1", fence=1)
    inside, woken = asyncio.Event(), asyncio.Event()

    async def slow_end(process: Process, grace_seconds: float) -> bool:
        went = await end(process, grace_seconds)
        if not inside.is_set():
            inside.set()
            await woken.wait()
        return went

    monkeypatch.setattr("golive.rollout.deployers.instance.end", slow_end)
    stopping = asyncio.create_task(sleeper.stop("v1", fence=1))
    await inside.wait()
    arm = await successor.start("v1", fence=2)
    woken.set()
    with pytest.raises(FencedError, match="Another controller took over"):
        await stopping
    assert list(successor.running()) == [arm]


async def test_a_version_that_was_started_again_while_a_person_stopped_it_goes_on(
    make_deployer: Make, releases: PathReleases, monkeypatch: pytest.MonkeyPatch
):
    """Who came later is right: what was started is another process."""
    deployer = make_deployer(releases)
    await deployer.start("v1")

    async def end_and_start(process: Process, grace_seconds: float) -> bool:
        went = await end(process, grace_seconds)
        monkeypatch.undo()
        await deployer.start("v1")
        return went

    monkeypatch.setattr("golive.rollout.deployers.instance.end", end_and_start)
    await deployer.stop("v1")
    assert [arm.version for arm in deployer.running()] == ["v1"]
