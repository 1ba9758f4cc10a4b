"""Real processes, really killed: what was acknowledged survives, and ends once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.jobs.processes import GOLIVE, HERE, service, submit_all

from golive.jobs import Job, Jobs, State
from golive.testing.jobs import new_job
from golive.testing.jobs_running import finished, until


def audit(database: Path) -> None:
    """Have the database itself count the terminal transitions of every job."""
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.executescript(
            "create table ended (id text, state text);"
            "create trigger ended after update of state on block_jobs "
            "when new.state in ('succeeded', 'failed', 'cancelled') "
            "begin insert into ended values (new.id, new.state); end;"
        )


async def held(jobs: Jobs, folder: Path) -> Job:
    """A job for the service's ``hold``."""
    new = new_job(kind="hold", queue="slow", payload=json.dumps({"folder": str(folder)}).encode())
    return (await jobs.store.submit([new]))[0].job


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_kill_9_of_server_and_worker_loses_no_acknowledged_job_and_ends_none_twice(tmp_path: Path) -> None:
    """5,000 submissions while both are killed at random times, over and over."""
    async with Jobs(f"sqlite:///{tmp_path}/jobs.db"):
        audit(tmp_path / "jobs.db")
    acknowledged: dict[int, str] = {}
    kills = {"server": 0, "worker": 0}
    chance = random.Random(7)
    with service(tmp_path, GOLIVE_JOBS_LEASE="1s") as running:
        start = {"server": running.server, "worker": running.worker}
        alive = {name: begin() for name, begin in start.items()}
        submitting = asyncio.create_task(submit_all(running.address, range(5000), acknowledged))
        while not submitting.done():
            seen = len(acknowledged)
            await asyncio.wait([submitting], timeout=chance.uniform(0.2, 1.2))
            if len(acknowledged) == seen:  # still starting: let it come up, or nothing would ever be acknowledged
                continue
            victim = chance.choice(["server", "worker"])
            alive[victim].kill()
            alive[victim].wait()
            alive[victim] = start[victim]()
            kills[victim] += 1
        await submitting
        jobs = Jobs(running.url)
        async with jobs:

            async def idle() -> bool:
                depth = await jobs.store.depth()
                return not any(state in (State.PENDING, State.RUNNING) for _, state in depth)

            await until(idle, 60)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        rows = dict(connection.execute("select id, state from block_jobs"))
        ended = [job for (job,) in connection.execute("select id from ended")]
    assert min(kills.values()) >= 3, f"too few kills to mean anything: {kills}"
    assert set(acknowledged.values()) == set(rows), "every acknowledged job is there, and no other"
    assert set(rows.values()) == {"succeeded"}
    assert sorted(ended) == sorted(rows), "each job had exactly one terminal transition"


@pytest.mark.process
@pytest.mark.slow
async def test_a_job_whose_worker_was_killed_runs_again_within_20_seconds(tmp_path: Path) -> None:
    """With the default settings, another worker beside it."""
    with service(tmp_path) as running:
        async with Jobs(running.url) as jobs:
            first = running.worker()
            job = await held(jobs, tmp_path)

            async def attempt_1() -> bool:
                return (tmp_path / "attempt-1").exists()

            async def attempt_2() -> bool:
                return (tmp_path / "attempt-2").exists()

            await until(attempt_1, 30)
            second = running.worker()
            first.kill()
            killed = time.monotonic()
            await until(attempt_2, 40)
            seconds = time.monotonic() - killed
            (tmp_path / "end").touch()
            done = await finished(jobs, job)
            assert second.poll() is None
    assert seconds <= 20
    assert (done.state, done.attempts, done.result) == (State.SUCCEEDED, 2, b"2")


@pytest.mark.process
async def test_sigterm_drains_and_hands_back(tmp_path: Path) -> None:
    """Exit 0; the job that did not end within the grace is pending, its attempt not counted; the log says so."""
    with service(tmp_path, GOLIVE_JOBS_DRAIN="200ms", GOLIVE_VERSION="v3") as running:
        async with Jobs(running.url) as jobs:
            worker = running.worker("--queue", "slow", "--concurrency", "2")
            job = await held(jobs, tmp_path)

            async def attempt_1() -> bool:
                return (tmp_path / "attempt-1").exists()

            await until(attempt_1, 30)
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.wait, 30) == 0
            after = await jobs.get(job.id)
        lines = running.lines()
    assert after
    assert (after.state, after.attempts, after.version) == (State.PENDING, 0, "v3")
    events = [line["event"] for line in lines]
    assert events == ["worker.started", "worker.draining", "job.handed_back", "worker.stopped"]
    assert (lines[0]["concurrency"], lines[0]["kinds"], lines[2]["job_id"]) == (2, ["hold"], job.id)


@pytest.mark.process
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere:jobs", "expected a module that can be imported"),
        ("service_for_processes:nothing", "to have 'nothing'"),
        ("json:dumps", "expected a golive.Jobs or an app that serves one"),
    ],
)
def test_a_worker_without_jobs_says_what_is_missing(tmp_path: Path, target: str, said: str) -> None:
    """Exit 2 and one line."""
    done = subprocess.run([sys.executable, "-c", GOLIVE, "worker", target], cwd=HERE, capture_output=True, text=True,
                          env={**os.environ, "GOLIVE_JOBS_URL": f"sqlite:///{tmp_path}/jobs.db"})  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
