"""
The HTTP contract of a handler, on plain ASGI; :mod:`golive.jobs.fastapi` is the adapter to FastAPI.

    POST {prefix}            wait: 200 and the result, or the status of the JobError
    POST {prefix}/async      202, Location, Retry-After; also POST {prefix} with ``Prefer: respond-async``
    GET  {prefix}/jobs/{id}  where the job is; 404 for an unknown one and for another tenant's
    GET  {prefix}/jobs/{id}/result  the result alone, or a link to it (303), or the JobError's status; 202 until then
    GET  {prefix}/jobs/{id}/events  the same as server-sent events, one for each change
    DELETE {prefix}/jobs/{id}  cancel it: 200 when it is, 202 while its worker still has to, 409 when it had ended
    POST {prefix}/jobs/{id}/cancel  the same, for clients that cannot send DELETE

``Prefer: wait=N`` on a GET, or beside ``respond-async``, holds the answer back for up to N seconds until the job ends.

Errors are RFC 9457 problem documents with a ``code``. An invalid body is 400, and nothing is stored of it.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from golive.errors import ConfigError, GoliveError, UsageError
from golive.jobs import events, log
from golive.jobs.destinations import RefusedDestinationError
from golive.jobs.document import document
from golive.jobs.errors import InvalidPayloadError, KeyReusedError
from golive.jobs.handlers import Handler, parse
from golive.jobs.machine import State
from golive.jobs.model import Failure, Job
from golive.jobs.offloading import Reference

if TYPE_CHECKING:
    from golive.jobs.app import Jobs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Tenant = Callable[[Mapping[str, Any]], str]

_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"|([!#-~]{1,255})')
_JSON_TYPE = re.compile(rb"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_JSON, _PROBLEM = b"application/json", b"application/problem+json"
POLL_SECONDS = b"1"
#: Longer than this no answer is held back: below the time-outs of the proxies in between.
WAIT_SECONDS_MAX = 25.0


class Reply(NamedTuple):
    """An HTTP answer; with a *stream* that is the body, and its length is not known."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = _JSON
    stream: AsyncIterator[bytes] | None = None


