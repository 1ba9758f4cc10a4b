"""RQ as the doorbell: a real Valkey and an unmodified ``rq worker``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue
from rq.job import Job as RqJob

from golive.errors import ConfigError
from golive.jobs import Jobs, JobsSettings, State
from golive.jobs.model import JobId
from golive.jobs.transports.ports import Transport
from golive.jobs.transports.rq import TASK, RqTransport
from golive.testing.jobs_running import finished, until
from golive.testing.jobs_transports import QUEUES, TransportContract, handlers

pytestmark = pytest.mark.process
HERE = Path(__file__).parent


@pytest.fixture
def server(valkey_url: str) -> Iterator[Any]:
    """An empty Valkey."""
    client = redis.Redis.from_url(valkey_url)
    client.flushall()
    yield client
    client.close()


class TestRqTransport(TransportContract):
    """In Valkey; what is told is what RQ's own library reads from its queues."""

    @pytest.fixture
    async def transport(self, server: Any, valkey_url: str) -> AsyncIterator[RqTransport]:
        self.server = server
        transport = RqTransport(f"rq+{valkey_url}", lambda: "service_for_rq:jobs")
        await transport.open(handlers())
        yield transport
        await transport.close()

    async def told(self, transport: Transport) -> list[JobId]:
        found = []
        for queue in QUEUES:
            for call in Queue(queue, connection=self.server).get_jobs():
                assert (call.func_name, call.args[0]) == (TASK, "service_for_rq:jobs")
                found.append(JobId(call.args[1]))
                call.delete(remove_from_queue=True)
        return found

    async def purge(self, transport: Transport) -> None:
        self.server.flushall()

    async def test_an_emptied_queue_is_noticed_as_well(self, transport: Transport) -> None:
        """``rq empty`` takes the calls and leaves everything else of golive's in place."""
        from golive.testing.jobs_transports import waiting

        ours, theirs = [waiting() for _ in range(3)], waiting("ai_analysis")
        await transport.ring([*ours, theirs])
        Queue("enrichment", connection=self.server).empty()
        assert await transport.lost([*ours, theirs]) == ours


class Service:
    """The application's settings, in this process and in the workers'."""

    def __init__(self, folder: Path, url: str) -> None:
        self.runs = folder / "runs"
        self.runs.touch()
        self.url = url
        self.environ = {
            "GOLIVE_JOBS_URL": f"sqlite:///{folder}/jobs.db", "GOLIVE_JOBS_TRANSPORT": f"rq+{url}",
            "GOLIVE_JOBS_APP": "service_for_rq:jobs", "GOLIVE_JOBS_LEASE": "3s", "GOLIVE_JOBS_PATIENCE": "1s",
            "RUNS_FILE": str(self.runs),
        }  # fmt: skip
        self.jobs = Jobs(JobsSettings.from_env(self.environ))
        self.jobs.handler("enrichment", queue="enrichment", attempts_max=3)(_named)
        self.jobs.handler("ai_analysis", queue="ai_analysis")(_numbered)

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """The very command of the deployed service, from its folder."""
        command = [str(Path(sys.executable).parent / "rq"), "worker", "enrichment", "ai_analysis", "--url", self.url]
        return subprocess.Popen(
            [*command, "--quiet", *options], cwd=HERE, env=os.environ | self.environ, start_new_session=True
        )

    def ran(self) -> list[list[str]]:
        return [line.split() for line in self.runs.read_text().splitlines()]


async def _named(how: str) -> str:
    raise AssertionError("the web process runs no job")


async def _numbered(number: int) -> int:
    raise AssertionError("the web process runs no job")


@pytest.fixture
def service(server: Any, valkey_url: str, tmp_path: Path) -> Service:
    """On an empty store and an empty Valkey."""
    return Service(tmp_path, valkey_url)


