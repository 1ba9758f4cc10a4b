"""Progress as server-sent events, over a real server: an in-process client does not stream."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from golive.jobs import JobContext, Jobs, events
from golive.testing.jobs_running import finished, until

Event = tuple[str, str, dict[str, object]]


@asynccontextmanager
async def serving(app: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of *app* behind uvicorn in this loop."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))  # type: ignore[arg-type]
        task = asyncio.create_task(server.serve([listening]))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client:
            yield client
        server.should_exit = True
        await task


async def read(client: httpx.AsyncClient, url: str, seen: str = "") -> AsyncIterator[Event]:
    """Id, name and document of each event."""
    headers = {"last-event-id": seen} if seen else {}
    async with client.stream("GET", url, headers=headers) as response:
        assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if not line and "data" in fields:
                yield fields["id"], fields["event"], json.loads(fields["data"])
                fields = {}


@pytest.fixture
def steps() -> asyncio.Event:
    """Lets the handler go on."""
    return asyncio.Event()


@pytest.fixture(params=["fastapi", "asgi"])
def app(request: pytest.FixtureRequest, jobs: Jobs, steps: asyncio.Event) -> object:
    """Both fronts of one handler, with its worker inside."""
    object.__setattr__(jobs.settings, "embedded", True)

    @jobs.handler("blocks")
    async def blocks(payload: int, ctx: JobContext) -> str:
        ctx.progress(0.5, 'half\n\ndata: "forged"')
        await steps.wait()
        return "done\n"

    if request.param == "asgi":
        return jobs.asgi(
            "blocks", prefix="/api", tenant=lambda scope: dict(scope["headers"]).get(b"x-tenant", b"").decode()
        )
    front = FastAPI()
    tenant = lambda scope: dict(scope["headers"]).get(b"x-tenant", b"").decode()  # noqa: E731
    front.include_router(jobs.router("blocks", prefix="/api", tenant=tenant))
    return front


async def test_every_change_is_an_event_and_nothing_is_told_twice(
    app: object, jobs: Jobs, steps: asyncio.Event
) -> None:
    """From the progress to the result; who comes back gets only what is new, and 204 after the end."""
    async with serving(app) as client:
        url = (await client.post("/api/async", json=1)).json()["url"] + "/events"
        told: list[Event] = []
        async for event in read(client, url):
            told.append(event)
            if event[2].get("progress"):
                steps.set()
        assert [name for _, name, _ in told][-2:] == ["running", "succeeded"]
        assert told[-2][2]["progress"] == {"ratio": 0.5, "message": 'half\n\ndata: "forged"'}
        assert told[-1][2]["result"] == "done\n"
        assert len({id_ for id_, _, _ in told}) == len(told)
        again = [event async for event in read(client, url, seen=told[-2][0])]
        assert [name for _, name, _ in again] == ["succeeded"]
        assert (await client.get(url, headers={"last-event-id": told[-1][0]})).status_code == 204


async def test_another_tenants_job_and_an_unknown_one_are_the_same_404(
    app: object, jobs: Jobs, steps: asyncio.Event
) -> None:
    """Before any stream begins."""
    steps.set()
    async with serving(app) as client:
        url = (await client.post("/api/async", json=1, headers={"x-tenant": "acme"})).json()["url"] + "/events"
        foreign, unknown = await client.get(url), await client.get("/api/jobs/nothing/events")
        assert [(each.status_code, each.json()["code"]) for each in (foreign, unknown)] == [(404, "job_unknown")] * 2
        assert (await client.post(url, json=1)).status_code == 405


async def test_a_stream_ends_in_time_and_a_client_that_left_is_forgotten(
    app: object, jobs: Jobs, steps: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one stream allowed, the second is refused until the first client has gone."""
    monkeypatch.setattr(events, "STREAMS_MAX", 1)
    async with serving(app) as client:
        submitted = await client.post("/api/async", json=1)
        url = submitted.json()["url"] + "/events"
        first = read(client, url)
        await anext(first)
        refused = await client.get(url)
        assert (refused.status_code, refused.json()["code"]) == (503, "streams_exhausted")
        with suppress(RuntimeError):
            await first.aclose()
        monkeypatch.setattr(events, "SECONDS_MAX", 0.0)

        async def free() -> bool:
            async with client.stream("GET", url) as response:
                return response.status_code == 200 and b"event: running" in await response.aread()

        assert await until(free)
        steps.set()
        job = await jobs.get(submitted.json()["job_id"])
        assert job
        await finished(jobs, job)
