"""The same chassis around Starlette and Litestar: rules on routes, names in metrics, errors, paths of their own."""

from __future__ import annotations

import pytest
from litestar import Litestar, get, post
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from golive import Chassis
from golive.chassis import ChassisSettings

SECRET = "a-secret-of-at-least-thirty-two-bytes"


def starlette_app(chassis: Chassis) -> Starlette:
    @chassis.limit("2/minute")
    async def item(request: Request) -> JSONResponse:
        return JSONResponse({"id": request.path_params["item_id"]})

    @chassis.requires("orders:read")
    async def orders(request: Request) -> JSONResponse:
        return JSONResponse([])

    async def boom(request: Request) -> JSONResponse:
        raise RuntimeError("password=hunter2")

    async def home(request: Request) -> JSONResponse:
        return JSONResponse("the app's")

    api = [Route("/items/{item_id:int}", item), Route("/orders", orders), Route("/boom", boom)]
    return Starlette(routes=[Route("/", home), Route("/api/status", home), Mount("/v1", routes=api)])


def litestar_app(chassis: Chassis) -> Litestar:
    @get("/v1/items/{item_id:int}")
    @chassis.limit("2/minute")
    async def item(item_id: int) -> dict[str, int]:
        return {"id": item_id}

    @get("/v1/orders")
    @chassis.requires("orders:read")
    async def orders() -> list[str]:
        return []

    @get("/v1/boom")
    async def boom() -> dict[str, int]:
        raise RuntimeError("password=hunter2")

    @get(["/", "/api/{name:str}"])
    async def home(name: str = "") -> str:
        return "the app's"

    return Litestar([item, orders, boom, home], openapi_config=None)


async def test_what_litestar_finds_wrong_is_a_problem_without_the_input(call):
    """Its own shape of a validation error becomes ``errors`` with a pointer."""

    @post("/things")
    async def things(data: dict[str, int]) -> dict[str, int]:
        return data

    app = Chassis(ChassisSettings(access_log=False)).wrap(Litestar([things], openapi_config=None))
    head = [(b"content-type", b"application/json")]
    answer = await call(app, "POST", "/things", headers=head, body=b'{"a": "hunter2"}')
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    [error] = answer.json()["errors"]
    assert (error["in"], error["pointer"]) == ("body", "/data")
    assert b"hunter2" not in answer.body


@pytest.mark.parametrize(
    ("build", "template"),
    [(starlette_app, "/v1/items/{item_id}"), (litestar_app, "/v1/items/{item_id}")],
    ids=["starlette", "litestar"],
)
async def test_rules_names_errors_and_own_paths_work_in_every_framework(call, build, template):
    """What a rule on a route says is held, the template is the label, a fault is a problem, and aliases give way."""
    chassis = Chassis(ChassisSettings(jwt_secret=SECRET, access_log=False))
    app = chassis.wrap(build(chassis))
    answers = [await call(app, path=f"/v1/items/{number}") for number in (1, 2, 3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert (await call(app, path="/v1/orders")).status == 401
    for path, status in (("/v1/boom", 500), ("/v1/nothing", 404)):
        answer = await call(app, path=path)
        assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status
        assert b"hunter2" not in answer.body
        assert answer.headers["x-request-id"]
    metrics = (await call(app, path="/metrics")).body.decode()
    assert f'http_requests_total{{method="GET",route="{template}",status="200"}} 2' in metrics
    assert [b"the app's" in (await call(app, path=path)).body for path in ("/", "/api/status")] == [True, True]
    assert (await call(app, path="/healthz")).json()["ok"] is True
    chassis.stop_background()
