"""Rules hold on the route that the app's router chooses, wherever it hangs and however its path is written."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from litestar import Litestar
from litestar import get as litestar_get
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from golive import Chassis
from golive.chassis import ChassisSettings
from golive.chassis.policies import Policy, PolicyTable
from golive.chassis.report import rules_of

KEYS = tuple(
    f"{name}:{hashlib.sha256(name.encode()).hexdigest()}:{scopes}"
    for name, scopes in (("clerk", "read"), ("boss", "admin"))
)


def key(name: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-api-key", name.encode())]


@pytest.fixture
def chassis() -> Chassis:
    return Chassis(ChassisSettings(access_log=False, api_key_hashes=KEYS))


@pytest.fixture
def app(chassis: Chassis) -> Any:
    """Routers in routers, a mounted app, plain routes inside both, parameters of every kind."""
    guarded = chassis.requires("admin")

    async def plain(request: Any) -> Any:
        return PlainTextResponse("plain")

    plain_guarded = guarded(plain)
    inner = APIRouter(prefix="/items")

    @inner.get("/{item}")
    @guarded
    async def item(item: str) -> str:
        return item

    @inner.get("/files/{rest:path}")
    @guarded
    async def files(rest: str) -> str:
        return rest

    inner.add_route("/plain", plain_guarded)
    inner.routes.append(Mount("/below", routes=[Route("/{x:int}/{y:path}", plain_guarded)]))
    middle = APIRouter(prefix="/v1")
    middle.include_router(inner)
    app = FastAPI()
    app.include_router(middle, prefix="/api/{tenant}")
    below = FastAPI()
    again = APIRouter()

    @again.post("/x/{number:int}")
    @guarded
    async def numbered(number: int) -> int:
        return number

    below.include_router(again, prefix="/deep")
    app.mount("/sub", below)

    @app.get("/orders/public")
    async def public() -> str:
        return "public"

    @app.get("/orders/{order}")
    @guarded
    async def order(order: str) -> str:
        return order

    @app.get("/orders/hidden")
    async def hidden() -> str:
        return "never served: the route before takes it"

    @app.get("/fixed")
    @guarded
    async def fixed() -> str:
        return "fixed"

    @app.websocket("/ws/{room}")
    @guarded
    async def room(socket: WebSocket, room: str) -> None:
        await socket.accept()

    return chassis.wrap(app)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/acme/v1/items/7"),
        ("GET", "/api/acme/v1/items/files/a/b/c"),
        ("GET", "/api/acme/v1/plain"),
        ("GET", "/api/acme/v1/below/5/a/b"),
        ("POST", "/sub/deep/x/5"),
        ("GET", "/orders/7"),
        ("GET", "/orders/hidden"),
        ("GET", "/fixed"),
    ],
)
async def test_a_rule_holds_wherever_the_route_hangs(app: Any, call: Any, method: str, path: str):
    """401 without credentials, 403 without the scope, served with it."""
    assert (await call(app, method, path)).status == 401
    assert (await call(app, method, path, headers=key("clerk"))).status == 403
    assert (await call(app, method, path, headers=key("boss"))).status == 200, "the path leads to the route"


@pytest.mark.parametrize("path", ["/fixed\n", "/orders/7\n", "/orders/a\nb", "/api/acme/v1/items/7\n", "/fixed\n\n"])
async def test_a_newline_in_the_path_leads_around_no_rule(app: Any, call: Any, path: str):
    """Starlette takes a path with a newline at its end for the path without it. Refused, or not found; never served."""
    assert (await call(app, "GET", path)).status in (401, 404)
    assert (await call(app, "GET", path, headers=key("clerk"))).status in (403, 404)


async def test_a_rule_holds_inside_middleware_and_below_a_root_path(chassis: Chassis, call: Any):
    """Middleware around the app hides its routes from nobody, and a root path is whole segments."""
    inner = FastAPI()
    guarded = chassis.requires("admin")(lambda: "served")
    inner.add_api_route("/orders", guarded)
    inner.add_api_route("/apix/orders", guarded)
    app = chassis.wrap(GZipMiddleware(CORSMiddleware(inner)))
    for path, root_path in (("/orders", ""), ("/api/orders", "/api"), ("/apix/orders", "/api")):
        assert (await call(app, path=path, root_path=root_path)).status == 401
        assert (await call(app, path=path, root_path=root_path, headers=key("boss"))).json() == "served"
    assert (await call(app, path="/healthz")).json()["ok"] is True, "the app has no such route"


async def test_a_rule_on_a_class_holds_for_every_method(chassis: Chassis, call: Any):
    """Starlette's endpoints that are classes say no methods; made-up ones lead around nothing either."""

    @chassis.requires("admin")
    class Orders(HTTPEndpoint):
        async def get(self, request: Any) -> Any:
            return PlainTextResponse("served")

    app = chassis.wrap(Starlette(routes=[Route("/orders", Orders), Route("/orders/{order}", Orders)]))
    for path in ("/orders", "/orders/7"):
        assert [(await call(app, method, path)).status for method in ("GET", "POST", "BREW")] == [401] * 3
        assert (await call(app, "GET", path, headers=key("boss"))).body == b"served"
        assert (await call(app, "POST", path, headers=key("boss"))).status == 405


