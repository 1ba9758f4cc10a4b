"""SQS as the doorbell, on the queues moto serves: the contract, and golive's own worker fed by it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest

from golive.errors import ConfigError
from golive.jobs import JobContext, JobError, Jobs, JobsSettings, State, delivered
from golive.jobs.model import JobId
from golive.jobs.reconciler import Reconciler
from golive.jobs.rung import Rung
from golive.jobs.transports.ports import DeliveringTransport, Transport
from golive.jobs.transports.sqs import SqsTransport
from golive.testing.jobs_running import finished, until, working
from golive.testing.jobs_transports import HOLD, QUEUES, DeliveringContract, handlers

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a worker that stops does not wait five seconds for its last poll."""
    monkeypatch.setattr(delivered, "WAIT_SECONDS", 1.0)


class Queues:
    """Queues of one test, each with a dead-letter queue."""

    def __init__(self, url: str, suffix: str = "") -> None:
        self.url, self.suffix = url, suffix
        self.client: Any = boto3.client("sqs", endpoint_url=url)
        self.run = uuid.uuid4().hex[:8]
        self.address = f"sqs://golive-{self.run}-{{queue}}{suffix}?endpoint={url}"

    def make(self, queue: str) -> str:
        options = {"FifoQueue": "true"} if self.suffix else {}
        dead = self.client.create_queue(QueueName=f"dead-{self.run}-{queue}{self.suffix}", Attributes=options)
        policy = {"deadLetterTargetArn": self.arn(dead["QueueUrl"]), "maxReceiveCount": 50}
        options = {**options, "RedrivePolicy": json.dumps(policy)}
        name = f"golive-{self.run}-{queue}{self.suffix}"
        return str(self.client.create_queue(QueueName=name, Attributes=options)["QueueUrl"])

    def arn(self, url: str) -> str:
        answer = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def url_of(self, name: str) -> str:
        return str(self.client.get_queue_url(QueueName=f"{name}{self.suffix}")["QueueUrl"])

    def purge(self) -> None:
        for queue in QUEUES:
            self.client.purge_queue(QueueUrl=self.url_of(f"golive-{self.run}-{queue}"))

    def move_back(self, queue: str) -> list[dict[str, Any]]:
        """What "start DLQ redrive" does, which moto does not have."""
        dead, alive = self.url_of(f"dead-{self.run}-{queue}"), self.url_of(f"golive-{self.run}-{queue}")
        found = self.client.receive_message(QueueUrl=dead, MaxNumberOfMessages=10).get("Messages", [])
        for each in found:
            group = {"MessageGroupId": "g", "MessageDeduplicationId": uuid.uuid4().hex} if self.suffix else {}
            self.client.send_message(QueueUrl=alive, MessageBody=each["Body"], **group)
            self.client.delete_message(QueueUrl=dead, ReceiptHandle=each["ReceiptHandle"])
        return [json.loads(each["Body"]) for each in found]


@pytest.fixture
def queues(aws_url: str) -> Queues:
    """Both queues of the contract."""
    made = Queues(aws_url)
    for queue in QUEUES:
        made.make(queue)
    return made


class TestSqsTransport(DeliveringContract):
    """Standard queues."""

    suffix = ""

    @pytest.fixture
    async def transport(self, aws_url: str) -> AsyncIterator[SqsTransport]:
        self.queues = Queues(aws_url, self.suffix)
        for queue in QUEUES:
            self.queues.make(queue)
        transport = SqsTransport(self.queues.address)
        await transport.open(handlers())
        yield transport
        await transport.close()

    async def purge(self, transport: Transport) -> None:
        self.queues.purge()

    async def buried(self, transport: DeliveringTransport) -> list[tuple[JobId, float]]:
        return [(each["job"], each["buried_at"]) for queue in QUEUES for each in self.queues.move_back(queue)]


class TestSqsFifoTransport(TestSqsTransport):
    """First in, first out."""

    suffix = ".fifo"

    async def test_the_jobs_of_a_tenant_come_in_order(self, transport: SqsTransport) -> None:
        """One after the other; another tenant's do not wait for them."""
        from golive.testing.jobs_transports import waiting

        ours, theirs = [waiting(tenant="acme") for _ in range(12)], waiting(tenant="umbrella")
        await transport.ring([*ours, theirs])
        seen: list[str] = []

        async def look() -> bool:
            found = await transport.receive(QUEUES, 2, 0.0, HOLD)
            seen.extend(each.job for each in found)
            await transport.done(found)
            return len(seen) == 13

        await until(look)
        assert [id_ for id_ in seen if id_ != theirs.id] == [job.id for job in ours]


def application(address: str, path: Any, **settings: Any) -> Jobs:
    """Handlers in both queues, on a SQLite store."""
    jobs = Jobs(JobsSettings(url=f"sqlite:///{path}/jobs.db", transport=address, lease=timedelta(seconds=3),
                             backoff_base=timedelta(seconds=1), patience=timedelta(seconds=1), **settings))  # fmt: skip
    runs: dict[str, int] = {}

    @jobs.handler("enrichment", queue="enrichment", timeout="20s")
    async def enrichment(how: str, ctx: JobContext) -> str:
        runs[ctx.id] = runs.get(ctx.id, 0) + 1
        if how == "once":
            if ctx.attempt == 1:
                raise JobError("busy", retryable=True)
        elif how == "dead" and runs[ctx.id] == 1:
            raise JobError("broken")
        return how

    @jobs.handler("ai_analysis", queue="ai_analysis")
    async def ai_analysis(number: int) -> int:
        return number

    return jobs