class ProblemError(Exception):
    """Ends the handling of a request with a problem document."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status, self.code, self.detail = status, code, detail
        super().__init__(detail)


def state_tenant(scope: Mapping[str, Any]) -> str:
    """The default: what an authentication layer left in ``request.state.tenant``, or no tenant."""
    return str(scope.get("state", {}).get("tenant") or "")


class Endpoints:
    """The routes of one handler. *prefix* is where they are mounted; see :meth:`Jobs.router` for the rest."""

    def __init__(
        self, jobs: Jobs, handler: Handler, prefix: str, body_style: Literal["snake", "camel"] = "snake",
        headers: Mapping[str, str] | None = None, tenant: Tenant | None = None, webhook_header: str | None = None,
        results: Literal["inline", "redirect"] = "inline",
    ) -> None:  # fmt: skip
        if not re.fullmatch(r"(/[\w.~-]+)+", prefix):
            raise ConfigError(f'jobs.router: prefix: expected a path such as "/api/reports", got {prefix!r}.')
        if body_style not in ("snake", "camel"):
            raise ConfigError(f'jobs.router: body_style: expected "snake" or "camel", got {body_style!r}.')
        if results not in ("inline", "redirect"):
            raise ConfigError(f'jobs.router: results: expected "inline" or "redirect", got {results!r}.')
        if webhook_header is not None and jobs.hooks is None:
            raise ConfigError("jobs.router: webhook_header: expected jobs.webhooks(secret=...) before it, got none.")
        self.jobs = jobs
        self.handler = handler
        self.prefix = prefix
        self._job_id = "jobId" if body_style == "camel" else "job_id"
        self._headers = {name.lower().encode(): field for name, field in (headers or {}).items()}
        self._tenant = tenant or state_tenant
        self._webhook_header = None if webhook_header is None else webhook_header.lower().encode()
        self._redirects = results == "redirect"
        self._streams = 0

    async def wait(self, scope: Scope, receive: Receive) -> Reply:
        """``POST {prefix}``."""
        if _prefers_async(scope):
            reply = await self.submit(scope, receive, _preferred_wait(scope))
            return reply._replace(headers=(*reply.headers, (b"preference-applied", b"respond-async")))
        outcome = await self.jobs.run(
            self.handler.name, await self._payload(scope, receive), tenant=self._tenant(scope)
        )
        if outcome.error is not None:
            log.event("job.failed", level=log.ERROR, error=outcome.error, kind=self.handler.name, synchronous=True)
        if outcome.failure is not None:
            return _failed(outcome.failure)
        return Reply(200, outcome.result or b"null")

    async def submit(self, scope: Scope, receive: Receive, wait_seconds: float = 0.0) -> Reply:
        """``POST {prefix}/async``. A job that ends within *wait_seconds* is answered as if the caller had waited."""
        key = _idempotency_key(scope)
        payload = await self._payload(scope, receive)
        webhook = None if self._webhook_header is None else _header(scope, self._webhook_header)
        job = await self.jobs.submit(
            self.handler.name, payload, tenant=self._tenant(scope), idempotency_key=key,
            webhook=None if webhook is None else webhook.decode("latin-1"),
        )  # fmt: skip
        if wait_seconds:
            job = await self.jobs.wait(job, wait_seconds)
        if job.state is State.SUCCEEDED and wait_seconds:
            if self._reference(job) is not None:
                return Reply(303, b"", (_FRESH, (b"location", self._result_url(scope, job))))
            return Reply(200, job.result or b"null")
        if job.state is State.FAILED and job.failure and wait_seconds:
            return _failed(job.failure)
        url = f"{_base(scope['path'])}/jobs/{job.id}"
        body = msgspec.json.encode({"ok": True, self._job_id: job.id, "status": job.state, "url": url})
        if job.state.terminal:  # its key was seen before, and the job has ended since
            return Reply(200, body, ((b"location", url.encode()),))
        return Reply(202, body, ((b"location", url.encode()), (b"retry-after", POLL_SECONDS)))

    async def status(self, scope: Scope, job_id: str) -> Reply:
        """``GET {prefix}/jobs/{id}``."""
        job = await self._mine(scope, job_id)
        if job is None:
            return _UNKNOWN
        job = await self.jobs.wait(job, _preferred_wait(scope))
        if self._redirects and job.state is State.SUCCEEDED:
            where = self._result_url(scope, job)
            return Reply(303, document(replace(job, result=None)), (_FRESH, (b"location", where)))
        return Reply(200, self._document(scope, job), (_FRESH, *_again(job)))

    async def result(self, scope: Scope, job_id: str) -> Reply:
        """``GET {prefix}/jobs/{id}/result``."""
        job = await self._mine(scope, job_id)
        if job is None:
            return _UNKNOWN
        job = await self.jobs.wait(job, _preferred_wait(scope))
        if job.state is State.SUCCEEDED:
            reference = self._reference(job)
            return (
                Reply(200, job.result or b"null", (_FRESH,)) if reference is None else await self._kept(job, reference)
            )
        if job.state is State.CANCELLED:
            return _problem(410, "job_cancelled", "The job was cancelled; there is no result.")
        if job.state is State.FAILED and job.failure:
            return _failed(job.failure)
        return Reply(202, self._document(scope, job), (_FRESH, *_again(job)))

    async def _kept(self, job: Job, reference: Reference) -> Reply:
        """A result that is not in the row: a link to it, or its bytes."""
        place = self.jobs.offloading
        assert place, "who reads references has a place for results"
        if not reference.expired and (link := await place.link(job, reference)):
            return Reply(303, b"", (_FRESH, (b"location", link.encode())))
        pieces = await place.read(job, reference)
        if pieces is None:
            return _problem(410, "result_expired", "The result is not kept any more.")
        return Reply(200, b"", (_FRESH, (b"content-length", str(reference.bytes).encode())), stream=pieces)

    def _reference(self, job: Job) -> Reference | None:
        return self.jobs.offloading.reference(job) if self.jobs.offloading else None

    def _result_url(self, scope: Scope, job: Job) -> bytes:
        base, _, _ = scope["path"].rstrip("/").removesuffix("/async").partition(f"/jobs/{job.id}")
        return f"{quote(base)}/jobs/{job.id}/result".encode()

    def _document(self, scope: Scope, job: Job) -> bytes:
        return document(job, self._reference(job), self._result_url(scope, job).decode())

    async def events(self, scope: Scope, job_id: str) -> Reply:
        """``GET {prefix}/jobs/{id}/events``."""
        tenant = self._tenant(scope)
        job = await self._mine(scope, job_id)
        if job is None:
            return _UNKNOWN
        seen = (_header(scope, b"last-event-id") or b"").decode("latin-1")
        if job.state.terminal and seen == events.event_id(self._document(scope, job)):
            return Reply(204, b"")  # stops the client's coming back
        if self._streams >= events.STREAMS_MAX:
            reply = _problem(503, "streams_exhausted", "Too many streams are open. Poll, or try again.")
            return reply._replace(headers=((b"retry-after", b"5"),))
        shown = partial(self._document, scope)
        changes = events.stream(job, lambda: self.jobs.get(job_id, tenant=tenant), shown, seen)
        headers = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
        return Reply(200, b"", headers, b"text/event-stream", self._counted(changes))

    async def _counted(self, changes: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            async for change in changes:
                yield change
        except GoliveError as error:  # the store: the client comes back and is told then
            log.event("jobs.store_unavailable", level=log.ERROR, reason=str(error))
        finally:
            self._streams -= 1

    async def cancel(self, scope: Scope, job_id: str) -> Reply:
        """``DELETE {prefix}/jobs/{id}``."""
        job = await self._mine(scope, job_id)
        job = await self.jobs.cancel(job.id) if job else None
        if job is None:
            return _UNKNOWN
        if job.state.terminal and job.state is not State.CANCELLED:
            return _problem(409, "job_finished", f"The job has already {job.state}.")
        return Reply(200 if job.state.terminal else 202, self._document(scope, job))

    async def _mine(self, scope: Scope, job_id: str) -> Job | None:
        """The job, if it is one of this handler and of the caller's tenant: no answer tells these apart from none."""
        job = await self.jobs.get(job_id, tenant=self._tenant(scope))
        return job if job is not None and job.kind == self.handler.name else None

    async def answer(self, work: Awaitable[Reply]) -> Reply:
        """*work*'s reply, or the problem document for what it raised. Bugs pass through, to the framework's 500."""
        try:
            return await work
        except ProblemError as problem:
            return _problem(problem.status, problem.code, problem.detail)
        except InvalidPayloadError as error:
            return _problem(400, "payload_invalid", str(error))
        except RefusedDestinationError as error:
            return _problem(400, "webhook_refused", str(error))
        except UsageError as error:
            return _problem(400, "submission_invalid", str(error))
        except KeyReusedError as error:
            return _problem(422, "idempotency_key_reused", str(error))
        except GoliveError as error:  # the store; its message names files and hosts, so it is for the log
            log.event("jobs.store_unavailable", level=log.ERROR, reason=str(error))
            reply = _problem(503, "jobs_unavailable", "Jobs cannot be stored or read now. Try again.")
            return reply._replace(headers=((b"retry-after", b"5"),))

    async def _payload(self, scope: Scope, receive: Receive) -> bytes:
        body = await self._body(scope, receive)
        if not self._headers:
            return body
        fields = parse(body)
        if not isinstance(fields, dict):
            raise InvalidPayloadError("expected a JSON object")
        given = {name: value.decode("latin-1") for name, value in scope["headers"]}
        fields |= {field: given[name] for name, field in self._headers.items() if name in given}
        for name, field in self._headers.items():
            if name not in given and field not in fields:
                raise ProblemError(400, "header_missing", f"expected the header {name.decode()}, got none")
        return msgspec.json.encode(fields)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        most = self.jobs.settings.payload_bytes_max
        chunks, size, more = list[bytes](), 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ProblemError(400, "body_incomplete", "The connection closed before the body was complete.")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
            if size > most:
                raise ProblemError(413, "payload_too_large", f"expected at most {most} bytes")
        if not size:
            raise ProblemError(400, "payload_missing", "expected a JSON body, got none")
        content_type = _header(scope, b"content-type") or b""
        if content_type != _JSON and not _JSON_TYPE.fullmatch(content_type):
            raise ProblemError(415, "content_type_unsupported", "expected Content-Type: application/json")
        return b"".join(chunks)


