"""
Webhooks: when a job with one has ended, its end is told to a URL, as a job of its own.

    job ends --> announcer (in a worker) --> job "golive.webhook" --> POST, signed --> 2xx

However the job ended (a result, an error, a cancellation, a lost worker), the store knows that it was not announced.
The announcer submits the delivery with a key made of the job and its end, and then says so: if it dies in between, the
next one makes the same job. A delivery is retried like any job, for hours, and is a dead letter after that, which
``golive jobs redrive`` puts back.

The body and its headers follow Standard Webhooks, so that receivers can use its libraries: ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature``, an HMAC-SHA256 over the three of them. Where a webhook may go is in
:mod:`golive.jobs.destinations`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from golive.errors import ConfigError, GoliveError
from golive.jobs import log
from golive.jobs.context import JobContext
from golive.jobs.destinations import Destination, RefusedDestinationError, Resolve, destination, pin
from golive.jobs.document import document
from golive.jobs.errors import JobError
from golive.jobs.model import Job, JobId, NewJob, new_job_id
from golive.jobs.offloading import Offloading
from golive.jobs.ports import JobStore
from golive.timing import format_instant

if TYPE_CHECKING:
    from golive.jobs.declarations import Declarations

#: The handler and the queue of deliveries.
NAME, QUEUE = "golive.webhook", "golive.webhooks"
#: About a day of attempts, with the pauses between 10 s and 2 h.
ATTEMPTS_MAX, BACKOFF_BASE, BACKOFF_MAX = 20, "10s", "2h"
TIMEOUT_SECONDS = 10.0
#: How often the ends of jobs are looked for, and how many at once.
LOOK_SECONDS = 0.5
BATCH_MAX = 100
#: What is read of an answer; only its status counts.
ANSWER_BYTES_MAX = 16 * 1024
SECRET_BYTES_MIN = 24


class Delivery(msgspec.Struct, frozen=True):
    """The payload of a delivery: which job's end goes where."""

    job: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Webhooks:
    """
    How an application's webhooks are signed and where they may go. See :meth:`golive.jobs.Jobs.webhooks`.

    Raises: ConfigError naming what is out of range.
    """

    secret: str = field(repr=False)
    allow: Collection[str] = ()
    trust: Collection[str] = ()
    resolve: Resolve | None = None

    def __post_init__(self) -> None:
        _key(self.secret)

    def destination(self, url: str) -> Destination:
        """See :func:`golive.jobs.destinations.destination`."""
        return destination(url, self.allow, self.trust)

    def sign(self, id_: str, timestamp: int, body: bytes) -> str:
        """The ``webhook-signature`` of *body*."""
        return sign(self.secret, id_, timestamp, body)


def sign(secret: str, id_: str, timestamp: int, body: bytes) -> str:
    """
    ``v1,`` and the base64 of HMAC-SHA256 over ``{id}.{timestamp}.{body}``.

    Source: Standard Webhooks 1.0, "Signature scheme".
    Raises: ConfigError for a secret that is none.
    """
    signed = f"{id_}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def event_of(job: Job, document: bytes) -> bytes:
    """What is sent of *job*: its end as the event's type, and its *document* as every interface shows it."""
    at = format_instant(datetime.fromtimestamp(job.finished_at or job.created_at, UTC))
    return msgspec.json.encode({"type": f"job.{job.state}", "timestamp": at, "data": msgspec.Raw(document)})


