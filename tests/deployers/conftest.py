"""A service that obeys: its behaviour is a file in its release, and it needs nothing but the standard library."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from golive.rollout.deployers.process import ProcessDeployer
from golive.rollout.deployers.releases import Releases
from golive.rollout.deployers.releases_path import PathReleases
from golive.rollout.deployers.settings import DeploySettings
from golive.rollout.processes import alive

SERVICE = """
import os, pathlib, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

behaviour = pathlib.Path("behaviour").read_text()
if behaviour == "crash":
    print("connecting"); print("no database"); sys.exit(3)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        unready = behaviour == "unready" and self.path == "/health/ready"
        body = os.environ["GOLIVE_VERSION"].encode()
        self.send_response(503 if unready else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

print("listening on", os.environ["PORT"], sys.argv[1:])
ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""
COMMAND = ("{python}", "service.py", "{version}", "{port}")


async def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a process cannot wake us
            await asyncio.sleep(0.02)


def write_release(folder: Path, behaviour: str = "good") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "service.py").write_text(SERVICE)
    (folder / "behaviour").write_text(behaviour)


def settings(releases: Releases, **changes: object) -> DeploySettings:
    quick = {"command": COMMAND, "releases": releases, "stop_timeout": timedelta(seconds=1)}
    return DeploySettings(**{**quick, **changes})


class ProcessWorld:
    """The world of the deployer contract."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "releases"
        self.root.mkdir()
        self._directory = directory / "deploy"
        self.deployer = self.another_deployer()

    def another_deployer(self) -> ProcessDeployer:
        return ProcessDeployer(self._directory, settings(PathReleases(self.root)))

    def add_release(self, version: str, behaviour: str = "good") -> None:
        shutil.rmtree(self.root / version, ignore_errors=True)
        write_release(self.root / version, behaviour)

    async def served_by(self, address: str) -> str | None:
        def ask() -> str | None:
            try:
                with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
                    return answer.read().decode()
            except OSError:
                return None

        return await asyncio.to_thread(ask)

    async def kill(self, version: str) -> None:
        instance = self.deployer.instances.find(version)
        assert instance is not None
        os.kill(instance.process.pid, signal.SIGKILL)
        await eventually(lambda: not alive(instance.process))


async def stop_all(deployer: ProcessDeployer) -> None:
    for arm in deployer.running():
        await deployer.stop(arm.version)


@pytest.fixture
async def make_deployer(tmp_path: Path) -> AsyncIterator[Callable[..., ProcessDeployer]]:
    """Deployers whose processes are ended with the test."""
    made: list[ProcessDeployer] = []

    def make(releases: Releases, **changes: object) -> ProcessDeployer:
        made.append(ProcessDeployer(tmp_path / "deploy", settings(releases, **changes)))
        return made[-1]

    yield make
    for deployer in made:
        await stop_all(deployer)


@pytest.fixture
def make_release(tmp_path: Path) -> Callable[..., Path]:
    """Writes the release of a version; returns the folder of all of them."""

    def make(version: str, behaviour: str = "good") -> Path:
        write_release(tmp_path / "releases" / version, behaviour)
        return tmp_path / "releases"

    return make
