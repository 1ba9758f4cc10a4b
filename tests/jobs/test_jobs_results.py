"""Large results: every place passes the one suite; what a row and a client then see."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from golive.errors import ConfigError, StateError
from golive.jobs import Jobs, JobsSettings, State
from golive.jobs.model import new_job_id
from golive.jobs.offloading import Offloading
from golive.jobs.results import results_for
from golive.jobs.results.file import FileResults
from golive.jobs.results.ports import name_of
from golive.jobs.results.s3 import S3Results
from golive.jobs.stores.memory import MemoryStore
from golive.testing.jobs import JobStoreContract, claim, new_job, settlement
from golive.testing.jobs_results import ResultStoreContract
from golive.testing.jobs_running import finished, working

LARGE = "x" * 5000


class TestFileResults(ResultStoreContract):
    """In a folder."""

    @pytest.fixture
    async def results(self, tmp_path: Path) -> AsyncIterator[FileResults]:
        results = FileResults(tmp_path / "results")
        await results.open()
        yield results
        await results.close()

    async def test_nobody_sees_a_part_and_others_cannot_read(self, results: FileResults, tmp_path: Path) -> None:
        """A write that fails leaves nothing; a result is the owner's alone."""
        name = name_of(new_job_id(), 1)
        await results.put(name, b"1")
        (path,) = (each for each in tmp_path.rglob("*") if each.is_file())
        assert path.stat().st_mode & 0o777 == 0o600
        path.unlink()
        path.mkdir()
        with pytest.raises(StateError, match="expected room for a result"):
            await results.put(name, b"2")
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.process
class TestS3Results(ResultStoreContract):
    """In S3, as moto serves it."""

    @pytest.fixture
    async def results(self, aws_url: str) -> AsyncIterator[S3Results]:
        results = S3Results(bucket(aws_url))
        await results.open()
        yield results
        await results.close()

    async def fetch(self, link: str) -> tuple[int, bytes]:
        async with httpx.AsyncClient() as client:
            answer = await client.get(link)
        return answer.status_code, answer.content

    async def test_a_link_says_how_long_it_is_good_for(self, results: S3Results) -> None:
        """Signed for one object and for that long."""
        link = httpx.URL(await results.link(name_of(new_job_id(), 1), 90) or "")
        assert link.params["X-Amz-Expires"] == "90"
        assert link.params["X-Amz-Signature"]


def bucket(url: str) -> str:
    """A bucket of its own, and a prefix in it."""
    name = f"golive-{uuid.uuid4().hex[:8]}"
    client: Any = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return f"s3://{name}/results?endpoint={url}"


class TestOffloading(JobStoreContract):
    """A store with its large results elsewhere is a store like any other."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Any]:
        import time

        self.ahead = 0.0
        store = Offloading(MemoryStore(lambda: time.time() + self.ahead), FileResults(tmp_path), 1000, 3600.0)
        await store.open()
        yield store
        await store.close()

    async def advance(self, store: Any, seconds: float) -> None:
        self.ahead += seconds

    async def test_a_zombies_result_is_kept_beside_and_pointed_to_by_nobody(self, store: Any) -> None:
        """The successor's is what the job has."""
        new = new_job()
        await store.submit([new])
        (zombie,) = await claim(store)
        await self.advance(store, 16)
        await store.rescue(10)
        (alive,) = await claim(store)
        assert await store.settle([settlement(alive, result=b'"%s"' % (b"a" * 2000))]) == [True]
        assert await store.settle([settlement(zombie, result=b'"%s"' % (b"z" * 2000))]) == [False]
        job = await store.get(new.id)
        pieces = await store.read(job, store.reference(job))
        assert b"".join([piece async for piece in pieces]) == b'"%s"' % (b"a" * 2000)

    async def test_a_result_that_looks_like_a_reference_is_a_result(self, store: Any) -> None:
        """A handler that hands back what a client sent cannot point anywhere."""
        new, forged = new_job(), b'{"golive_result":{"bytes":1,"fence":9,"expires_at":9e9}}'
        await store.submit([new])
        (held,) = await claim(store)
        await store.settle([settlement(held, result=forged)])
        job = await store.get(new.id)
        pieces = await store.read(job, store.reference(job))
        assert b"".join([piece async for piece in pieces]) == forged