class Announcer:
    """Turns the ends of jobs with a webhook into deliveries."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                more = await self.once()
            except GoliveError as error:
                log.event("webhooks.store_unavailable", level=log.WARNING, reason=str(error))
                more = False
            if not more:
                await asyncio.sleep(LOOK_SECONDS)

    async def once(self) -> bool:
        """True if there may be more."""
        ended = await self._store.unannounced(BATCH_MAX)
        if ended:
            await self._store.submit([self._delivery(job) for job in ended])
            await self._store.announced(ended)
        return len(ended) == BATCH_MAX

    @staticmethod
    def _delivery(job: Job) -> NewJob:
        assert job.webhook is not None, "only jobs with one are unannounced"
        return NewJob(
            new_job_id(), NAME, msgspec.json.encode(Delivery(job.id, job.webhook)), QUEUE, job.tenant, ATTEMPTS_MAX,
            idempotency_key=f"{job.id}:{job.finished_at!r}",
        )  # fmt: skip


def delivering(jobs: Declarations) -> Callable[[Delivery, JobContext], Awaitable[dict[str, int]]]:
    """The handler of :data:`NAME` for *jobs*."""

    async def webhook(payload: Delivery, ctx: JobContext) -> dict[str, int]:
        store: JobStore = jobs.store  # type: ignore[attr-defined]
        place: Offloading | None = jobs.offloading  # type: ignore[attr-defined]
        job = await store.get(JobId(payload.job))
        if job is None:
            raise JobError("job_unknown", "the job was removed before its end could be told", status=404)
        assert jobs.hooks is not None, "they were declared"
        body = event_of(job, document(job, place.reference(job) if place else None))
        return {"status": await asyncio.to_thread(deliver, jobs.hooks, payload.url, ctx.id, body)}

    return webhook


def deliver(webhooks: Webhooks, url: str, id_: str, body: bytes, clock: Callable[[], float] = time.time) -> int:
    """
    POST *body* to *url*, signed now; returns the status. Blocks; at most some :data:`TIMEOUT_SECONDS` per step.

    Raises: JobError saying whether it is worth another attempt.
    """
    try:
        where = webhooks.destination(url)
        address = pin(where, webhooks.resolve)
        status = _post(where, address, _headers(webhooks, id_, int(clock()), body), body)
    except RefusedDestinationError as error:
        raise JobError("webhook_refused", str(error), status=400) from error
    except (OSError, http.client.HTTPException) as error:
        reason = f"the receiver did not answer: {type(error).__name__}: {error}"[:300]
        raise JobError("webhook_unreachable", reason, status=502, retryable=True) from error
    if status == 410:
        raise JobError("webhook_gone", "the receiver wants no more of this (410)", status=410)
    if not 200 <= status < 300:
        raise JobError("webhook_not_taken", f"the receiver answered {status}", status=502, retryable=True)
    return status


def _headers(webhooks: Webhooks, id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "user-agent": "golive-webhook",
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": webhooks.sign(id_, timestamp, body),
    }


def _post(where: Destination, address: str, headers: dict[str, str], body: bytes) -> int:
    connection = _Pinned(where, address)
    try:
        connection.request("POST", where.target, body, headers)
        answer = connection.getresponse()
        answer.read(ANSWER_BYTES_MAX)
        return answer.status
    finally:
        connection.close()


class _Pinned(http.client.HTTPConnection):
    """Connects to *address* whatever the name resolves to now; TLS is checked against the name."""

    def __init__(self, where: Destination, address: str) -> None:
        super().__init__(where.host, where.port, timeout=TIMEOUT_SECONDS)
        self.default_port = 443 if where.scheme == "https" else 80  # so that Host: names the port only if it must
        self._where, self._address = where, address

    def connect(self) -> None:
        name, self.host = self.host, self._address
        try:
            super().connect()
        finally:
            self.host = name
        if self._where.scheme == "https":
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self._where.host)


def _key(secret: str) -> bytes:
    """Standard Webhooks secrets are ``whsec_`` and base64; any other text of sufficient length is taken as it is."""
    try:
        key = base64.b64decode(secret[6:], validate=True) if secret.startswith("whsec_") else secret.encode()
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < SECRET_BYTES_MIN:
        raise ConfigError(f"webhooks: secret: expected at least {SECRET_BYTES_MIN} bytes, got {len(key)}.")
    return key