def application(endpoints: Endpoints) -> AsgiApp:
    """A plain ASGI app of the three routes, and of the lifespan."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(endpoints.jobs, receive, send)
        elif scope["type"] == "http":
            reply = await _dispatch(endpoints, scope, receive)
            await (
                send_reply(reply, send) if reply.stream is None else _send_stream(reply, reply.stream, receive, send)
            )

    return app


def raw_headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    """Those of a *reply* that is no stream; one without content (204) has no length either."""
    if reply.status == 204:
        return list(reply.headers)
    return [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)), *reply.headers]


async def send_reply(reply: Reply, send: Send) -> None:
    """*reply* as ASGI messages."""
    await send({"type": "http.response.start", "status": reply.status, "headers": raw_headers(reply)})
    await send({"type": "http.response.body", "body": reply.body})


async def _send_stream(reply: Reply, stream: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    headers = [(b"content-type", reply.content_type), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})

    async def sending() -> None:
        async for part in stream:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def leaving() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.create_task(sending()), asyncio.create_task(leaving())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _dispatch(endpoints: Endpoints, scope: Scope, receive: Receive) -> Reply:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    rest = path.removeprefix(endpoints.prefix)
    routes: dict[str, Mapping[str, Callable[[], Awaitable[Reply]]]] = {
        "": {"POST": lambda: endpoints.wait(scope, receive)},
        "/async": {"POST": lambda: endpoints.submit(scope, receive)},
    }
    if found := re.fullmatch(r"/jobs/([^/]+)(/events|/result|/cancel)?", rest):
        job_id = found[1]
        of_job: dict[str | None, dict[str, Callable[[], Awaitable[Reply]]]] = {
            None: {
                "GET": lambda: endpoints.status(scope, job_id),
                "DELETE": lambda: endpoints.cancel(scope, job_id),
            },
            "/events": {"GET": lambda: endpoints.events(scope, job_id)},
            "/result": {"GET": lambda: endpoints.result(scope, job_id)},
            "/cancel": {"POST": lambda: endpoints.cancel(scope, job_id)},
        }
        routes[rest] = of_job[found[2]]
    if rest == path or rest not in routes:
        return _problem(404, "not_found", "There is nothing here.")
    if scope["method"] not in routes[rest]:
        allowed = ", ".join(routes[rest])
        reply = _problem(405, "method_not_allowed", f"expected {allowed}")
        return reply._replace(headers=((b"allow", allowed.encode()),))
    return await endpoints.answer(routes[rest][scope["method"]]())


async def _lifespan(jobs: Jobs, receive: Receive, send: Send) -> None:
    await receive()
    try:
        async with jobs.lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
    except GoliveError as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.shutdown.complete"})


def _problem(status: int, code: str, detail: str) -> Reply:
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
    return Reply(status, msgspec.json.encode(body), content_type=_PROBLEM)


def _failed(failure: Failure) -> Reply:
    """What a run's failure is to the caller who waited for it."""
    reply = _problem(failure.status, failure.code, failure.message)
    if not failure.wait_seconds:
        return reply
    return reply._replace(headers=((b"retry-after", str(math.ceil(failure.wait_seconds)).encode()),))


