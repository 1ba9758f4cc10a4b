"""The HTTP contract: one handler, waiting or polling, with the errors a client can act on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import httpx
import msgspec
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.applications import Starlette
from starlette.routing import Mount

from golive.errors import ConfigError, StateError
from golive.jobs import JobContext, JobError, Jobs
from golive.jobs.handlers import describe
from golive.testing.jobs_running import until, working


class Snapshot(msgspec.Struct):
    user_id: str


def with_handler(jobs: Jobs) -> Jobs:
    """*jobs* with the handler the tests call."""

    @jobs.handler("blocks", attempts_max=1)
    async def blocks(payload: Snapshot, ctx: JobContext) -> dict[str, object]:
        if payload.user_id == "unknown":
            raise JobError("user_unknown", "no such user", status=404)
        if payload.user_id == "crash":
            raise RuntimeError("postgres://user:secret@host")
        return {"user": payload.user_id, "tenant": ctx.tenant}

    return jobs


def fastapi_app(jobs: Jobs, **options: object) -> FastAPI:
    """The routes in FastAPI; the tenant comes from a header, as an authentication layer would set it."""
    app = FastAPI()

    @app.middleware("http")
    async def authenticate(request: Request, call_next):  # type: ignore[no-untyped-def]
        request.state.tenant = request.headers.get("x-tenant", "")
        return await call_next(request)

    app.include_router(jobs.router("blocks", prefix="/api/blocks", **options))  # type: ignore[arg-type]
    return app


@asynccontextmanager
async def client_of(app: object, jobs: Jobs, worker: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of *app*, with a worker beside it."""
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        if worker:
            async with working(jobs):
                yield client
        else:
            async with jobs:
                yield client


async def polled(client: httpx.AsyncClient, url: str, **options: object) -> httpx.Response:
    """The answer at *url* once the job is finished."""

    async def look() -> httpx.Response | None:
        response = await client.get(url, **options)  # type: ignore[arg-type]
        return response if response.json()["status"] in ("succeeded", "failed") else None

    response = await until(look)
    assert response is not None
    return response


@pytest.fixture(params=["fastapi", "asgi", "mounted"])
def app(request: pytest.FixtureRequest, jobs: Jobs) -> object:
    """The same routes in FastAPI, as a plain ASGI app, and that mounted in Starlette."""
    with_handler(jobs)
    if request.param == "fastapi":
        return fastapi_app(jobs, body_style="camel")
    plain = jobs.asgi("blocks", prefix="/api/blocks", body_style="camel")
    return plain if request.param == "asgi" else Starlette(routes=[Mount("", app=plain)])


async def test_both_contracts_give_the_same_result(app: object, jobs: Jobs) -> None:
    """200 with the result; 202 with receipt, Location and Retry-After, then the same result by polling."""
    async with client_of(app, jobs) as client:
        waited = await client.post("/api/blocks", json={"user_id": "u"})
        accepted = await client.post("/api/blocks/async", json={"user_id": "u"})
        done = await polled(client, accepted.headers["location"])
    receipt = accepted.json()
    assert (waited.status_code, accepted.status_code, done.status_code) == (200, 202, 200)
    assert receipt == {"ok": True, "jobId": receipt["jobId"], "status": "pending",
                       "url": f"/api/blocks/jobs/{receipt['jobId']}"}  # fmt: skip
    assert accepted.headers["location"] == receipt["url"]
    assert accepted.headers["retry-after"] == "1"
    job = done.json()
    assert job["result"] == waited.json() == {"user": "u", "tenant": ""}
    assert set(job) == {
        "id",
        "status",
        "kind",
        "created_at",
        "started_at",
        "finished_at",
        "attempts",
        "attempts_max",
        "result",
    }
    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


async def test_prefer_respond_async(app: object, jobs: Jobs) -> None:
    """The one path serves both; the answer says which preference was applied."""
    async with client_of(app, jobs) as client:
        accepted = await client.post(
            "/api/blocks", json={"user_id": "u"}, headers={"prefer": "handling=lenient, Respond-Async; x"}
        )
        assert (accepted.status_code, accepted.headers["preference-applied"]) == (202, "respond-async")
        assert (await polled(client, accepted.headers["location"])).json()["status"] == "succeeded"
        assert (await client.post("/api/blocks", json={"user_id": "u"}, headers={"prefer": "x"})).status_code == 200


