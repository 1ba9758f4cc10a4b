"""Releases of workers through the command line: real processes, real jobs, every end of every job counted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from golive.jobs import Jobs, JobsSettings
from golive.jobs.model import NewJob, new_job_id

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(240)]

APP = """
import asyncio
from datetime import timedelta
from fastapi import FastAPI
from golive.jobs import JobError, Jobs, JobsSettings

jobs = Jobs(JobsSettings.from_env(backoff_base=timedelta(milliseconds=200), attempts_max=20))
app = FastAPI()

@jobs.handler("report", queue="reports")
async def report(number: int) -> int:
    await asyncio.sleep(0.002)
    if BROKEN and number % 10 < 3:
        raise JobError("cannot_render", status=500, retryable=True)
    return number

@app.get("/")
def root():
    return {"ok": True}
"""
CONFIG = """
service = "reports"
{web}
[deploy]
worker_command = ["{{python}}", "-m", "golive", "worker", "main:jobs"]
[gateway]
port = 0
[gates]
{gates}
[slo]
error_rate = {{ target = "<= 1%", alert_if = "> 2%", queue = "reports" }}
job_duration_p95 = {{ target = "< 1s", alert_if = "> 2s", queue = "reports" }}
[rollout]
tick = "500ms"
pace = "demo"
watch = "1s"
stages = [{{ weight = 20, soak = "1s" }}, {{ weight = 100, soak = "1s" }}]
[rollout.judge]
dwell_s = 1.0
bake_s = 1.0
last_s = 1.0
warm_up_s = 0.5
margin = 0.2
latency_margin = 10.0
"""


class Service:
    """A project with workers; its job store counts by itself how often each job ended."""

    def __init__(self, folder: Path, *, web: bool) -> None:
        self.folder = folder
        self.database = folder / ".golive" / "jobs.db"
        self.ship("v1", broken=False)
        words = {"web": 'app = "main:app"' if web else "", "gates": "preflight = []" if web else ""}
        (folder / "golive.toml").write_text(CONFIG.format(**words))

    def ship(self, version: str, *, broken: bool) -> None:
        """The code of the next version."""
        (self.folder / "main.py").write_text(f"BROKEN = {broken}  # {version}\n{APP}")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "NO_COLOR": "1", "GOLIVE_ACTOR": "ada"}
        return subprocess.run(
            [sys.executable, "-m", "golive", *words], cwd=self.folder, env=environ, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"golive {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def audit(self) -> None:
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            connection.executescript(
                "create table ended (id text, version text, state text);"
                "create trigger ended after update of state on block_jobs "
                "when new.state in ('succeeded', 'failed', 'cancelled') "
                "begin insert into ended values (new.id, new.version, new.state); end;"
            )

    def ended(self) -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            return connection.execute("select id, version, state from ended").fetchall()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """A service that is up; everything it started is down afterwards."""
    made: list[Service] = []

    def begin(*, web: bool) -> Service:
        made.append(Service(tmp_path, web=web))
        made[0].ok("up", "--detach", "--version", "v1")
        made[0].audit()
        return made[0]

    yield begin
    for service in made:
        service.run("down")


class Feed:
    """Submits jobs until told to stop, then waits until all of them have ended."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.submitted: list[str] = []
        self._enough = asyncio.Event()

    async def __aenter__(self) -> Feed:
        self._jobs = Jobs(JobsSettings(url=f"sqlite:///{self.service.database}"))
        await self._jobs.__aenter__()
        self._task = asyncio.create_task(self._submit())
        return self

    async def _submit(self) -> None:
        while not self._enough.is_set():
            batch = [
                NewJob(new_job_id(), "report", str(number).encode(), "reports", attempts_max=20) for number in range(10)
            ]
            self.submitted += [each.job.id for each in await self._jobs.store.submit(batch)]
            await asyncio.sleep(0.1)

    async def __aexit__(self, *_: object) -> None:
        self._enough.set()
        await self._task
        try:
            async with asyncio.timeout(60):
                while len(self.service.ended()) < len(self.submitted):  # noqa: ASYNC110 - the store is in other hands
                    await asyncio.sleep(0.1)
        finally:
            await self._jobs.__aexit__(None, None, None)


async def test_bad_workers_are_taken_back_and_good_ones_go_live_without_losing_a_job(start) -> None:  # type: ignore[no-untyped-def]
    """v2 fails 30 % of its jobs: back within the first stage, its jobs end on v1. v3 is good: 100 %. All end once."""
    service: Service = start(web=False)
    async with Feed(service) as feed:
        service.ship("v2", broken=True)
        bad = await asyncio.to_thread(service.run, "ship", "v2")
        assert bad.returncode == 4, bad.stdout + bad.stderr
        assert re.search(r"ROLLED BACK after .*: canary [\d.]+% \(\d+ of \d+\), stable 0% \(0 of \d+\)", bad.stdout)
        table = json.loads(service.ok("explain", "-o", "json"))
        rows = {row["name"]: row for row in table["verdict"]["rows"]}
        assert rows["error_rate"]["verdict"] != "PASS"
        assert "canary" in rows["error_rate"]["sentence"]
        assert table["recomputed"]["same"]
        service.ship("v3", broken=False)
        good = await asyncio.to_thread(service.run, "ship", "v3")
        assert good.returncode == 0, good.stdout + good.stderr
    ended = service.ended()
    assert Counter(job for job, _, _ in ended) == Counter(feed.submitted)
    assert {state for _, _, state in ended} == {"succeeded"}
    by_version = Counter(version for _, version, _ in ended)
    assert by_version["v2"] > 0
    assert by_version["v3"] > 0
    status = json.loads(service.ok("status", "-o", "json"))
    assert status["rollouts"][0]["candidate"] == "v3"


async def test_requests_and_jobs_move_together(start) -> None:  # type: ignore[no-untyped-def]
    """Nobody uses the web part of v2, and its workers fail: requests and jobs go back to v1 by one decision."""
    service: Service = start(web=True)
    async with Feed(service):
        service.ship("v2", broken=True)
        bad = await asyncio.to_thread(service.run, "ship", "v2")
        assert bad.returncode == 4, bad.stdout + bad.stderr
        assert "jobs" in bad.stdout
        status = json.loads(service.ok("status", "-o", "json"))
    assert status["traffic"].startswith("v1=100")
    with closing(sqlite3.connect(service.database)) as connection:
        (rule,) = connection.execute("select value from block_jobs_control where name = 'split'").fetchone()
    assert json.loads(rule) == {"candidate": "v1", "share_basis_points": 10_000, "salt": "v1", "stable": "v1"}