def test_litestar_prefers_what_is_fixed_from_the_left(chassis: Chassis):
    """``/a/c/{y}`` before ``/a/{x}/b``, whatever was declared first."""

    @litestar_get("/a/{x:str}/b")
    async def first(x: str) -> str:
        return x

    @litestar_get("/a/c/{y:str}")
    @chassis.requires("admin")
    async def second(y: str) -> str:
        return y

    table = PolicyTable(Litestar([first, second], openapi_config=None))
    assert table.find("GET", "/a/d/b") is None
    found = table.find("GET", "/a/c/b")
    assert found is not None
    assert found[1].scopes == ("admin",)


async def test_a_route_before_keeps_its_own_rules(app: Any, call: Any):
    """``/orders/public`` has none, although ``/orders/{order}`` would take it."""
    assert (await call(app, "GET", "/orders/public")).json() == "public"
    assert (await call(app, "GET", "/nowhere")).status == 404


async def test_a_websocket_needs_the_scopes_of_its_route(app: Any):
    """In the headers of its handshake."""

    async def opened(headers: list[tuple[bytes, bytes]]) -> str:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        scope = {"type": "websocket", "path": "/ws/7", "headers": headers, "query_string": b"", "root_path": ""}
        await app({**scope, "client": None, "scheme": "ws", "subprotocols": []}, receive, send)
        return str(sent[0])

    app.chassis.lifecycle.serve()
    assert await opened([]) == "websocket.close"
    assert await opened(key("clerk")) == "websocket.close"
    assert await opened(key("boss")) == "websocket.accept"


def test_the_rules_of_included_routers_are_in_the_list(app: Any):
    """What ``rules_of`` shows is what holds."""
    rules = rules_of(app.app)
    assert "GET /api/{tenant}/v1/items/{item}" in rules
    assert "POST /sub/deep/x/{number}" in rules
    assert rules["WEBSOCKET /ws/{room}"]["scopes"] == ["admin"]


async def test_a_plain_route_inside_a_router_is_measured_by_its_template(app: Any, call: Any):
    """And not by nothing."""
    await call(app, "GET", "/api/acme/v1/plain", headers=key("boss"))
    text = (await call(app, "GET", "/metrics")).body.decode()
    assert 'route="/api/{tenant}/v1/plain",status="200"' in text


async def test_a_route_that_another_hides_is_named_when_serving_begins(chassis: Chassis, keep_log: Any):
    """The trap of ``/blocks/{id}`` before ``/blocks/async``; what only overlaps is not meant."""
    lines, app, router = keep_log(chassis), FastAPI(openapi_url=None), APIRouter(prefix="/blocks")
    for path in ("/{block}", "/async", "/{block}/parts/{part:int}", "/{block}/parts/all", "/{block}/parts/{name}"):
        router.add_api_route(path, lambda: None)
    app.include_router(router, prefix="/api")
    app.add_api_route("/api/blocks/async", lambda: None, methods=["POST"])
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return inbox.pop(0)

    async def send(message: Any) -> None: ...

    await chassis.wrap(app)({"type": "lifespan", "state": {}}, receive, send)
    (line,) = [line for line in lines if line["event"] == "routes_shadowed"]
    assert line["routes"] == ["GET /api/blocks/async is hidden by /api/blocks/{block}. Declare it first."]


async def test_rules_that_no_route_has_are_said_when_serving_begins(chassis: Chassis, keep_log: Any):
    """An app whose routes we cannot read must not look protected; a wrapper that keeps the mark is no such case."""

    @chassis.requires("admin")
    async def lost() -> None: ...

    @chassis.requires("admin")
    async def found() -> None: ...

    @functools.wraps(found)
    async def wrapped() -> None:
        await found()

    lines, app = keep_log(chassis), FastAPI()
    app.add_api_route("/found", wrapped)
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return inbox.pop(0)

    async def send(message: Any) -> None: ...

    await chassis.wrap(app)({"type": "lifespan", "state": {}}, receive, send)
    (line,) = [line for line in lines if line["event"] == "rules_not_held"]
    assert line["level"] == "error"
    assert [name.rpartition(".")[2] for name in line["endpoints"]] == ["lost"]


def test_what_runs_once_is_known_before_the_first_request(chassis: Chassis):
    """Several workers and a store in memory are refused for routes in routers too."""
    router = APIRouter()

    @router.post("/orders")
    @chassis.idempotent()
    async def orders() -> None: ...

    app = FastAPI()
    app.include_router(router, prefix="/api")
    table = PolicyTable(app)
    assert table.idempotent == ["/api/orders"]
    found = table.find("POST", "/api/orders")
    assert found is not None
    assert isinstance(found[1], Policy)