async def test_a_job_error_is_the_same_reason_in_both_contracts(app: object, jobs: Jobs) -> None:
    """Its status and code at once, or a failed job with the same code."""
    async with client_of(app, jobs) as client:
        waited = await client.post("/api/blocks", json={"user_id": "unknown"})
        accepted = await client.post("/api/blocks/async", json={"user_id": "unknown"})
        failed = (await polled(client, accepted.headers["location"])).json()
    assert waited.headers["content-type"] == "application/problem+json"
    assert waited.json() == {"type": "about:blank", "title": "Not Found", "status": 404, "code": "user_unknown",
                             "detail": "no such user"}  # fmt: skip
    assert (waited.status_code, failed["status"]) == (404, "failed")
    assert failed["error"] == {"code": "user_unknown", "message": "no such user", "status": 404}


async def test_an_unexpected_error_tells_the_client_nothing(app: object, jobs: Jobs) -> None:
    """The exception's text is for the operator."""
    async with client_of(app, jobs) as client:
        waited = await client.post("/api/blocks", json={"user_id": "crash"})
        accepted = await client.post("/api/blocks/async", json={"user_id": "crash"})
        failed = await polled(client, accepted.headers["location"])
        stored = await jobs.get(failed.json()["id"])
    assert (waited.status_code, waited.json()["code"], failed.json()["error"]["code"]) == (
        500,
        "internal_error",
        "internal_error",
    )
    assert "secret" not in waited.text + failed.text
    assert stored
    assert stored.failure
    assert "[hidden]@host" in stored.failure.exception


@pytest.mark.parametrize("path", ["/api/blocks", "/api/blocks/async"])
@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "application/json", 400, "payload_missing"),
        (b"{", "application/json", 400, "payload_invalid"),
        (b"{}", "application/json", 400, "payload_invalid"),
        (b'{"user_id": 7}', "application/json", 400, "payload_invalid"),
        (b"\xff\xfe", "application/json", 400, "payload_invalid"),
        (b'{"user_id": "\xff"}', "application/json", 400, "payload_invalid"),
        (b'{"user_id": "u", "skipped": "\xff"}', "application/json", 400, "payload_invalid"),
        (b'{"user_id": "u", "skipped": "\xed\xa0\x80"}', "application/json", 400, "payload_invalid"),
        (b"[" * 100_000, "application/json", 400, "payload_invalid"),
        (b'{"user_id": "\\ud800"}', "application/json", 400, "payload_invalid"),
        (b'{"user_id": "u"}', "text/plain", 415, "content_type_unsupported"),
        (b'{"user_id": "u"}', "", 415, "content_type_unsupported"),
        (b'{"user_id": "' + b"x" * 300_000 + b'"}', "application/json", 413, "payload_too_large"),
    ],
)  # fmt: skip
async def test_a_bad_body_is_refused_and_not_stored(
    app: object, jobs: Jobs, path: str, body: bytes, content_type: str, status: int, code: str
) -> None:
    """A 4xx problem that says what was expected, on both paths."""
    async with client_of(app, jobs, worker=False) as client:
        headers = {"idempotency-key": "k"} | ({"content-type": content_type} if content_type else {})
        response = await client.post(path, content=body, headers=headers)
        assert await jobs.store.depth() == {}
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


async def test_media_types_that_are_json_are_taken(app: object, jobs: Jobs) -> None:
    """With parameters, suffixes, any case."""
    async with client_of(app, jobs) as client:
        for media_type in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.acme+json"):
            response = await client.post(
                "/api/blocks", content=b'{"user_id":"u"}', headers={"content-type": media_type}
            )
            assert response.status_code == 200


async def test_of_a_media_type_that_is_given_twice_the_first_counts(app: object, jobs: Jobs) -> None:
    """As for whatever stands in front of the service and looked at it."""
    async with client_of(app, jobs) as client:
        for first, second, status in (("application/json", "text/plain", 200), ("text/plain", "application/json", 415)):
            response = await client.post(
                "/api/blocks", content=b'{"user_id":"u"}', headers=[("content-type", first), ("content-type", second)]
            )
            assert response.status_code == status