@pytest.mark.slow
async def test_an_unmodified_rq_worker_runs_golive_jobs_beside_its_own(server: Any, service: Service) -> None:
    """Results, failures and retries land in the store; RQ's own jobs end as ever; FLUSHALL in between loses nothing."""
    async with service.jobs as jobs:
        own = Queue("enrichment", connection=server).enqueue("service_for_rq.of_rq_itself", "left alone")
        first = [await jobs.submit("ai_analysis", number) for number in range(3)]
        dead = await jobs.submit("enrichment", "dead")
        with service.worker() as process:
            try:
                assert [(await finished(jobs, job, 60)).result for job in first] == [b"0", b"2", b"4"]
                failed = await finished(jobs, dead, 60)
                assert failed.failure is not None
                assert (failed.state, failed.failure.code) == (State.FAILED, "broken")

                async def said() -> bool:
                    return own.get_status() == "finished"

                await until(said, 60)
                assert own.return_value() == "LEFT ALONE"
                calls = [RqJob.fetch(key.decode().split(":")[-1], connection=server) for key in server.keys("rq:job:*")]
                # on a busy machine it is rung twice, and the second call finds nothing to do
                in_rq = {call.get_status() for call in calls if call.func_name == TASK and call.args[1] == dead.id}
                assert "failed" in in_rq
                os.kill(process.pid, signal.SIGSTOP)
                second = [await jobs.submit("enrichment", "quick"), await jobs.submit("enrichment", "retry")]
                await jobs.store.flush()  # type: ignore[attr-defined]
                server.flushall()
                os.kill(process.pid, signal.SIGCONT)
                ended = [await finished(jobs, job, 90) for job in second]
                assert [job.state for job in ended] == [State.SUCCEEDED] * 2
                assert [job.attempts for job in ended] == [1, 2]
            finally:
                os.killpg(process.pid, signal.SIGKILL)
    assert sum(1 for id_, *_ in service.ran() if id_ == second[0].id) == 1


@pytest.mark.slow
async def test_a_killed_rq_worker_loses_its_job_to_another_one(service: Service) -> None:
    """Horse and all: RQ itself never runs such a job again. Here the lease runs out and the job is rung anew."""
    async with service.jobs as jobs:
        job = await jobs.submit("enrichment", "hang")
        with service.worker() as process:

            async def begun() -> bool:
                return bool(service.ran())

            try:
                await until(begun, 60)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
        os.kill(int(service.ran()[0][2]), signal.SIGKILL)  # the horse has a process group of its own
        with service.worker() as process:
            try:
                ended = await finished(jobs, job, 90)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
        assert (ended.state, ended.attempts, ended.result) == (State.SUCCEEDED, 2, b'"done: hang"')


async def test_what_is_not_golives_is_neither_read_nor_written(server: Any, service: Service) -> None:
    """Entries of RQ's own, before and after a golive job came and was looked for."""
    queue = Queue("ai_analysis", connection=server)
    own = queue.enqueue("service_for_rq.of_rq_itself", "x")
    before = {key: server.dump(key) for key in server.keys(f"rq:job:{own.id}*")}
    async with service.jobs.opened() as jobs:
        job = await jobs.submit("ai_analysis", 1)
        await jobs.store.flush()  # type: ignore[attr-defined]
    assert {key: server.dump(key) for key in server.keys(f"rq:job:{own.id}*")} == before
    assert queue.job_ids[0] == own.id
    assert [id_[:36] for id_ in queue.job_ids[1:]] == [job.id]


def test_without_an_address_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """``rq`` alone means REDIS_URL."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(ConfigError, match="takes its Redis from REDIS_URL, got none"):
        Jobs(JobsSettings(url="memory://", transport="rq"))


@pytest.mark.parametrize("address", ["redis://host", "rabbit", "kafka://user:secret@host", ""])
def test_an_address_nobody_understands_is_refused(address: str) -> None:
    """Without what may be a password."""
    with pytest.raises(ConfigError, match=r'jobs\.transport: expected "store", "rq"') as caught:
        Jobs(JobsSettings(url="memory://", transport=address))
    assert "secret" not in str(caught.value)


async def test_limits_that_an_rq_worker_would_not_keep_are_refused_at_the_start(valkey_url: str) -> None:
    """In the web process already: there may be no golive worker that could say so."""
    jobs = Jobs(JobsSettings(url="memory://", transport=f"rq+{valkey_url}", app="service_for_rq:jobs"))
    jobs.queue("enrichment", concurrency=1)
    jobs.handler("enrichment", queue="enrichment")(_named)
    with pytest.raises(ConfigError, match=r"jobs\.transport: expected the store's own beside the limits of"):
        async with jobs:
            pass


async def test_an_application_no_worker_can_import_is_refused_at_its_start(valkey_url: str) -> None:
    """An RQ worker would fail on each of its jobs; the message says what to set."""
    jobs = Jobs(JobsSettings(url="memory://", transport=f"rq+{valkey_url}"))
    jobs.handler("enrichment")(_named)
    with pytest.raises(ConfigError, match="GOLIVE_JOBS_APP"):
        async with jobs:
            pass
