"""
Amazon SQS as the doorbell: one message per job, hidden by a heartbeat while the job runs, deleted when it has ended.

    transport = "sqs://careervp-vpr-jobs-queue-prod"            all queues of the application share one
    transport = "sqs://careervp-{queue}-prod?region=eu-west-1"  one each
    transport = "sqs://careervp-{queue}-prod.fifo"              first in, first out, per tenant

The queues, their redrive policy and their dead-letter queues are made by whoever owns the infrastructure. A retry lets
the message come back after the backoff; a dead job's message goes to the queue's dead-letter queue, with its time of
death, and moving it back ("start DLQ redrive") runs the job again.

How it fails: SQS keeps no list of what it holds, so :meth:`lost` goes by its counters, which are approximate: in doubt
the jobs are rung once more when the queue has run dry. Messages of jobs that need none any more are deleted unread.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from golive.errors import ConfigError
from golive.jobs import log
from golive.jobs.aws import AwsClient, AwsError, parse
from golive.jobs.handlers import Handler
from golive.jobs.model import JobId, Waiting, is_job_id
from golive.jobs.transports.ports import Delivery, TransportCapability

#: SQS's own limits.
BATCH_MAX = 10
DELAY_SECONDS_MAX = 900
HOLD_SECONDS_MAX = 43_200
WAIT_SECONDS_MAX = 20

_MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body: what a worker of any version understands."""

    job: str
    kind: str
    queue: str
    buried_at: float | None = None


decode_message = msgspec.json.Decoder(Message).decode


