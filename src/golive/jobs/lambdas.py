"""
AWS Lambda functions over the same core: the routes behind API Gateway, a worker fed by SQS, and the reconciler.

    handlers = LambdaHandlers(jobs, "vpr", prefix="/api/vpr")
    submit, status, worker, reconcile = handlers.submit, handlers.status, handlers.worker, handlers.reconcile

``submit`` and ``status`` take events of API Gateway REST (1.0) and HTTP APIs (2.0) and are the ordinary routes: same
validation, idempotency, problems and tenants. ``worker`` takes an event of SQS and answers with the messages that must
come again (``ReportBatchItemFailures`` has to be on). ``reconcile`` belongs on a schedule, once a minute.

A submission always answers 202: a function that waited would be paid for twice. Job progress as server-sent events is
left out, because a function's answer is not a stream.

How it fails: a worker that is killed leaves its messages to SQS and its leases to ``reconcile``; one whose time is
nearly up hands its jobs back first. What the store does not answer makes messages come again.
"""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

import msgspec

from golive.errors import ConfigError, GoliveError
from golive.jobs import log
from golive.jobs.app import Jobs
from golive.jobs.delivered import Delivered
from golive.jobs.http import Endpoints, Scope, application
from golive.jobs.machine import Event, State
from golive.jobs.model import JobId
from golive.jobs.named import End, run_named
from golive.jobs.reconciler import Reconciler
from golive.jobs.rung import Rung
from golive.jobs.transports.ports import Delivery
from golive.jobs.transports.sqs import SqsTransport

T = TypeVar("T")
Json = Mapping[str, Any]

#: Before Lambda ends the function, running jobs are stopped and handed back within this.
LAST_SECONDS = 5.0
DRAIN = timedelta(seconds=2)
#: What Lambda takes as an answer; larger results belong into S3.
ANSWER_BYTES_MAX = 5 * 1024 * 1024

_STATUS_METHODS = ("GET", "DELETE")


def claimed_tenant(event: Json) -> str:
    """The default: ``tenant`` among what the API's authorizer says of the caller, or no tenant."""
    said = event.get("requestContext", {}).get("authorizer") or {}
    claims = said.get("jwt", {}).get("claims") or said.get("claims") or said.get("lambda") or said
    return str(claims.get("tenant") or claims.get("custom:tenant") or "")


