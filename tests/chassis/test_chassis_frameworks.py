"""The same chassis around Starlette and Litestar: rules on routes, names in metrics, errors, paths of their own."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from litestar import Controller, Litestar, Response, Router, WebSocket, get, post, websocket
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


def controller(chassis: Chassis, runs: list[str]) -> Litestar:
    """A Litestar controller behind a router: what its routes promise is on its methods."""

    class Orders(Controller):
        path = "/orders"

        @post("/{shop:str}", status_code=201)
        @chassis.idempotent()
        async def create(self, shop: str, data: dict[str, int]) -> Response[dict[str, Any]]:
            runs.append(shop)
            await asyncio.sleep(0.02)
            return Response({"shop": shop, "run": len(runs)}, headers={"x-own": "1"})

        @post("/ingest")
        @chassis.idempotent(on_duplicate="204", required=True)
        async def ingest(self, data: dict[str, int]) -> dict[str, int]:
            runs.append("ingest")
            return data

        @get("/files/{rest:path}")
        @chassis.requires("orders:read")
        async def files(self, rest: str) -> str:
            return rest

        @get("/{shop:str}")
        async def show(self, shop: str) -> str:
            return shop

        @websocket("/live")
        @chassis.requires("orders:read")
        async def live(self, socket: WebSocket) -> None:
            await socket.accept()

    return Litestar([Router("/api", route_handlers=[Orders])], openapi_config=None)


async def test_idempotent_requests_to_a_litestar_controller_run_once(call):
    """Of five at once one runs; a retry is the same answer; another body is 422; 204 and 400 as elsewhere."""
    chassis, runs = Chassis(ChassisSettings(access_log=False, jwt_secret=SECRET)), []
    app = chassis.wrap(controller(chassis, runs))

    async def send(path: str, body: bytes = b'{"a": 1}', key: bytes | None = b"k1") -> Any:
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        return await call(app, "POST", path, headers=[*head, *([(b"idempotency-key", key)] if key else [])], body=body)

    answers = await asyncio.gather(*(send("/api/orders/north") for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409]
    again = await send("/api/orders/north")
    assert (again.status, again.json(), again.headers["x-own"]) == (201, {"shop": "north", "run": 1}, "1")
    assert again.headers["idempotency-replayed"] == "true"
    assert (await send("/api/orders/north", b'{"a": 2}')).status == 422
    assert (await send("/api/orders/south", key=b"k2")).json()["run"] == 2
    assert (await send("/api/orders/south", key=None)).json()["run"] == 3
    assert [(await send("/api/orders/ingest", key=key)).status for key in (b"i1", b"i1", None)] == [201, 204, 400]
    assert runs == ["north", "south", "south", "ingest"]
    fault = await send("/api/orders/north", b'{"a": "x"}', b"k3")
    assert (fault.status, fault.headers["content-type"]) == (400, "application/problem+json")


async def test_what_a_litestar_controller_requires_is_required_and_its_names_are_templates(call):
    """Parameters with slashes and websockets too."""
    hashed = "ci:" + hashlib.sha256(b"key").hexdigest() + ":orders:read"
    chassis = Chassis(ChassisSettings(access_log=False, api_key_hashes=(hashed,)))
    app = chassis.wrap(controller(chassis, []))
    key = [(b"x-api-key", b"key")]
    assert (await call(app, path="/api/orders/files/a/b")).status == 401
    assert (await call(app, path="/api/orders/files/a/b", headers=key)).status == 200
    assert (await call(app, path="/api/orders/north")).status == 200
    text = (await call(app, path="/metrics")).body.decode()
    assert 'route="/api/orders/{shop}",status="200"' in text
    opened = []
    for headers in ([], key):
        said: list[str] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any, said: list[str] = said) -> None:
            said.append(message["type"])

        scope = {"type": "websocket", "path": "/api/orders/live", "raw_path": b"/api/orders/live", "headers": headers}
        rest = {"query_string": b"", "root_path": "", "client": ("127.0.0.1", 1), "scheme": "ws", "subprotocols": []}
        await app({**scope, **rest, "server": ("t", 80), "state": {}, "extensions": {}}, receive, send)
        opened.append(said[0])
    assert opened == ["websocket.close", "websocket.accept"]
