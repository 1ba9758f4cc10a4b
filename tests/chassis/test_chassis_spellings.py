"""No spelling that a router serves goes round a rule: each app is asked bare, and then in the chassis by a stranger."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from litestar import Litestar, asgi
from litestar import get as litestar_get
from litestar.openapi import OpenAPIConfig
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route

from golive import Chassis
from golive.chassis import ChassisSettings
from golive.chassis.policies import PolicyTable

SECRET = b"secret"
SETTINGS = ChassisSettings(access_log=False, api_key_hashes=(f"k:{hashlib.sha256(b'k').hexdigest()}:admin",))
Build = Callable[[Any], Any]


async def _open(request: Request) -> PlainTextResponse:
    return PlainTextResponse("open")


def _guarded(chassis: Chassis) -> Any:
    @chassis.requires("admin")
    async def secret(request: Request) -> PlainTextResponse:
        return PlainTextResponse(SECRET.decode())

    return secret


def _raw(chassis: Chassis) -> Any:
    @chassis.requires("admin")
    async def secret(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(SECRET.decode())(scope, receive, send)

    return secret


def _hosts(chassis: Chassis) -> Any:
    open_, secret = [Route("/data", _open)], [Route("/data", _guarded(chassis))]
    return Starlette(routes=[Host("pub.test", Starlette(routes=open_)), Host("admin.test", Starlette(routes=secret))])


def _typed_mounts(chassis: Chassis) -> Any:
    secret = _guarded(chassis)
    return Starlette(
        routes=[
            Mount("/{n:int}", routes=[Route("/data", _open)]),
            Mount("/{a:path}/deep", routes=[Route("/x/data", _open)]),
            Mount("/{name}", routes=[Route("/data", secret), Route("/{x}/data", secret)]),
        ]
    )


def _wrapped_mounts(chassis: Chassis) -> Any:
    inner = Starlette(routes=[Route("/data", _guarded(chassis))])
    return Starlette(
        routes=[
            Mount("/zip", app=GZipMiddleware(inner)),
            Mount("/own", app=Chassis(SETTINGS).wrap(inner)),
            Mount("/raw", app=_raw(chassis)),
            Mount("/both", app=GZipMiddleware(_raw(chassis))),
        ]
    )


def _fastapi(chassis: Chassis, **options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/data")
    @chassis.requires("admin")
    async def data() -> str:
        return SECRET.decode()

    return app


def _root_path(chassis: Chassis) -> Any:
    app = _fastapi(chassis, root_path="/api")
    app.mount("/sub", Starlette(routes=[Route("/data", _guarded(chassis)), Route("/{a}/data", _guarded(chassis))]))
    app.mount("/other", _fastapi(chassis, root_path="/other/deep"))
    return app


def _litestar(chassis: Chassis) -> Any:
    @litestar_get("/data", sync_to_thread=False)
    @chassis.requires("admin")
    def data() -> str:
        return SECRET.decode()

    @litestar_get("/items/{n:int}", sync_to_thread=False)
    @chassis.requires("admin")
    def item(n: int) -> str:
        return SECRET.decode()

    @litestar_get("/{a:str}/x", sync_to_thread=False)
    def open_(a: str) -> str:
        return "open"

    @litestar_get("/{b:path}", sync_to_thread=False)
    @chassis.requires("admin")
    def everything(b: str) -> str:
        return SECRET.decode()

    return Litestar(
        [data, item, open_, everything, asgi("/sub", is_mount=True)(_raw(chassis)), asgi("/one")(_raw(chassis))]
    )


def _litestar_below(chassis: Chassis) -> Any:
    return Starlette(routes=[Mount("/ls", app=_litestar(chassis))])


APPS: dict[str, Build] = {
    "fastapi": _fastapi,
    "fastapi with a root path": _root_path,
    "hosts": _hosts,
    "typed mounts": _typed_mounts,
    "wrapped mounts": _wrapped_mounts,
    "litestar": _litestar,
    "litestar below a mount": _litestar_below,
}
BASES = (
    *("/data", "/api/data", "/api/sub/data", "/sub/data", "/sub/q/data", "/api/sub/q/data", "/other/deep/data"),
    *("/api/other/deep/data", "/1/data", "/ab/data", "/ab/deep/x/data", "/zip/data", "/own/data", "/raw/x", "/both"),
    *("/raw", "/items/7", "/one", "/subway/x", "/q/x", "/q/r/s", "/ls/data", "/ls/items/7", "/ls/sub/x", "/ls/one"),
    *("/ls/x/ls/data",),
)
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda path: path,
    lambda path: path + "/",
    lambda path: path + "//",
    lambda path: "/" + path,
    lambda path: path.replace("/", "//"),
    lambda path: path.replace("/", "/./"),
    lambda path: "/x/.." + path,
    lambda path: "/p" + path,
    lambda path: path.replace("/", "%2f"),
    lambda path: "/" + path[1:].replace("/", "%2F"),
    lambda path: path.replace("a", "%61"),
    lambda path: path.replace("/", "/%2e/"),
    lambda path: path.upper(),
    lambda path: path + ";v=1",
    lambda path: path + "%0a",
    lambda path: path + "%00",
    lambda path: path + "%20",
    lambda path: path + "\\",
    lambda path: "http://admin.test" + path,
)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "get", "BREW")
HOSTS = (b"admin.test", b"ADMIN.test:80", b"pub.test")
OVERRIDE = [(b"x-http-method-override", b"GET"), (b"x-original-url", b"/data"), (b"x-forwarded-prefix", b"/api")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*root_path")
@pytest.mark.parametrize("name", APPS)
async def test_no_spelling_that_the_router_serves_goes_round_a_rule(name: str, call: Any):
    """What the bare app serves of a guarded route, it serves to nobody without credentials."""
    served = 0
    app = APPS[name](Chassis(SETTINGS))
    chassis = Chassis(SETTINGS)
    held = chassis.wrap(APPS[name](chassis))
    for path in dict.fromkeys(unquote(spell(base)) for base in BASES for spell in SPELLINGS):
        for method in METHODS if path in BASES else ("GET",):
            for host in HOSTS if name == "hosts" else HOSTS[:1]:
                for root_path in ("", "/p"):
                    asked = {"path": path, "root_path": root_path, "headers": [(b"host", host), *OVERRIDE]}
                    try:
                        bare = await call(app, method, **asked)
                    except Exception:  # the bare app has no last resort: it serves nothing then
                        continue
                    if SECRET in bare.body:
                        served += 1
                        answer = await call(held, method, **asked)
                        assert answer.status in (401, 404), (method, host, root_path, path)
                        assert SECRET not in answer.body
    assert served, "at least one path leads to the route"


@pytest.mark.parametrize(("host", "status"), [(b"pub.test", 200), (b"admin.test", 401), (b"ADMIN.TEST:80", 401)])
async def test_a_rule_below_a_host_is_that_hosts_alone(host: bytes, status: int, call: Any):
    """The open route of one host stays open, and hides no rule of another."""
    chassis = Chassis(SETTINGS)
    answer = await call(chassis.wrap(_hosts(chassis)), path="/data", headers=[(b"host", host)])
    assert answer.status == status


async def test_the_documentation_is_hidden_however_its_path_is_written(call: Any):
    """Below the root path an app names for itself as well."""
    chassis = Chassis(replace(SETTINGS, environment="production"))
    with pytest.warns(match="root_path"):
        app = chassis.wrap(FastAPI(root_path="/api"))
    for path in ("/docs", "/api/docs", "/api/openapi.json"):
        assert (await call(app, path=path)).status == 404


def _papers() -> list[tuple[Any, list[str]]]:
    """Apps that give their documentation addresses of their own, and those."""
    fastapi = FastAPI(docs_url="/swagger", openapi_url="/api.json", redoc_url="/re")
    fastapi.mount("/sub", FastAPI(docs_url="/hand"))
    litestar = Litestar([], openapi_config=OpenAPIConfig(title="shop", version="1", path="/papers"))
    return [
        (fastapi, ["/swagger", "/api.json", "/re", "/sub/hand", "/sub/openapi.json", "/sub/redoc"]),
        (litestar, ["/papers", "/papers/", "//papers/openapi.json", "/papers/swagger", "/papers/openapi.yaml"]),
    ]


@pytest.mark.parametrize(("app", "paths"), _papers(), ids=["fastapi", "litestar"])
async def test_documentation_at_addresses_of_its_own_is_hidden_in_production_too(app: Any, paths: list[str], call: Any):
    """It is known by who made the route, not by its path; in development it is there."""
    for path in paths:
        assert (await call(Chassis(replace(SETTINGS, require_auth=False)).wrap(app), path=path)).status == 200, path
        production = Chassis(replace(SETTINGS, require_auth=False, environment="production"))
        assert (await call(production.wrap(app), path=path)).status == 404, path


def test_a_mounted_function_has_its_rules_for_websockets_too():
    """An app that is mounted answers both, and so do its rules."""
    chassis = Chassis(SETTINGS)
    app = Starlette(routes=[Mount("/raw", app=_raw(chassis))])
    for method in ("GET", "BREW", "WEBSOCKET"):
        found = PolicyTable(app).find(method, "/raw/x")
        assert found is not None
        assert found[1].scopes == ("admin",)
    assert chassis.unheld(app) == []


def test_a_rule_above_a_wrapper_is_not_reported_as_lost():
    """The wrapper carries the mark of what it wraps; both rules hold on the route it hangs on."""
    chassis = Chassis(SETTINGS)
    inner = _guarded(chassis)

    async def wrapper(request: Request) -> Any:
        return await inner(request)

    wrapper.__dict__.update(inner.__dict__)
    limited = chassis.limit("1/second")(wrapper)
    assert chassis.unheld(Starlette(routes=[Route("/z", limited)])) == []
    assert [re.sub(r".*\.", "", name) for name in chassis.unheld(Starlette())] == ["wrapper"]