async def test_an_idempotency_key_makes_one_job(app: object, jobs: Jobs) -> None:
    """Five parallel submissions, quoted or bare: one job. Another body 422, a malformed key 400."""
    async with client_of(app, jobs, worker=False) as client:  # a job that has ended would be answered with 200

        async def submit(key: str, user: str = "u") -> httpx.Response:
            return await client.post("/api/blocks/async", json={"user_id": user}, headers={"idempotency-key": key})

        responses = await asyncio.gather(*(submit(key) for key in ('"k-1"', "k-1", '"k-1"', "k-1", '"k-1"')))
        assert {response.status_code for response in responses} == {202}
        assert len({response.json()["jobId"] for response in responses}) == 1
        reused = await submit("k-1", "other")
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
        for malformed in ("", '"', '"open', "a b", "x" * 256, '""'):
            assert (await submit(malformed)).json()["code"] == "idempotency_key_invalid"
        doubled = await client.post(
            "/api/blocks/async", json={"user_id": "u"}, headers=[("idempotency-key", "a"), ("idempotency-key", "a")]
        )
        assert doubled.status_code == 400


async def test_another_tenant_and_an_unknown_job_look_the_same(jobs: Jobs) -> None:
    """404 with one body; keys of two tenants do not meet."""
    app = fastapi_app(with_handler(jobs))
    async with client_of(app, jobs) as client:
        mine = {"x-tenant": "acme", "idempotency-key": "k"}
        accepted = await client.post("/api/blocks/async", json={"user_id": "u"}, headers=mine)
        url = accepted.headers["location"]
        done = await polled(client, url, headers={"x-tenant": "acme"})
        strangers = [await client.get(url, headers=headers) for headers in ({"x-tenant": "evil"}, {})]
        unknown = await client.get("/api/blocks/jobs/01a2b3c4-0000-7000-8000-000000000000", headers=mine)
        rubbish = await client.get("/api/blocks/jobs/x'%20or%201=1--", headers=mine)
        other = await client.post("/api/blocks/async", json={"user_id": "v"}, headers={**mine, "x-tenant": "other"})
    assert done.json()["result"] == {"user": "u", "tenant": "acme"}
    assert {response.status_code for response in [*strangers, unknown, rubbish]} == {404}
    assert len({response.text for response in [*strangers, unknown, rubbish]}) == 1
    assert other.status_code == 202
    assert other.json()["job_id"] != accepted.json()["job_id"]


async def test_a_job_of_another_handler_is_not_found_here(jobs: Jobs) -> None:
    """Each prefix shows its own kind only."""
    with_handler(jobs)

    @jobs.handler("other")
    async def other() -> None: ...

    async with client_of(fastapi_app(jobs), jobs) as client:
        job = await jobs.submit("other")
        assert (await client.get(f"/api/blocks/jobs/{job.id}")).status_code == 404


async def test_headers_can_be_part_of_the_payload(jobs: Jobs) -> None:
    """``x-snapshot-id`` lands in its field; without it 400 names the header; the body may carry the field itself."""
    seen = []

    @jobs.handler("rank")
    async def rank(payload: dict[str, object]) -> None:
        seen.append(payload)

    app = FastAPI()
    app.include_router(jobs.router("rank", prefix="/rank", headers={"x-snapshot-id": "snapshot_id"}))
    async with client_of(app, jobs) as client:
        assert (await client.post("/rank", json={"a": 1}, headers={"X-Snapshot-Id": "s1"})).status_code == 200
        missing = await client.post("/rank/async", json={"a": 1})
        assert (await client.post("/rank", json={"snapshot_id": "s2"})).status_code == 200
        for bad in (b"[1]", b'{"a": "\xff"}', b'{"\xff": 1}', b"{", b"[" * 100_000):
            for path in ("/rank", "/rank/async"):
                headers = {"x-snapshot-id": "s", "content-type": "application/json"}
                refused = await client.post(path, content=bad, headers=headers)
                assert (refused.status_code, refused.json()["code"]) == (400, "payload_invalid"), bad
    assert seen == [{"a": 1, "snapshot_id": "s1"}, {"snapshot_id": "s2"}]
    assert (missing.status_code, missing.json()["code"]) == (400, "header_missing")
    assert "x-snapshot-id" in missing.json()["detail"]


