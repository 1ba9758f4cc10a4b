"""``golive worker`` and ``golive jobs`` on the engines, as an operator starts them; and what is missing is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.test_jobs_results import bucket
from tests.jobs.test_jobs_sqs import Queues

from golive.config import children, load_settings
from golive.jobs import Jobs, JobsSettings, State

HERE = Path(__file__).parent
GOLIVE = "from golive.cli import main; main()"


def golive(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command, from the application's folder."""
    return subprocess.run(
        [sys.executable, "-c", GOLIVE, *arguments], cwd=HERE, env=os.environ | environ, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


@pytest.fixture
def aws(aws_url: str) -> dict[str, str]:
    """Table, queue and bucket of their own, as the environment of every process."""
    queues = Queues(aws_url)
    queues.make("enrichment")
    return {
        "GOLIVE_JOBS_URL": f"dynamodb://jobs-{uuid.uuid4().hex[:8]}?endpoint={aws_url}&create=true",
        "GOLIVE_JOBS_TRANSPORT": queues.address, "GOLIVE_JOBS_RESULTS": bucket(aws_url),
        "GOLIVE_JOBS_RESULT_INLINE_BYTES_MAX": "1000", "GOLIVE_JOBS_LEASE": "5s",
    }  # fmt: skip


@pytest.mark.process
@pytest.mark.slow
async def test_golive_worker_runs_on_dynamodb_sqs_and_s3(aws: dict[str, str]) -> None:
    """The third document's stack, without a server of one's own; SIGTERM ends it cleanly, `golive jobs` sees it."""
    jobs = Jobs(JobsSettings.from_env(aws))

    @jobs.handler("repeat", queue="enrichment")
    async def repeat(times: int) -> str:
        raise AssertionError("the worker runs it")

    async with jobs.opened():
        small, large = await jobs.submit("repeat", 3), await jobs.submit("repeat", 5000)
        await jobs.store.flush()  # type: ignore[attr-defined]
        worker = subprocess.Popen(
            [sys.executable, "-c", GOLIVE, "worker", "service_for_engines:jobs"], cwd=HERE, env=os.environ | aws,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            ended = [await jobs.wait(job, 60) for job in (small, large)]
            assert [job.state for job in ended] == [State.SUCCEEDED] * 2
            assert ended[0].result == b'"xxx"'
            assert await jobs.result(ended[1]) == b'"%s"' % (b"x" * 5000)
            worker.send_signal(signal.SIGTERM)
            said, _ = worker.communicate(timeout=40)
        finally:
            worker.kill()
            worker.wait()
    assert worker.returncode == 0
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert (events.count("job.succeeded"), events[-1]) == (2, "worker.stopped")
    shown = golive("jobs", "show", large.id, environ=aws)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["result"]["golive_result"]["bytes"] == 5002


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GOLIVE_JOBS_TRANSPORT", "rabbit://user:secret@host", 'jobs.transport: expected "store", "rq"'),
        ("GOLIVE_JOBS_RESULTS", "ftp://host", 'jobs.results: expected "inline", "file:folder"'),
        ("GOLIVE_JOBS_URL", "dynamodb://t?shard=1", "jobs.url: unknown option 'shard'"),
        ("GOLIVE_JOBS_PATIENCE", "10", 'GOLIVE_JOBS_PATIENCE: '),
    ],
)  # fmt: skip
def test_a_wrong_engine_stops_the_worker_in_one_line(variable: str, value: str, said: str) -> None:
    """Exit code 2, the setting by its name, no trace, nothing secret."""
    done = golive("worker", "service_for_engines:jobs", environ={"GOLIVE_JOBS_URL": "memory://", variable: value})
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("package", "settings", "extra"),
    [
        ("boto3", {"GOLIVE_JOBS_URL": "dynamodb://table"}, "golive[aws]"),
        ("rq", {"GOLIVE_JOBS_TRANSPORT": "rq+redis://127.0.0.1:1/0"}, "golive[rq]"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(package: str, settings: dict[str, str], extra: str) -> None:
    """A service without the extra learns at its start which one."""
    blocked = f"import sys; sys.modules[{package!r}] = None; {GOLIVE}"
    done = subprocess.run(
        [sys.executable, "-c", blocked, "worker", "service_for_engines:jobs"], cwd=HERE, capture_output=True, text=True,
        env=os.environ | {"GOLIVE_JOBS_URL": "memory://", **settings}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f'pip install "{extra}"' in done.stderr


def test_importing_jobs_loads_no_engine() -> None:
    """Not even with one in the settings: it is loaded when it is first used."""
    code = (
        "import sys; from golive.jobs import Jobs, JobsSettings; "
        "Jobs(JobsSettings(url='dynamodb://t', transport='sqs://q', results='s3://b')); "
        "Jobs(JobsSettings(url='memory://', transport='rq+redis://host:1/0')); "
        "print(sorted({'boto3', 'botocore', 'rq', 'redis', 'asyncpg'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_the_file_hands_the_engines_to_every_version_of_the_service(tmp_path: Path) -> None:
    """``[jobs]`` of golive.toml as the service's variables; a folder for results is shared, so absolute."""
    (tmp_path / "golive.toml").write_text(
        'service = "vpr"\n[deploy]\ncommand = ["x"]\n[jobs]\nurl = "dynamodb://jobs"\ntransport = "sqs://queue"\n'
        'results = "file:results"\npatience = "5s"\napp = "main:jobs"\n'
    )
    environ: dict[str, Any] = children.service_environ(load_settings(tmp_path / "golive.toml", environ={}))
    wanted = {
        "GOLIVE_JOBS_URL": "dynamodb://jobs", "GOLIVE_JOBS_TRANSPORT": "sqs://queue", "GOLIVE_JOBS_APP": "main:jobs",
        "GOLIVE_JOBS_RESULTS": f"file:{tmp_path}/results",
    }  # fmt: skip
    assert {name: environ[name] for name in wanted} == wanted
    settings = JobsSettings.from_env(environ)
    assert settings.patience.total_seconds() == 5
