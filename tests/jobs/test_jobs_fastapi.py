"""The adapter to FastAPI: where nothing is depended on, the solver is not asked; where something is, it guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastapi.routing
import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException

from golive.jobs import Jobs
from golive.jobs.fastapi import api_router
from golive.jobs.http import Endpoints

PATHS = [("POST", ""), ("POST", "/async"), ("GET", "/jobs/x"), ("DELETE", "/jobs/x"), ("GET", "/jobs/x/result")]


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with every request FastAPI's solver is asked for."""
    asked: list[object] = []
    real = fastapi.routing.solve_dependencies

    async def counting(**arguments: Any) -> Any:
        asked.append(arguments["request"])
        return await real(**arguments)

    monkeypatch.setattr(fastapi.routing, "solve_dependencies", counting)
    return asked


@pytest.fixture
def jobs(jobs: Jobs) -> Jobs:
    """With a handler."""

    @jobs.handler("blocks")
    async def blocks(payload: dict[str, int]) -> int:
        return payload["n"]

    return jobs


async def statuses(app: FastAPI, prefix: str = "/api/blocks") -> list[int]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return [
            (await client.request(method, prefix + path, json={"n": 1} if method == "POST" else None)).status_code
            for method, path in PATHS
        ]


async def test_without_dependencies_the_solver_is_not_asked(jobs: Jobs, solved: list[object]) -> None:
    """It would find nothing, at a seventh of the cost of a submission."""
    app = FastAPI()
    app.include_router(jobs.router("blocks", prefix="/api/blocks"))
    async with jobs:
        assert await statuses(app) == [200, 202, 404, 404, 404]
    assert solved == []


def refuse() -> None:
    """A guard."""
    raise HTTPException(401)


def _on_the_router(app: FastAPI, router: APIRouter) -> str:
    app.include_router(router, dependencies=[Depends(refuse)])
    return "/api/blocks"


def _on_a_router_around(app: FastAPI, router: APIRouter) -> str:
    around = APIRouter(prefix="/v1", dependencies=[Depends(refuse)])
    around.include_router(router)
    app.include_router(around)
    return "/v1/api/blocks"


def _on_the_application(app: FastAPI, router: APIRouter) -> str:
    app.router.dependencies.append(Depends(refuse))
    app.include_router(router)
    return "/api/blocks"


@pytest.mark.parametrize("guard", [_on_the_router, _on_a_router_around, _on_the_application])
async def test_a_guard_holds_wherever_it_is_declared(
    jobs: Jobs, solved: list[object], guard: Callable[[FastAPI, APIRouter], str]
) -> None:
    """And the same router, included without it elsewhere, is open there."""
    router = jobs.router("blocks", prefix="/api/blocks")
    app, free = FastAPI(), FastAPI()
    prefix = guard(app, router)
    free.include_router(router)
    async with jobs:
        assert await statuses(app, prefix) == [401] * len(PATHS)
        assert len(solved) == len(PATHS)
        assert await statuses(free) == [200, 202, 404, 404, 404]


async def test_who_wraps_the_endpoint_is_not_passed_by(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools that trace FastAPI put a function of their own around the one it makes."""
    real, seen = fastapi.routing.get_request_handler, []

    def traced(*arguments: Any, **named: Any) -> Any:
        inner = real(*arguments, **named)

        async def outer(request: Any) -> Any:
            seen.append(request.url.path)
            return await inner(request)

        return outer

    monkeypatch.setattr(fastapi.routing, "get_request_handler", traced)
    app = FastAPI()
    app.include_router(jobs.router("blocks", prefix="/api/blocks"))
    async with jobs:
        await statuses(app)
    assert len(seen) == len(PATHS)


async def test_an_answer_has_the_headers_of_the_plain_application(jobs: Jobs) -> None:
    """Type, length and what the reply adds; and a body of exactly that length."""
    endpoints = Endpoints(jobs, jobs.handlers["blocks"], "/api/blocks")
    app = FastAPI()
    app.include_router(api_router(endpoints))
    async with jobs:
        answers = []
        for each in (app, jobs.asgi("blocks", prefix="/api/blocks")):
            transport = httpx.ASGITransport(app=each)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                answers.append(await client.post("/api/blocks/async", json={"n": 1}))
    ours, plain = answers
    assert (
        sorted(ours.headers) == sorted(plain.headers) == ["content-length", "content-type", "location", "retry-after"]
    )
    assert int(ours.headers["content-length"]) == len(ours.content)