def messages(queues: Queues) -> int:
    """What SQS still holds for the workers."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    total = 0
    for queue in QUEUES:
        url = queues.url_of(f"golive-{queues.run}-{queue}")
        answer = queues.client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        total += sum(int(answer[name]) for name in names)
    return total


async def test_a_worker_is_fed_by_the_queues_and_leaves_nothing_behind(queues: Queues, tmp_path: Any) -> None:
    """Jobs of both queues end, a retry comes back after its backoff, and every message is deleted."""
    jobs = application(queues.address, tmp_path)
    async with working(jobs, concurrency=8):
        news = [await jobs.submit("ai_analysis", number) for number in range(15)]
        retried = await jobs.submit("enrichment", "once")
        done = [await finished(jobs, job) for job in [*news, retried]]
        assert {job.state for job in done} == {State.SUCCEEDED}
        assert done[-1].attempts == 2
        await until(_none_left(queues))


async def test_a_dead_job_is_buried_and_runs_again_when_it_is_moved_back(queues: Queues, tmp_path: Any) -> None:
    """The dead-letter queue names it; "start DLQ redrive" is a redrive of golive's."""
    jobs = application(queues.address, tmp_path)
    async with working(jobs):
        job = await finished(jobs, await jobs.submit("enrichment", "dead"))
        assert job.state is State.FAILED

        async def moved() -> list[dict[str, Any]]:
            return queues.move_back("enrichment")

        (body,) = await until(moved)
        assert (body["job"], body["buried_at"]) == (job.id, job.finished_at)

        async def again() -> bool:
            found = await jobs.get(job.id)
            return bool(found and found.state is State.SUCCEEDED)

        await until(again)
        await until(_none_left(queues))


async def test_a_purged_queue_loses_no_job(queues: Queues, tmp_path: Any) -> None:
    """What nobody will be told of any more is rung again."""
    jobs = application(queues.address, tmp_path)
    async with jobs:
        news = [await jobs.submit("ai_analysis", number) for number in range(5)]
        assert isinstance(jobs.store, Rung)
        await jobs.store.flush()
        queues.purge()
        async with working(jobs):
            assert {(await finished(jobs, job)).state for job in news} == {State.SUCCEEDED}


@pytest.mark.slow
async def test_what_waits_for_something_else_is_no_dead_letter(queues: Queues, tmp_path: Any) -> None:
    """A paused queue is not read; another version's job comes to it as a new message, counted from one."""
    jobs = application(queues.address, tmp_path, version="v1")
    async with working(jobs):
        await jobs.store.set_paused("enrichment", "maintenance")
        await asyncio.sleep(2 * delivered.ELSEWHERE_SECONDS + delivered.WAIT_SECONDS)  # a poll under way ends
        paused = await jobs.submit("enrichment", "quick")
        await jobs.split_claims("v2", 10_000)
        theirs = await jobs.submit("ai_analysis", 1)
        await asyncio.sleep(4 * delivered.ELSEWHERE_SECONDS)
        for job in (paused, theirs):
            found = await jobs.get(job.id)
            assert found is not None
            assert found.state is State.PENDING
    transport = SqsTransport(queues.address)
    seen: dict[str, int] = {}

    async def both() -> bool:
        for each in await transport.receive(QUEUES, 10, 1.0, HOLD):
            seen.setdefault(each.job, each.received)
        return len(seen) == 2

    await until(both)
    await transport.close()
    assert seen[paused.id] == 1
    assert seen[theirs.id] <= 2


async def test_a_queue_that_is_away_costs_no_submission(tmp_path: Any, queues: Queues) -> None:
    """The job is durable; the ring is lost, and made up for when the queue is there."""
    jobs = application(queues.address, tmp_path)
    async with jobs.opened():
        assert isinstance(jobs.store, Rung)
        queues.client.delete_queue(QueueUrl=queues.url_of(f"golive-{queues.run}-ai_analysis"))
        job = await jobs.submit("ai_analysis", 1)
        await jobs.store.flush()
        queues.make("ai_analysis")
        await jobs.store.close()
        await jobs.store.open()
        reconciler = Reconciler(jobs.store, jobs.handlers.values, 0.0)

        async def rung() -> int:
            return await reconciler.once()

        assert await until(rung) == 1
        delivered = await jobs.store.transport.receive(QUEUES, 1, 1.0, HOLD)  # type: ignore[attr-defined]
        assert [each.job for each in delivered] == [job.id]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sqs://", "expected sqs://name"),
        ("sqs://key:secret@name", "Credentials are read from the environment"),
        ("sqs://name?colour=red", "unknown option 'colour'"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address: str, said: str) -> None:
    """At once, by the name of the setting, without what may be a secret."""
    with pytest.raises(ConfigError, match=r"jobs\.transport: ") as caught:
        Jobs(JobsSettings(url="memory://", transport=address))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_queue_that_does_not_exist_stops_the_start(aws_url: str, tmp_path: Any) -> None:
    """By its name."""
    jobs = application(f"sqs://nowhere-{{queue}}?endpoint={aws_url}", tmp_path)
    with pytest.raises(ConfigError, match="expected an SQS queue 'nowhere-"):
        async with jobs:
            pass


def _none_left(queues: Queues) -> Callable[[], Any]:
    async def look() -> bool:
        return messages(queues) == 0

    return look
