"""
The adapter to FastAPI: an ``APIRouter`` with the routes, which are in the OpenAPI document.

They are ordinary FastAPI routes, so that ``include_router(..., dependencies=[Depends(require_user)])`` guards them
too. Where nothing is to be depended on, FastAPI's solver is not asked: it is a seventh of what a submission costs.
``jobs.asgi()`` has no solver at all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from golive.errors import ConfigError
from golive.jobs.http import Endpoints, Reply, raw_headers

try:
    from fastapi import APIRouter, Request, Response
    from fastapi.responses import StreamingResponse
    from fastapi.routing import APIRoute
except ImportError as error:
    raise ConfigError(
        "jobs.router() needs FastAPI, got no such package. pip install fastapi, or use jobs.asgi()."
    ) from error

_PROBLEM = {"description": "Problem document (RFC 9457)", "content": {"application/problem+json": {}}}


class _Route(APIRoute):
    """Calls its endpoint itself if neither the route nor whoever includes it has dependencies."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI, *Custom Request and APIRoute class*; asked anew wherever the route is included."""
        solved = super().get_route_handler()
        dependant = inspect.getclosurevars(solved).nonlocals.get("dependant")
        if dependant is None or dependant.dependencies:  # something of somebody's is in between, or to be solved
            return solved
        return dependant.call  # type: ignore[no-any-return]


class _Response(Response):
    """A reply as it is; its headers are bytes already."""

    def __init__(self, reply: Reply) -> None:
        self.status_code, self.body, self.background = reply.status, reply.body, None
        self.raw_headers = raw_headers(reply)


def api_router(endpoints: Endpoints) -> APIRouter:
    """See :meth:`golive.jobs.Jobs.router`."""
    name = endpoints.handler.name

    async def wait(request: Request) -> Response:
        return _response(await endpoints.answer(endpoints.wait(request.scope, request.receive)))

    async def submit(request: Request) -> Response:
        return _response(await endpoints.answer(endpoints.submit(request.scope, request.receive)))

    async def status(request: Request) -> Response:
        job_id = request.path_params["job_id"]
        return _response(await endpoints.answer(endpoints.status(request.scope, job_id)))

    wait.golive_jobs = endpoints.jobs  # type: ignore[attr-defined]  # how `golive worker` finds them in an app

    async def cancel(request: Request) -> Response:
        job_id = request.path_params["job_id"]
        return _response(await endpoints.answer(endpoints.cancel(request.scope, job_id)))

    async def events(request: Request) -> Response:
        job_id = request.path_params["job_id"]
        return _response(await endpoints.answer(endpoints.events(request.scope, job_id)))

    async def result(request: Request) -> Response:
        job_id = request.path_params["job_id"]
        return _response(await endpoints.answer(endpoints.result(request.scope, job_id)))

    router = APIRouter(prefix=endpoints.prefix, lifespan=endpoints.jobs.lifespan, tags=[name], route_class=_Route)
    body = {"requestBody": {"required": True, "content": {"application/json": {}}}}
    shared: dict[str, Any] = {"response_model": None}
    router.add_api_route(
        "/async", submit, methods=["POST"], status_code=202, summary=f"Submit a {name} job", openapi_extra=body,
        responses={400: _PROBLEM, 422: _PROBLEM}, **shared,
    )  # fmt: skip
    router.add_api_route(
        "", wait, methods=["POST"], summary=f"Run {name} and wait for its result", openapi_extra=body,
        responses={202: {"description": "Accepted, with Prefer: respond-async"}, 400: _PROBLEM}, **shared,
    )  # fmt: skip
    router.add_api_route(
        "/jobs/{job_id}", status, methods=["GET"], summary=f"Where a {name} job is", responses={404: _PROBLEM}, **shared
    )
    router.add_api_route(
        "/jobs/{job_id}/events", events, methods=["GET"], summary=f"The progress of a {name} job, as it changes",
        responses={200: {"content": {"text/event-stream": {}}}, 404: _PROBLEM}, **shared,
    )  # fmt: skip
    router.add_api_route(
        "/jobs/{job_id}", cancel, methods=["DELETE"], summary=f"Cancel a {name} job",
        responses={202: {"description": "Its worker will end it"}, 404: _PROBLEM, 409: _PROBLEM}, **shared,
    )  # fmt: skip
    router.add_api_route(
        "/jobs/{job_id}/cancel", cancel, methods=["POST"], summary=f"Cancel a {name} job, without DELETE",
        responses={202: {"description": "Its worker will end it"}, 404: _PROBLEM, 409: _PROBLEM}, **shared,
    )  # fmt: skip
    router.add_api_route(
        "/jobs/{job_id}/result", result, methods=["GET"], summary=f"The result of a {name} job, alone",
        responses={202: {"description": "Not yet"}, 303: {"description": "Where it is kept"}, 404: _PROBLEM,
                   410: _PROBLEM}, **shared,
    )  # fmt: skip
    return router


def _response(reply: Reply) -> Response:
    if reply.stream is None:
        return _Response(reply)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return StreamingResponse(reply.stream, reply.status, headers, media_type=reply.content_type.decode())
