"""A small project on disk, and the command line as a user types it: processes, not calls."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.ports import free_port

APP = """
import os
from fastapi import FastAPI
from fastapi.responses import JSONResponse

app = FastAPI()

@app.get("/hello")
def hello():
    return {"version": os.environ["GOLIVE_VERSION"]}

@app.get("/work")
def work():
    if BROKEN:
        return JSONResponse({"detail": "no"}, status_code=500)
    return {"ok": True}
"""

CONFIG = """
service = "web"
app = "main:app"

[gateway]
port = 0

[rollout]
tick = "500ms"
pace = "demo"
watch = "1s"
stages = [{ weight = 10, soak = "1s" }, { weight = 50, soak = "1s" }, { weight = 100, soak = "1s" }]

[rollout.judge]
dwell_s = 1.0
bake_s = 1.0
last_s = 1.0
warm_up_s = 0.5
margin = 0.2
latency_margin = 10.0

[gates]
preflight = ["startup", "smoke"]

[gates.smoke]
requests = [{ get = "/hello" }]
"""


class Project:
    """A project folder and the golive command in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "NO_COLOR": "1", "GOLIVE_ACTOR": "ada"}
        self.write(broken=False)
        (folder / "golive.toml").write_text(CONFIG)

    def write(self, *, broken: bool, note: str = "") -> None:
        """The code of the next version."""
        (self.folder / "main.py").write_text(f"BROKEN = {broken}  # {note}\n{APP}")

    def run(self, *words: str, seconds: float = 90, actor: str = "ada") -> subprocess.CompletedProcess[str]:
        """``golive WORDS`` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "golive", *words],
            cwd=self.folder,
            env={**self.environ, "GOLIVE_ACTOR": actor},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def cost(self, *words: str) -> tuple[subprocess.CompletedProcess[str], float]:
        """As :meth:`run`, with the CPU seconds the command took, whatever else the machine was doing."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            command = [sys.executable, "-m", "golive", *words]
            process = subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            texts = [(stream.seek(0), stream.read())[1] for stream in (out, err)]
        done = subprocess.CompletedProcess(command, process.returncode, *texts)
        return done, usage.ru_utime + usage.ru_stime

    def asked(self, verb: str) -> datetime:
        """When the newest request *verb* was written into the inbox of the controller."""
        with closing(sqlite3.connect(self.folder / ".golive" / "golive.db")) as journal:
            (at,) = journal.execute("select at from inbox where verb = ? order by id desc", (verb,)).fetchone()
        return datetime.fromisoformat(at)

    @staticmethod
    def born(pid: int) -> datetime:
        """When process *pid* was started."""
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        up_seconds = float(Path("/proc/uptime").read_text().split()[0])
        return datetime.now(UTC) - timedelta(seconds=up_seconds - ticks / os.sysconf("SC_CLK_TCK"))

    @staticmethod
    def kept_waiting(pid: int) -> timedelta:
        """How long process *pid* could have run while others had the processor."""
        return timedelta(microseconds=int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1000)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """``golive WORDS``, going on."""
        return subprocess.Popen(
            [sys.executable, "-m", "golive", *words],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ok(self, *words: str) -> str:
        """As :meth:`run`, and it must succeed."""
        done = self.run(*words)
        assert done.returncode == 0, f"golive {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict:
        """``golive status -o json``."""
        return json.loads(self.run("status", "-o", "json").stdout)

    def until(self, phase: str, seconds: float = 60) -> dict:
        """The newest rollout once it is in *phase*."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            rollouts = self.status()["rollouts"]
            if rollouts and rollouts[0]["phase"] == phase:
                return rollouts[0]
            time.sleep(0.1)
        raise AssertionError(f"not {phase} within {seconds} s: {self.status()}")

    def settle(self, seconds: float = 60) -> None:
        """Wait until no rollout is in progress, whatever the test before left behind."""
        deadline = time.monotonic() + seconds
        while any(rollout["ended_at"] is None for rollout in self.status()["rollouts"]):
            assert time.monotonic() < deadline, f"not over within {seconds} s: {self.status()}"
            time.sleep(0.1)

    def url(self) -> str:
        """Where the gateway listens."""
        record = json.loads((self.folder / ".golive" / "gateway" / "gateway.json").read_text())
        return f"http://{record['host']}:{record['port']}"

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """One request through the gateway."""
        request = urllib.request.Request(
            self.url() + path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def send(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        """One request through the gateway; its status and the version that answered."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(self.url() + path, method=method, headers=named)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers.get("x-golive-served-by", "")
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("x-golive-served-by", "")

    def served_by(self, path: str, **headers: str) -> str:
        """Which version answers such a request."""
        return self.send("GET", path, **headers)[1]

    def load(self, path: str, rate: float = 60) -> subprocess.Popen[str]:
        """Clients until they are terminated; the last line is the report."""
        words = ["load", self.url() + path, "--rate", f"{rate:g}", "--duration", "5m", "-o", "ndjson"]
        return subprocess.Popen(
            [sys.executable, "-m", "golive", *words], cwd=self.folder, stdout=subprocess.PIPE, text=True
        )


def report(load: subprocess.Popen[str]) -> dict:
    """End *load* and return what its clients saw."""
    load.terminate()
    out, _ = load.communicate(timeout=30)
    return json.loads(out.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def load_report():
    """See :func:`report`."""
    return report


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that is up; everything it started is down afterwards."""
    made = Project(tmp_path_factory.mktemp("project"))
    made.ok("up", "--detach", "--version", "v1")
    yield made
    made.run("down")


@pytest.fixture
def bare_project(tmp_path: Path) -> Iterator[Project]:
    """A project nothing was started in yet."""
    made = Project(tmp_path)
    yield made
    made.run("down")


@pytest.fixture(name="free_port")
def free_port_fixture() -> int:
    """A port nobody listens on just now."""
    return free_port()