async def test_dependencies_given_to_the_router_are_honoured(jobs: Jobs) -> None:
    """A guard added by ``include_router(dependencies=...)`` protects all three routes, whatever shortcut they take."""
    with_handler(jobs)

    def refuse(request: Request) -> None:
        if "authorization" not in request.headers:
            raise HTTPException(401)

    app = FastAPI()
    app.include_router(jobs.router("blocks", prefix="/api/blocks"), dependencies=[Depends(refuse)])
    async with client_of(app, jobs) as client:
        for method, path in (("POST", ""), ("POST", "/async"), ("GET", "/jobs/x")):
            assert (await client.request(method, f"/api/blocks{path}", json={"user_id": "u"})).status_code == 401
        allowed = await client.post("/api/blocks", json={"user_id": "u"}, headers={"authorization": "x"})
    assert allowed.json() == {"user": "u", "tenant": ""}


async def test_the_location_follows_where_the_router_is_mounted(jobs: Jobs) -> None:
    """Under a prefix of the app, and under a mounted sub-application, the URL works as it is given."""
    with_handler(jobs)
    inner, outer = FastAPI(), FastAPI()
    inner.include_router(jobs.router("blocks", prefix="/blocks"), prefix="/v1")
    outer.mount("/sub", inner)
    async with client_of(outer, jobs) as client:
        accepted = await client.post("/sub/v1/blocks/async", json={"user_id": "u"})
        assert accepted.headers["location"].startswith("/sub/v1/blocks/jobs/")
        assert (await polled(client, accepted.headers["location"])).status_code == 200


