"""DynamoDB, as moto serves it: the suites every store passes, and what is particular to the table."""

from __future__ import annotations

import io
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from golive.errors import ConfigError, GoliveError, UnavailableError, UsageError
from golive.jobs import Job, Jobs, JobsSettings
from golive.jobs.machine import State
from golive.jobs.model import BEAT_KEPT_SECONDS
from golive.jobs.ports import JobStore
from golive.jobs.stores import store_for
from golive.jobs.stores.dynamodb import DynamoStore
from golive.jobs.stores.dynamodb_items import Item, table_of, value
from golive.testing.jobs import JobStoreContract, claim, new_job
from golive.testing.jobs_named import NamedJobsContract
from golive.testing.jobs_running import until, working
from golive.testing.jobs_split import SplitContract
from golive.testing.jobs_upkeep import UpkeepContract, beat

pytestmark = pytest.mark.process


class _Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def address(url: str, table: str = "", options: str = "create=true") -> str:
    """A table of its own for each test."""
    return f"dynamodb://{table or f'jobs-{uuid.uuid4().hex[:8]}'}?endpoint={url}&{options}"


class Body(io.BytesIO):
    """As botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


class TestDynamoStore(JobStoreContract, SplitContract, NamedJobsContract, UpkeepContract):
    """In DynamoDB. Limits over all workers it has not, and says so."""

    jobs_many = 50  # moto needs 14 ms for a write

    @pytest.fixture
    async def store(self, aws_url: str) -> AsyncIterator[DynamoStore]:
        self.clock = _Clock()
        self.address = address(aws_url)
        store = DynamoStore(self.address, clock=self.clock)
        await store.open()
        yield store
        await store.close()

    async def advance(self, store: JobStore, seconds: float) -> None:
        self.clock.ahead += seconds

    async def another(self, store: JobStore) -> JobStore:
        other = DynamoStore(self.address, clock=self.clock)
        await other.open()
        return other

    async def test_a_beat_is_one_write(self, store: DynamoStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whom to forget is looked for by a worker's first beat, and once an hour; until then they are not shown."""
        looks: list[None] = []
        look = store._beats

        async def counted() -> list[Item]:
            looks.append(None)
            return await look()

        await store.beat(beat("killed"))
        monkeypatch.setattr(store, "_beats", counted)
        for _ in range(5):
            await store.beat(beat("alive"))
        assert not looks
        self.clock.ahead += BEAT_KEPT_SECONDS + 1
        assert await store.workers() == []
        looks.clear()
        for _ in range(5):
            await store.beat(beat("alive"))
        assert len(looks) == 1
        assert await store._table.get({"pk": value("worker#killed")}) is None
        assert [each.name for each in await store.workers()] == ["alive"]

    async def test_priorities_are_few(self, store: DynamoStore) -> None:
        """Each costs a claim a query; the bound is told, and nothing is stored."""
        for priority in range(16):
            await store.submit([new_job(priority=priority)])
        with pytest.raises(UsageError, match="at most 16 different priorities of 'report', got one more: 99"):
            await store.submit([new_job(priority=99)])
        assert await store.depth() == {("default", State.PENDING): 16}

    async def test_another_process_claims_what_this_one_was_first_to_submit(self, store: DynamoStore) -> None:
        """A queue, a kind and a priority nobody has heard of before."""
        other = await self.another(store)
        assert await claim(other, kind="fresh") == []
        new = new_job(kind="fresh", priority=-7)
        await store.submit([new])
        assert [each.id for each in await claim(other, kind="fresh")] == [new.id]
        await other.close()


async def test_jobs_run_and_throttling_loses_none_and_doubles_none(
    aws_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three in ten calls are turned down, as a table does that has no capacity left: every job ends once."""
    # boto waits up to 16 s before it asks again; how often it asks is the subject, not how long it waits
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    dice = random.Random(7)
    throttled = [0]

    def before_send(request: object, **_: object) -> AWSResponse | None:
        if dice.random() >= 0.3:
            return None
        throttled[0] += 1
        body = b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow"}'
        return AWSResponse("", 400, {"content-type": "application/x-amz-json-1.0"}, Body(body))

    jobs = Jobs(JobsSettings(url=address(aws_url), concurrency=8))
    runs: list[int] = []

    @jobs.handler("count")
    async def count(number: int) -> int:
        runs.append(number)
        return number

    async with jobs.opened():
        store = jobs.store
        assert isinstance(store, DynamoStore)
        store._table._client._made().meta.events.register("before-send.dynamodb.*", before_send)
        async with working(jobs):
            news = []
            for number in range(12):
                news.append(await until(lambda number=number: _submitted(jobs, number)))
            ended = [await until(lambda job=job: _ended(jobs, job), 60) for job in news]
    assert throttled[0] > 10
    assert [job.result for job in ended] == [str(number).encode() for number in range(12)]
    assert sorted(runs) == list(range(12))


async def _submitted(jobs: Jobs, number: int) -> object:
    """A client that asks again with the same key."""
    try:
        return await jobs.submit("count", number, idempotency_key=str(number))
    except GoliveError:
        return None


async def _ended(jobs: Jobs, job: Job) -> Job | None:
    """A client that polls again: six refusals in a row are an error that it may see."""
    try:
        found = await jobs.get(job.id)
    except UnavailableError:
        return None
    return found if found and found.state.terminal else None


async def test_a_table_that_is_missing_or_another_stops_the_start(aws_url: str) -> None:
    """By its name; nothing is made unless it was asked for."""
    store = store_for(address(aws_url, "nowhere", ""), "block_jobs")
    with pytest.raises(ConfigError, match="expected a DynamoDB table 'nowhere', got none of that name"):
        await store.open()
    await store.close()
    other = {**table_of("other"), "TableName": "other"}
    other["GlobalSecondaryIndexes"] = other["GlobalSecondaryIndexes"][:1]
    other["AttributeDefinitions"] = other["AttributeDefinitions"][:3]
    boto3.client("dynamodb", endpoint_url=aws_url).create_table(**other)
    store = store_for(address(aws_url, "other", ""), "block_jobs")
    with pytest.raises(ConfigError, match="got another table"):
        await store.open()
    await store.close()


async def test_the_first_process_fixes_the_shards(aws_url: str) -> None:
    """A second one with another number would look for jobs where there are none."""
    table = f"jobs-{uuid.uuid4().hex[:8]}"
    first = DynamoStore(address(aws_url, table, "create=true&shards=3"))
    second = DynamoStore(address(aws_url, table, "shards=1"))
    await first.open()
    await second.open()
    news = [new_job() for _ in range(12)]
    await first.submit(news)
    assert {each.id for each in await claim(second, 12)} == {new.id for new in news}
    await first.close()
    await second.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("dynamodb://", "expected dynamodb://name"),
        ("dynamodb://table?shards=0", "shards: expected a whole number from 1 to 64, got '0'"),
        ("dynamodb://table?shard=2", "unknown option 'shard'"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str, said: str) -> None:
    """At once, with the name of the setting."""
    with pytest.raises(ConfigError, match=r"jobs\.url: ") as caught:
        store_for(url, "block_jobs")
    assert said in str(caught.value)
