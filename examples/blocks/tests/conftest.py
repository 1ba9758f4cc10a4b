"""The service under test: importable as ``golive serve`` imports it, and running, as shipped or as a later release."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from blocks.city import City  # noqa: E402 - only importable from here on
from blocks.venues import load_city  # noqa: E402

START_SECONDS = 60.0
"""A loaded machine takes its time; a start that fails ends the wait at once."""


@pytest.fixture(scope="session")
def city() -> City:
    """Port Larkin, as shipped."""
    return load_city()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the service as shipped, under ``golive serve`` with an embedded worker."""
    with running(ROOT, tmp_path_factory.mktemp("blocks")) as client:
        yield client


@pytest.fixture(scope="session")
def curl() -> Callable[[httpx.Client, str], httpx.Response]:
    """Sends what a curl command would send. Knows -X, -H, -d and -L; the host of the URL becomes the client's."""
    return _curl


def _curl(client: httpx.Client, command: str) -> httpx.Response:
    method, headers, body, path, follow = "GET", {}, None, "/", False
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    for word in words:
        if word.startswith("-X"):
            method = word[2:]
        elif word == "-H":
            name, _, value = next(words).partition(":")
            headers[name] = value.strip()
        elif word == "-d":
            body = next(words)
        elif word.startswith("-"):
            follow = follow or "L" in word
        else:
            path = re.sub(r"^https?://[^/]+", "", word)
    return client.request(method, path, headers=headers, content=body, follow_redirects=follow)


@pytest.fixture
def release(tmp_path: Path) -> Callable[[str], AbstractContextManager[httpx.Client]]:
    """``with release("v2") as client:`` runs that version from a tree of its own."""
    return lambda version: running(_tree(version, tmp_path), tmp_path)


@pytest.fixture
def without_worker(tmp_path: Path) -> Iterator[tuple[httpx.Client, Callable[[], AbstractContextManager[None]]]]:
    """The service with ENABLE_BACKGROUND_WORKER=false, and what starts a worker beside it."""
    with running(ROOT, tmp_path, embedded=False) as client:
        yield client, lambda: working(tmp_path)


def _tree(version: str, folder: Path) -> Path:
    """The tree of *version* in *folder*, made as the README says: a copy of the package and the version's overlay."""
    tree = folder / version
    shutil.copytree(ROOT / "blocks", tree / "blocks", ignore=shutil.ignore_patterns("__pycache__"))
    overlay = ROOT / "demo" / version
    if overlay.is_dir():
        shutil.copytree(overlay, tree, dirs_exist_ok=True)
    return tree


@contextmanager
def running(tree: Path, state: Path, *, embedded: bool = True) -> Iterator[httpx.Client]:
    """``golive serve`` on *tree* with its stores in *state*; a client of it once it is ready."""
    log = state / "serve.log"
    command = ["serve", "blocks.app:app", "--host", "127.0.0.1", "--port", "0"]
    with _process(command, tree, state, log, embedded) as process:
        url = f"http://127.0.0.1:{_port(process, log)}"
        with httpx.Client(base_url=url, timeout=30) as client:
            _until_ready(client, process, log)
            yield client


@contextmanager
def working(state: Path) -> Iterator[None]:
    """``golive worker`` as a process of its own, on the stores in *state*."""
    with _process(["worker", "blocks.app:app"], ROOT, state, state / "worker.log", embedded=False):
        yield


@contextmanager
def _process(
    arguments: list[str], tree: Path, state: Path, log: Path, embedded: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """``golive`` with the report's environment; SIGTERM at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOLIVE_", "BLOCKS_"))}
    environment |= {
        "GOLIVE_JOBS_URL": f"sqlite:///{state / 'jobs.db'}",
        "GOLIVE_CHASSIS_LAME_DUCK": "0s",
        "ENABLE_BACKGROUND_WORKER": str(embedded).lower(),
        "BLOCKS_CONCURRENCY": "4",
        "BLOCKS_TIMEOUT_MS": "30000",
    }
    command = [sys.executable, "-m", "golive", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port it chose, from its first log line."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.02)
    raise AssertionError(f"the service does not listen: {log.read_text()}")


def _until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if client.get("/health/ready").status_code == 200:
            return
        time.sleep(0.02)
    raise AssertionError(f"the service is not ready: {log.read_text()}")