def application(results: str, tmp_path: Path, **settings: Any) -> Jobs:
    """Results of any size, on SQLite."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    jobs = Jobs(JobsSettings(url=url, results=results, result_inline_bytes_max=1000, **settings))

    @jobs.handler("repeat")
    async def repeat(times: int) -> str:
        return "x" * times

    return jobs


def client(jobs: Jobs, tenant: str = "acme") -> httpx.AsyncClient:
    """Of one tenant."""
    app = jobs.asgi("repeat", prefix="/reports", tenant=lambda _: tenant)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_a_large_result_is_streamed_from_its_file_to_its_tenant_alone(tmp_path: Path) -> None:
    """The document has its size and its place; a small one stays in the document; another tenant gets 404."""
    jobs = application(f"file:{tmp_path}/results", tmp_path)
    async with working(jobs), client(jobs) as ours, client(jobs, "umbrella") as theirs:
        large, small = [(await ours.post("/reports/async", json=times)).json()["job_id"] for times in (5000, 3)]
        for id_ in (large, small):
            await finished(jobs, await jobs.get(id_))  # type: ignore[arg-type]
        document = (await ours.get(f"/reports/jobs/{large}")).json()
        assert (document["result_bytes"], document["result_url"]) == (5002, f"/reports/jobs/{large}/result")
        assert "result" not in document
        answer = await ours.get(document["result_url"])
        assert (answer.status_code, answer.json(), answer.headers["content-length"]) == (200, LARGE, "5002")
        assert (await ours.get(f"/reports/jobs/{small}")).json()["result"] == "xxx"
        assert (await ours.get(f"/reports/jobs/{small}/result")).json() == "xxx"
        for id_ in (large, small, str(new_job_id()), "..%2f..%2fetc"):
            assert (await theirs.get(f"/reports/jobs/{id_}/result")).status_code == 404
        found = await jobs.get(large)
        assert found is not None
        assert await jobs.result(found) == f'"{LARGE}"'.encode()
        waited = await ours.post("/reports", json=5000, headers={"prefer": "respond-async, wait=20"})
        assert waited.status_code == 303
        assert (await ours.get(waited.headers["location"])).json() == LARGE
        sync = await ours.post("/reports", json=5000)
        assert (sync.status_code, sync.json()) == (200, LARGE)
        for path in (tmp_path / "results").rglob("*.json"):
            os.unlink(path)
        assert (await ours.get(f"/reports/jobs/{large}/result")).json()["code"] == "result_expired"


@pytest.mark.process
async def test_a_large_result_in_s3_is_answered_with_a_signed_link(aws_url: str, tmp_path: Path) -> None:
    """303 to where the client fetches it; another tenant gets no link."""
    jobs = application(bucket(aws_url), tmp_path)
    async with working(jobs), client(jobs) as ours, client(jobs, "umbrella") as theirs:
        job = await finished(jobs, await jobs.submit("repeat", 5000, tenant="acme"))
        answer = await ours.get(f"/reports/jobs/{job.id}/result")
        assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store")
        async with httpx.AsyncClient() as anybody:
            assert (await anybody.get(answer.headers["location"])).json() == LARGE
        assert (await theirs.get(f"/reports/jobs/{job.id}/result")).status_code == 404


async def test_a_result_asked_for_too_early_or_of_a_failed_job_says_why(tmp_path: Path) -> None:
    """202 and when to come back; the job's own error; 410 once it is cancelled."""
    jobs = application(f"file:{tmp_path}/results", tmp_path, result_bytes_max=2000)
    async with jobs, client(jobs) as ours:
        job = await jobs.submit("repeat", 1, tenant="acme")
        early = await ours.get(f"/reports/jobs/{job.id}/result")
        assert (early.status_code, early.json()["status"], early.headers["retry-after"]) == (202, "pending", "1")
        await jobs.cancel(job.id)
        late = await ours.get(f"/reports/jobs/{job.id}/result")
        assert (late.status_code, late.json()["code"]) == (410, "job_cancelled")
        async with working(jobs):
            failed = await finished(jobs, await jobs.submit("repeat", 5000, tenant="acme"))
        assert failed.state is State.FAILED
        said = await ours.get(f"/reports/jobs/{failed.id}/result")
        assert (said.status_code, said.json()["code"]) == (500, "result_too_large")


async def test_a_result_past_its_time_is_gone(tmp_path: Path) -> None:
    """Even if nobody has swept yet."""
    from datetime import timedelta

    jobs = application(f"file:{tmp_path}/results", tmp_path, results_keep=timedelta(0))
    async with working(jobs), client(jobs) as ours:
        job = await finished(jobs, await jobs.submit("repeat", 5000, tenant="acme"))
        gone = await ours.get(f"/reports/jobs/{job.id}/result")
        assert (gone.status_code, gone.json()["code"]) == (410, "result_expired")
        assert await jobs.result(job) is None


def test_how_long_a_result_may_be_follows_from_where_it_is_kept() -> None:
    """64 MiB outside the rows, what DynamoDB's items hold inside them; what somebody set is kept to."""
    limits = {
        ("memory://", "inline"): 1024 * 1024, ("memory://", "file:somewhere"): 64 * 1024 * 1024,
        ("dynamodb://jobs", "inline"): 100 * 1024, ("dynamodb://jobs", "s3://bucket"): 64 * 1024 * 1024,
    }  # fmt: skip
    found = {key: Jobs(JobsSettings(url=key[0], results=key[1])).settings.result_bytes_max for key in limits}
    assert found == limits
    assert Jobs(JobsSettings(results="file:x", result_bytes_max=5)).settings.result_bytes_max == 5


@pytest.mark.parametrize("address", ["", "file:", "file:///", "s3:bucket", "ftp://host", "S3://bucket"])
def test_an_address_nobody_understands_is_refused(address: str) -> None:
    """With the name of the setting and what it may be."""
    with pytest.raises(ConfigError, match=r"jobs\.results: expected"):
        results_for(address)


async def test_a_place_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """Before the first job has run for nothing."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"jobs\.results: expected a folder to write to"):
        await FileResults(tmp_path / "file" / "results").open()


@pytest.mark.process
async def test_a_bucket_that_is_not_there_stops_the_start(aws_url: str) -> None:
    """By its name."""
    with pytest.raises(ConfigError, match=r"jobs\.results: expected a bucket 'nowhere' this service may use, got: 404"):
        await S3Results(f"s3://nowhere?endpoint={aws_url}").open()