def _again(job: Job) -> tuple[tuple[bytes, bytes], ...]:
    return () if job.state.terminal else ((b"retry-after", POLL_SECONDS),)


_FRESH = (b"cache-control", b"no-store")
_UNKNOWN = _problem(404, "job_unknown", "There is no such job.")


@lru_cache(256)
def _base(path: str) -> str:
    """Where the routes are mounted, from the path of a submission."""
    return quote(path.rstrip("/").removesuffix("/async"))


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    """The first of that name."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return None


def _preferences(scope: Scope) -> list[bytes]:
    """RFC 7240. Several Prefer fields count as one; what we do not know is ignored."""
    values = b",".join(value for name, value in scope["headers"] if name == b"prefer")
    return [each.split(b";")[0].strip() for each in values.lower().split(b",")]


def _prefers_async(scope: Scope) -> bool:
    return b"respond-async" in _preferences(scope)


def _preferred_wait(scope: Scope) -> float:
    """Seconds, at most :data:`WAIT_SECONDS_MAX`; 0.0 without a (sensible) preference."""
    for preference in _preferences(scope):
        if found := re.fullmatch(rb"wait\s*=\s*\"?(\d{1,9})\"?", preference):
            return min(float(found[1]), WAIT_SECONDS_MAX)
    return 0.0


def _idempotency_key(scope: Scope) -> str | None:
    """The key, quoted or bare; ``"k"`` and ``k`` are the same. Source: draft-ietf-httpapi-idempotency-key-header-07."""
    if _header(scope, b"idempotency-key") is None:
        return None
    values = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    found = _KEY.fullmatch(values[0].decode("latin-1").strip()) if len(values) == 1 else None
    if found is None:
        raise ProblemError(
            400, "idempotency_key_invalid", "expected one Idempotency-Key of 1 to 255 printable ASCII characters"
        )
    return found[2] or re.sub(r"\\(.)", r"\1", found[1])
