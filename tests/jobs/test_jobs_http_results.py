"""What a client does after the 202: fetch the result, be redirected to it, cancel, submit the same again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from golive.errors import ConfigError
from golive.jobs import JobError, Jobs, NotNow
from golive.testing.jobs_running import finished, working

URL = "/api/sums"


def with_handler(jobs: Jobs) -> Jobs:
    @jobs.handler("sum", attempts_max=1)
    async def sum_(numbers: list[int]) -> int:
        if not numbers:
            raise JobError("nothing_to_sum", "no numbers", status=422)
        if numbers == [0]:
            raise NotNow(2.5, "the abacus is busy")
        return sum(numbers)

    return jobs


def tenant_of(scope: Any) -> str:
    return dict(scope["headers"]).get(b"x-tenant", b"").decode()


@pytest.fixture(params=["fastapi", "asgi"])
def serve(request: pytest.FixtureRequest, jobs: Jobs) -> Any:
    """Makes a client of the routes, in FastAPI or plain, with the options of the routes."""
    with_handler(jobs)

    def client(**options: Any) -> httpx.AsyncClient:
        app: Any
        if request.param == "fastapi":
            app = FastAPI()
            app.include_router(jobs.router("sum", prefix=URL, tenant=tenant_of, **options))
        else:
            app = jobs.asgi("sum", prefix=URL, tenant=tenant_of, **options)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    return client


async def test_the_result_alone_is_what_the_waiting_caller_would_have_got(serve: Any, jobs: Jobs) -> None:
    """202 while there is none, then 200 and the bare result; a failure has the status and code of its JobError."""
    async with jobs, serve() as client:
        good = (await client.post(f"{URL}/async", json=[1, 2])).headers["location"]
        bad = (await client.post(f"{URL}/async", json=[])).headers["location"]
        early = await client.get(f"{good}/result")
        assert (early.status_code, early.json()["status"], early.headers["retry-after"]) == (202, "pending", "1")
        async with working(jobs):
            done = await client.get(f"{good}/result", headers={"prefer": "wait=10"})
            failed = await client.get(f"{bad}/result", headers={"prefer": "wait=10"})
        assert (done.status_code, done.json(), done.headers["cache-control"]) == (200, 3, "no-store")
        assert (failed.status_code, failed.json()["code"]) == (422, "nothing_to_sum")
        assert failed.headers["content-type"] == "application/problem+json"


async def test_a_finished_job_can_redirect_to_its_result(serve: Any, jobs: Jobs) -> None:
    """303 with the job, without its result; other tenants get 404 at both places."""
    async with serve(results="redirect") as client, working(jobs):
        mine = {"x-tenant": "acme", "prefer": "wait=10"}
        url = (await client.post(f"{URL}/async", json=[4], headers=mine)).headers["location"]
        answer = await client.get(url, headers=mine)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{url}/result")
        assert answer.json()["status"] == "succeeded"
        assert "result" not in answer.json()
        followed = await client.get(url, headers=mine, follow_redirects=True)
        assert (followed.status_code, followed.json()) == (200, 4)
        for path in (url, f"{url}/result", f"{url}/events"):
            assert (await client.get(path, headers={"x-tenant": "evil"})).status_code == 404
        assert (await client.post(f"{url}/cancel", headers={"x-tenant": "evil"})).status_code == 404


async def test_cancelling_by_post_is_the_same_as_by_delete(serve: Any, jobs: Jobs) -> None:
    """200, again 200, the result is gone; an ended job is 409; GET is not a way to cancel."""
    async with jobs, serve() as client:
        url = (await client.post(f"{URL}/async", json=[1])).headers["location"]
        assert (await client.get(f"{url}/cancel")).status_code == 405
        for method in ("POST", "DELETE"):
            path = f"{url}/cancel" if method == "POST" else url
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        gone = await client.get(f"{url}/result")
        assert (gone.status_code, gone.json()["code"]) == (410, "job_cancelled")
        done = await jobs.submit("sum", [1])
        async with working(jobs):
            await finished(jobs, done)
        late = await client.post(f"{URL}/jobs/{done.id}/cancel")
        assert (late.status_code, late.json()["code"]) == (409, "job_finished")


async def test_submitting_the_same_again_is_the_same_job(serve: Any, jobs: Jobs) -> None:
    """202 while it waits, 200 once it has ended, 422 with another body, another job for another tenant."""
    async with jobs, serve() as client:
        key = {"idempotency-key": "k"}
        first = await client.post(f"{URL}/async", json=[1, 2], headers=key)
        again = await client.post(
            f"{URL}/async", content=b"[1,   2]", headers=key | {"content-type": "application/json"}
        )
        assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
        async with working(jobs):
            job = await jobs.get(first.json()["job_id"])
            assert job is not None
            await finished(jobs, job)
        after = await client.post(f"{URL}/async", json=[1, 2], headers=key)
        assert (after.status_code, after.json()["status"]) == (200, "succeeded")
        assert after.headers["location"] == first.headers["location"]
        assert "retry-after" not in after.headers
        other = await client.post(f"{URL}/async", json=[1, 3], headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        theirs = await client.post(f"{URL}/async", json=[9], headers=key | {"x-tenant": "other"})
        assert theirs.status_code == 202


async def test_not_now_tells_the_waiting_caller_when(serve: Any) -> None:
    """503 with Retry-After in whole seconds."""
    async with serve() as client:
        answer = await client.post(URL, json=[0])
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "not_now", "3")
    assert answer.json()["detail"] == "the abacus is busy"


async def test_a_tenant_no_job_can_have_is_a_client_error(serve: Any, jobs: Jobs) -> None:
    """Not a 503 that is tried again for ever; nothing is stored."""
    async with jobs, serve() as client:
        answer = await client.post(f"{URL}/async", json=[1], headers={"x-tenant": "t" * 300})
        assert (answer.status_code, answer.json()["code"]) == (400, "submission_invalid")
        assert await jobs.store.depth() == {}


def test_options_of_the_routes_are_checked_where_they_are_written() -> None:
    """A typing mistake stops the start."""
    jobs = with_handler(Jobs("memory://"))
    with pytest.raises(ConfigError, match="results: expected"):
        jobs.asgi("sum", prefix="/x", results="elsewhere")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"webhook_header: expected jobs\.webhooks"):
        jobs.asgi("sum", prefix="/x", webhook_header="x-callback")