class LambdaHandlers:
    """
    The functions of one handler. The store is opened with the first event and stays open for the next.

    Args:
        prefix, body_style, headers: as in :meth:`golive.jobs.Jobs.router`.
        tenant: whose request an event is.
    """

    def __init__(
        self, jobs: Jobs, name: str, *, prefix: str, body_style: Literal["snake", "camel"] = "camel",
        headers: Mapping[str, str] | None = None, tenant: Callable[[Json], str] = claimed_tenant,
    ) -> None:  # fmt: skip
        if name not in jobs.handlers:
            raise ConfigError(f"LambdaHandlers: expected a registered handler, got {name!r}.")
        self._jobs = jobs
        self._prefix = prefix
        self._tenant = tenant
        self._app = application(Endpoints(jobs, jobs.handlers[name], prefix, body_style, headers))
        self._open = jobs.opened()
        self._runner: asyncio.Runner | None = None

    def submit(self, event: Json, context: object) -> dict[str, Any]:
        """``POST {prefix}`` or ``POST {prefix}/async``."""
        if _method(event) != "POST":
            return _problem(405, "method_not_allowed", "expected POST")
        return self._run(self._submit(event))

    def status(self, event: Json, context: object) -> dict[str, Any]:
        """
        ``GET`` and ``DELETE {prefix}/jobs/{id}``, ``GET {prefix}/jobs/{id}/result``; or any path whose parameters
        have a ``job_id``, ``jobId`` or ``id``.
        """
        method = _method(event)
        if method not in _STATUS_METHODS:
            return _problem(405, "method_not_allowed", "expected GET or DELETE")
        path, root = self._path(event)
        given = event.get("pathParameters") or {}
        named = given.get("job_id") or given.get("jobId") or given.get("id")
        if "/jobs/" not in path and named:
            path = f"{root}{self._prefix}/jobs/{named}"
        if path.endswith("/events"):
            return _problem(404, "not_found", "There is nothing here.")
        return self._run(self._answer(event, method, path, root))

    def worker(self, event: Json, context: Any) -> dict[str, Any]:
        """The messages of an event source mapping; the answer names those that must come again."""
        remaining = getattr(context, "get_remaining_time_in_millis", lambda: 15 * 60_000)() / 1000
        return self._run(self._work(event["Records"], remaining - LAST_SECONDS))

    def reconcile(self, event: Json, context: object) -> dict[str, Any]:
        """On a schedule: expired leases are put back, what the queue lost is sent again."""
        return self._run(self._reconcile())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            runner = asyncio.Runner()
            runner.run(self._open.__aenter__())  # and never left: Lambda freezes the process, and thaws it
            self._runner = runner
        return self._runner.run(work)

    async def _submit(self, event: Json) -> dict[str, Any]:
        path, root = self._path(event)
        path = path if path.endswith("/async") else f"{path}/async"
        answer = await self._answer(event, "POST", path, root)
        store: object = self._jobs.store
        if isinstance(store, Rung):  # after the answer this process may be frozen
            await store.flush()
        return answer

    async def _answer(self, event: Json, method: str, path: str, root: str) -> dict[str, Any]:
        body = event.get("body") or ""
        content = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        scope: Scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https",
            "path": path, "raw_path": path.encode(), "root_path": root, "query_string": b"", "headers": _headers(event),
            "state": {"tenant": self._tenant(event)}, "aws.event": event,
        }  # fmt: skip
        messages = iter([{"type": "http.request", "body": content, "more_body": False}])
        sent: list[Mapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if message := next(messages, None):
                return message
            return await asyncio.Future()  # nobody goes away

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start = sent[0]
        answer = b"".join(message.get("body", b"") for message in sent[1:])
        if len(answer) > ANSWER_BYTES_MAX:
            return _problem(500, "result_too_large", "The result is larger than a function can answer with.")
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return {
            "statusCode": start["status"], "headers": headers, "body": answer.decode(), "isBase64Encoded": False
        }  # fmt: skip

    def _path(self, event: Json) -> tuple[str, str]:
        """The whole path as the client knows it, and what of it comes before the prefix: a stage, a mapping."""
        context = event.get("requestContext", {})
        path = str(event.get("rawPath") or context.get("path") or event.get("path") or "/").rstrip("/")
        before, found, _ = path.partition(self._prefix)
        return path, before if found else ""

    async def _work(self, records: Sequence[Json], seconds: float) -> dict[str, Any]:
        transport, delivered = self._transport()
        chains, messages, failed = defaultdict[str, list[JobId]](list), dict[str, Delivery](), set[str]()
        for record in records:
            queue = await transport.url_of_arn(record["eventSourceARN"])
            receipt, attributes = f"{queue}\n{record['receiptHandle']}", record.get("attributes", {})
            count = int(attributes.get("ApproximateReceiveCount", 1))
            delivery = transport.delivery(receipt, record["body"], count)
            if delivery is None:  # none of ours: by its redrive policy it goes to the dead-letter queue
                failed.add(record["messageId"])
                continue
            messages[record["messageId"]] = delivery
            chains[attributes.get("MessageGroupId", record["messageId"])].append(delivery.job)
        settings = replace(self._jobs.settings, drain=DRAIN)
        try:
            await delivered.revive(list(messages.values()))
            ends = await run_named(
                delivered.inner, self._jobs.handlers, settings, list(chains.values()), seconds_max=seconds
            )
        except GoliveError as error:
            log.event("jobs.store_unavailable", level=log.ERROR, reason=str(error))
            return _failures([*messages, *failed])
        for message, delivery in messages.items():
            if not await self._over(delivered, delivery, ends.get(delivery.job)):
                failed.add(message)
        return _failures([record["messageId"] for record in records if record["messageId"] in failed])

    async def _over(self, delivered: Delivered, delivery: Delivery, end: End | None) -> bool:
        """True if the message is done with; otherwise it comes again, after what the job has to wait."""
        if end is None:
            return False
        if end.event is Event.FAIL:
            await delivered.bury(delivery)
            return True
        if end.event in (Event.SUCCEED, Event.CANCEL) or end.job is None or end.job.state.terminal:
            return True
        if end.event is None and end.job.state is State.PENDING:
            return await delivered.elsewhere(delivery, end.job.run_at)
        lease = self._jobs.settings.lease.total_seconds()
        await delivered.again(delivery, lease if end.event is None else end.delay_seconds)
        return False

    async def _reconcile(self) -> dict[str, Any]:
        store: object = self._jobs.store
        if not isinstance(store, Rung):
            raise ConfigError('jobs.transport: expected "sqs://..." for Lambda, got the store\'s own.')
        patience = self._jobs.settings.patience.total_seconds()
        rung = await Reconciler(store, self._jobs.handlers.values, patience).once()
        await store.flush()
        return {"rung_again": rung}

    def _transport(self) -> tuple[SqsTransport, Delivered]:
        store: object = self._jobs.store
        if isinstance(store, Delivered) and isinstance(store.transport, SqsTransport):
            return store.transport, store
        raise ConfigError('jobs.transport: expected "sqs://..." for a Lambda worker, got another.')


def _method(event: Json) -> str:
    return str(event.get("httpMethod") or event.get("requestContext", {}).get("http", {}).get("method", "")).upper()


def _headers(event: Json) -> list[tuple[bytes, bytes]]:
    single = event.get("headers") or {}
    several = event.get("multiValueHeaders") or {name: [value] for name, value in single.items()}
    return [
        (name.lower().encode("latin-1"), str(value).encode("latin-1", "replace"))
        for name, values in several.items()
        for value in values
    ]


def _problem(status: int, code: str, detail: str) -> dict[str, Any]:
    body = msgspec.json.encode({"type": "about:blank", "status": status, "code": code, "detail": detail}).decode()
    headers = {"content-type": "application/problem+json"}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def _failures(messages: Sequence[str]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": message} for message in messages]}