class SqsTransport:
    """See :class:`golive.jobs.transports.ports.DeliveringTransport`."""

    capabilities = frozenset({TransportCapability.DELIVERS, TransportCapability.DELAYS, TransportCapability.BURIES})

    def __init__(self, address: str) -> None:
        parsed = parse(address, "jobs.transport")
        self._name = parsed.name
        self._fifo = self._name.endswith(".fifo")
        if self._fifo:  # it delays all of its messages or none
            self.capabilities = self.capabilities - {TransportCapability.DELAYS}
        self._client = AwsClient("sqs", parsed)
        self._urls: dict[str, str] = {}
        self._graves: dict[str, str | None] = {}

    async def open(self, handlers: Collection[Handler]) -> None:
        """See the port."""
        for queue in {handler.queue for handler in handlers}:
            await self._url(queue)

    async def close(self) -> None:
        """See the port."""
        self._client.close()

    async def ring(self, jobs: Sequence[Waiting]) -> None:
        """See the port."""
        due, now = defaultdict[str, list[dict[str, Any]]](list), time.time()
        for job in jobs:
            delay = max(0, round(job.run_at - now))
            if delay > (0 if self._fifo else DELAY_SECONDS_MAX):
                continue
            message = Message(job.id, job.kind, job.queue)
            due[job.queue].append(self._entry(message, job.tenant, delay))
        urls = [await self._url(queue) for queue in due]
        await asyncio.gather(*(self._send(url, entries) for url, entries in zip(urls, due.values(), strict=True)))

    async def lost(self, jobs: Sequence[Waiting]) -> list[Waiting]:
        """See the port."""
        by_queue = defaultdict[str, list[Waiting]](list)
        for job in jobs:
            by_queue[await self._url(job.queue)].append(job)
        counts = await asyncio.gather(*[self._count(url) for url in by_queue])
        held = dict(zip(by_queue, counts, strict=True))
        return [job for url, waiting in by_queue.items() if held[url] < len(waiting) for job in waiting]

    async def receive(
        self, queues: Collection[str], limit: int, wait_seconds: float, hold_seconds: float
    ) -> list[Delivery]:
        """See the port. Several queues are asked at the same time; what does not fit comes again at once."""
        urls = {await self._url(queue) for queue in queues}
        receiving = [self._receive(url, min(limit, BATCH_MAX), wait_seconds, hold_seconds) for url in urls]
        found = [each for batch in await asyncio.gather(*receiving) for each in batch]
        await self.again(found[limit:], 0.0)
        return found[:limit]

    async def hold(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        """See the port."""
        visible = min(HOLD_SECONDS_MAX, max(0, round(seconds)))
        await self._each(deliveries, "change_message_visibility_batch", VisibilityTimeout=visible)

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """See the port."""
        await self._each(deliveries, "delete_message_batch")

    async def again(self, deliveries: Sequence[Delivery], delay_seconds: float) -> None:
        """See the port."""
        await self.hold(deliveries, delay_seconds)

    async def bury(self, deliveries: Sequence[Delivery], died_at: Sequence[float]) -> None:
        """See the port."""
        graves = defaultdict[str, list[dict[str, Any]]](list)
        for each, died in zip(deliveries, died_at, strict=True):
            if grave := await self._grave(each.queue):
                graves[grave].append(self._entry(Message(each.job, each.kind, each.queue, died), "", 0))
        await asyncio.gather(*(self._send(url, entries) for url, entries in graves.items()))
        await self.done(deliveries)

    def delivery(self, receipt: str, body: str, received: int) -> Delivery | None:
        """The message as a delivery; None if it is none of ours."""
        try:
            message = decode_message(body.encode())
        except (msgspec.MsgspecError, UnicodeEncodeError):
            return None
        if not is_job_id(message.job):
            return None
        return Delivery(JobId(message.job), message.kind, message.queue, receipt, message.buried_at, received)

    def _entry(self, message: Message, tenant: str, delay_seconds: int) -> dict[str, Any]:
        entry: dict[str, Any] = {"MessageBody": msgspec.json.encode(message).decode()}
        if self._fifo:  # another ring of the same job is no duplicate to SQS: the first one may be lost
            group = tenant.encode().hex()[:128] or message.job
            return entry | {"MessageGroupId": group, "MessageDeduplicationId": f"{message.job}-{time.time_ns()}"}
        return entry | ({"DelaySeconds": delay_seconds} if delay_seconds else {})

    async def _send(self, url: str, entries: Sequence[dict[str, Any]]) -> None:
        batches = _batches(entries)
        if self._fifo:  # in their order
            answers = [await self._client.call("send_message_batch", QueueUrl=url, Entries=each) for each in batches]
        else:
            calls = (self._client.call("send_message_batch", QueueUrl=url, Entries=each) for each in batches)
            answers = list(await asyncio.gather(*calls))
        failed = [entry for answer in answers for entry in answer.get("Failed", ())]
        if failed:
            log.event("jobs.rings_lost", level=log.WARNING, lost=len(failed), reason=str(failed[0].get("Message")))

    async def _receive(self, url: str, limit: int, wait_seconds: float, hold_seconds: float) -> list[Delivery]:
        answer = await self._client.call(
            "receive_message", QueueUrl=url, MaxNumberOfMessages=limit,
            WaitTimeSeconds=min(WAIT_SECONDS_MAX, max(0, round(wait_seconds))),
            VisibilityTimeout=min(HOLD_SECONDS_MAX, max(1, round(hold_seconds))),
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )  # fmt: skip
        found = []
        for each in answer.get("Messages", ()):
            count = int(each.get("Attributes", {}).get("ApproximateReceiveCount", 1))
            delivery = self.delivery(f"{url}\n{each['ReceiptHandle']}", each["Body"], count)
            if delivery:
                found.append(delivery)
            else:  # somebody else's: left alone, it comes back and goes to the dead-letter queue by the redrive policy
                log.event("jobs.message_foreign", level=log.WARNING, queue=url, message_id=each["MessageId"])
        return found

    async def _each(self, deliveries: Iterable[Delivery], method: str, **more: int) -> None:
        by_url = defaultdict[str, list[dict[str, Any]]](list)
        for each in deliveries:
            url, _, handle = each.receipt.partition("\n")
            by_url[url].append({"ReceiptHandle": handle, **more})
        calls: list[Awaitable[Any]] = [
            self._client.call(method, QueueUrl=url, Entries=batch)
            for url, entries in by_url.items()
            for batch in _batches(entries)
        ]
        await asyncio.gather(*calls)  # an entry SQS refuses is held by nobody any more: the store decides

    async def _count(self, url: str) -> int:
        names = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        answer = await self._client.call("get_queue_attributes", QueueUrl=url, AttributeNames=list(names))
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)

    async def url_of_arn(self, arn: str) -> str:
        """Where messages of the queue *arn* are answered; asked for once."""
        if arn not in self._urls:
            owner, name = arn.split(":")[-2:]
            named = {"QueueName": name, "QueueOwnerAWSAccountId": owner}
            self._urls[arn] = (await self._client.call("get_queue_url", **named))["QueueUrl"]
        return self._urls[arn]

    async def _url(self, queue: str) -> str:
        if queue not in self._urls:
            name = self._name.replace("{queue}", queue)
            try:
                self._urls[queue] = (await self._client.call("get_queue_url", QueueName=name))["QueueUrl"]
            except AwsError as error:
                if error.code not in _MISSING:
                    raise
                raise ConfigError(
                    f"jobs.transport: expected an SQS queue {name!r}, got none of that name. Make it, or name another."
                ) from error
        return self._urls[queue]

    async def _grave(self, queue: str) -> str | None:
        url = await self._url(queue)
        if url not in self._graves:
            answer = await self._client.call("get_queue_attributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])
            policy = msgspec.json.decode(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
            arn = str(policy.get("deadLetterTargetArn", ""))
            self._graves[url] = None
            if arn:
                self._graves[url] = await self.url_of_arn(arn)
        return self._graves[url]


def _batches(entries: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Of ten, each entry numbered within its batch."""
    chunks = [entries[at : at + BATCH_MAX] for at in range(0, len(entries), BATCH_MAX)]
    return [[entry | {"Id": str(number)} for number, entry in enumerate(chunk)] for chunk in chunks]
