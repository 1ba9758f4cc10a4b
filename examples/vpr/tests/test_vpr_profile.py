"""The reference service of the gradual deployment: GO under its checklist, NO-GO for what on it is not so."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from golive.testing.serving import judged, serving

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """moto, with everything resources.py makes."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    subprocess.run([sys.executable, "infra/resources.py", "prod", f"http://{host}:{port}"], cwd=ROOT, check=True)
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("vpr")
    environ = {"GOLIVE_JOBS_URL": f"sqlite:///{folder}/jobs.db", "ENABLE_BACKGROUND_WORKER": "true"}
    with serving("vpr.app:app", ROOT, folder / "serve.log", environ) as url:
        yield url


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, its own tests run."""
    tree = tmp_path_factory.mktemp("project") / "vpr"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("__pycache__", ".golive"))
    tests = [sys.executable, "-m", "pytest", "-q", "tests/test_vpr_report.py", "--junitxml", "reports/junit.xml"]
    subprocess.run([*tests, "-p", "no:cacheprovider"], cwd=tree, check=True, capture_output=True)
    return tree


async def red(tree: Path, url: str, aws: str) -> dict[str, str]:
    report = await judged("vpr", tree, url, {"AWS_ENDPOINT_URL": aws})
    return {result.gate: result.outcome.sentence for result in report.results if not result.good}


async def test_the_service_is_go_under_its_checklist(tree: Path, url: str, aws: str) -> None:
    """Tests, papers, resources in AWS, both contracts, a hundred people at once."""
    assert await red(tree, url, aws) == {}


PLANTED = [
    ("vpr/moreThings.py", "", "X = 1\n"),  # naming
    ("reports/junit.xml", "</testsuite>", '<testcase name="z"><skipped/></testcase></testsuite>'),  # test-results
    ("RUNBOOK.md", "## Rollback plan", "## Roll forward"),  # documents
    ("infra/changes.json", '"Action": "Add", "LogicalResourceId": "VprJobsTable"',
     '"Action": "Modify", "LogicalResourceId": "LiveApiTable"'),  # infra-diff
    ("tests/recorded.json", '"metRatio": 1.0', '"metRatio": "1.0"'),  # contract: what clients were promised
    ("golive.toml", "result = { matches", "result = { found"),  # flow
]  # fmt: skip


async def test_what_the_checklist_asks_and_is_not_so_is_no_go(tree: Path, tmp_path: Path, url: str, aws: str) -> None:
    """All at once, each told by its own gate; and a queue that forgets is found in AWS itself."""
    copy = tmp_path / "vpr"
    shutil.copytree(tree, copy)
    for file, old, new in PLANTED:
        path = copy / file
        text = path.read_text() if path.exists() else ""
        assert old in text, f"{file} has no {old!r} to plant a defect in"
        path.write_text(text.replace(old, new) if old else new)
    (copy / "golive.toml").write_text((copy / "golive.toml").read_text().replace('until   = "60s"', 'until   = "1s"'))
    sqs = boto3.client("sqs", region_name="us-east-1", endpoint_url=aws)
    queue = sqs.get_queue_url(QueueName="vpr-jobs-queue-prod")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "30"})
    found = await red(copy, url, aws)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "540"})
    assert set(found) == {
        "naming", "test-results", "documents", "infra-diff", "infrastructure", "contract", "flow"
    }, found  # fmt: skip