async def test_a_store_that_cannot_answer_is_503(app: object, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was accepted; the client is told to come back, and not where the file is."""

    async def full(*_: object) -> None:
        raise StateError("/var/lib/jobs.db: expected room on the disk, got: full.")

    async with client_of(app, jobs, worker=False) as client:
        monkeypatch.setattr(jobs.store, "submit", full)
        response = await client.post("/api/blocks/async", json={"user_id": "u"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert "/var/lib" not in response.text


async def test_methods_and_paths_nobody_serves(app: object, jobs: Jobs) -> None:
    """404 and 405, not a job."""
    async with client_of(app, jobs, worker=False) as client:
        for method, path, status in (
            ("GET", "/api/blocks/async", 405), ("PUT", "/api/blocks", 405), ("POST", "/api/blocks/jobs/x", 405),
            ("GET", "/api/blocks/jobs/", 404), ("GET", "/elsewhere", 404), ("POST", "/api/blocksasync", 404),
        ):  # fmt: skip
            assert (await client.request(method, path)).status_code == status, (method, path)


@pytest.mark.parametrize("prefix", ["", "api", "/api/", "/a b", "//x"])
def test_a_prefix_that_is_no_path_is_refused(jobs: Jobs, prefix: str) -> None:
    """Found at start, with an example."""
    with pytest.raises(ConfigError, match="prefix: expected a path"):
        with_handler(jobs).router("blocks", prefix=prefix)


async def test_the_lifespan_of_the_app_runs_an_embedded_worker(jobs: Jobs) -> None:
    """``embedded=True`` and ``include_router`` are enough; without it the job waits for a worker elsewhere."""
    for embedded in (True, False):
        each = Jobs(replace(jobs.settings, embedded=embedded), store=jobs.store)
        app = fastapi_app(with_handler(each))
        async with app.router.lifespan_context(app), client_of(app, each, worker=False) as client:
            accepted = await client.post("/api/blocks/async", json={"user_id": "u"})
            if embedded:
                assert (await polled(client, accepted.headers["location"])).json()["status"] == "succeeded"
            else:
                await asyncio.sleep(0.2)
                assert (await client.get(accepted.headers["location"])).json()["status"] == "pending"


async def test_the_plain_app_answers_the_lifespan(jobs: Jobs) -> None:
    """Startup and shutdown complete; the embedded worker runs between them."""
    each = with_handler(Jobs(replace(jobs.settings, embedded=True), store=jobs.store))
    app, sent = each.asgi("blocks", prefix="/api/blocks"), []
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def send(message) -> None:  # type: ignore[no-untyped-def]
        sent.append(message["type"])

    task = asyncio.create_task(app({"type": "lifespan"}, inbox.get, send))  # type: ignore[arg-type]
    await inbox.put({"type": "lifespan.startup"})

    async def started() -> bool:
        return bool(sent)

    await until(started)
    job = await each.submit("blocks", {"user_id": "u"})
    from golive.testing.jobs_running import finished

    assert (await finished(each, job)).state == "succeeded"
    await inbox.put({"type": "lifespan.shutdown"})
    await asyncio.wait_for(task, 20)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_the_routes_are_in_the_openapi_document(jobs: Jobs) -> None:
    """Clients are generated from it."""
    paths = fastapi_app(with_handler(jobs)).openapi()["paths"]
    assert set(paths) == {
        "/api/blocks",
        "/api/blocks/async",
        "/api/blocks/jobs/{job_id}",
        "/api/blocks/jobs/{job_id}/cancel",
        "/api/blocks/jobs/{job_id}/events",
        "/api/blocks/jobs/{job_id}/result",
    }
    assert "202" in paths["/api/blocks/async"]["post"]["responses"]
    json.dumps(paths)


async def test_a_client_that_goes_away_takes_nothing_with_it(app: object, jobs: Jobs) -> None:
    """A connection closed in the middle of the body stores nothing and is not our error."""
    messages = iter([{"type": "http.request", "body": b'{"user', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, object]:
        return next(messages, {"type": "http.disconnect"})

    async def send(_: object) -> None: ...

    scope = {"type": "http", "method": "POST", "path": "/api/blocks/async", "raw_path": b"/api/blocks/async",
             "headers": [(b"content-type", b"application/json")], "query_string": b"", "root_path": "",
             "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": ("127.0.0.1", 1)}  # fmt: skip
    async with jobs:
        await app(scope, receive, send)  # type: ignore[operator]
        assert await jobs.store.depth() == {}


async def test_waiting_and_cancelling_and_progress(app: object, jobs: Jobs) -> None:
    """One long job: its progress, its cancellation while it runs; a pending one at once; a finished one not at all."""
    release = asyncio.Event()

    async def slow(payload: Snapshot, ctx: JobContext) -> str:
        ctx.progress(0.25, "reading")
        await release.wait()
        return "late"

    jobs.handlers["blocks"] = describe(
        slow,
        "blocks",
        queue="default",
        concurrency=None,
        attempts_max=3,
        timeout=timedelta(seconds=60),
        retry_on_timeout=False,
    )
    async with client_of(app, jobs) as client:
        accepted = await client.post("/api/blocks/async", json={"user_id": "u"})
        url = accepted.headers["location"]

        async def progressed() -> object:
            return (await client.get(url)).json().get("progress")

        assert await until(progressed) == {"ratio": 0.25, "message": "reading"}
        asked = await client.delete(url)
        assert (asked.status_code, asked.json()["status"]) == (202, "running")
        waited = await client.get(url, headers={"prefer": "wait=20"})
        assert waited.json()["status"] == "cancelled"
        assert (await client.delete(url)).status_code == 200
        assert (await client.delete(url[:-2] + "zz")).status_code == 404
        assert (await jobs.store.depth()) == {}

        release.set()
        done = await client.post("/api/blocks", json={"user_id": "u"}, headers={"prefer": "respond-async, wait=20"})
        assert (done.status_code, done.json()) == (200, "late")
        finished_url = (await client.post("/api/blocks/async", json={"user_id": "u"})).headers["location"]
        await polled(client, finished_url)
        refused = await client.delete(finished_url)
        assert (refused.status_code, refused.json()["code"]) == (409, "job_finished")
    async with client_of(app, jobs, worker=False) as client:
        waiting = await client.post("/api/blocks/async", json={"user_id": "u"})
        cancelled = await client.delete(waiting.headers["location"])
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
