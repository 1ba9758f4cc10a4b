"""
The fast path answers what FastAPI answers: two copies of one app, one of them on it, are asked the same.

Compared is everything an ASGI server sees (messages, their order, headers, bytes, what is raised) and what ran: the
endpoint, dependencies, background tasks and exception handlers note themselves.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import linecache
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import fastapi.routing
import pytest
from fastapi import APIRouter, FastAPI, Form
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Host, Match, Route
from tests.chassis.fastpath_app import make

from golive import Chassis
from golive.chassis import ChassisSettings, fastapitext, fastpath
from golive.chassis.report import fast_routes_of
from golive.chassis.types import ASGIApp, Message, Receive, Scope, Send

JSON = (b"content-type", b"application/json")
ORDER: dict[str, Any] = {"item": "book", "howMany": 3, "lines": [{"name": "a"}], "ignored": 1}
ODDITIES = ("bad", {}, {"item": "bad"}, {"item": 1, "howMany": -1}, None, [], 7, {"item": "x", "day": "2026-13-01"})


class Outside:
    """A middleware that is in every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-outside", b"1")]}
            await send(message)

        await self.app(scope, receive, marked)


class Both:
    """The app twice, and what ran in either."""

    def __init__(self, change: Callable[[FastAPI], None] | None = None, **options: Any) -> None:
        self.notes: list[Any] = []
        self.plain = make(lambda *what: self.notes.append(what), **options)
        self.fast = make(lambda *what: self.notes.append(what), **options)
        for app in (self.plain, self.fast):
            if change is not None:
                change(app)
        fastpath.install(self.fast)

    def ask(self, app: FastAPI, method: str, target: str, headers: Any, parts: list[Any], root_path: str) -> Any:
        """Everything that *app* does about one request."""
        self.notes.clear()
        path, _, query = target.partition("?")
        length = [(b"content-length", b"%d" % sum(map(len, parts)))] if parts and isinstance(parts[0], bytes) else []
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": root_path + path, "raw_path": path.encode(), "query_string": query.encode(), "client": ("::1", 1),
            "root_path": root_path, "headers": [(b"host", b"a.example"), *headers, *length],
            "server": ("a.example", 80), "state": {},
        }  # fmt: skip
        given = iter(parts or [b""])
        left = len(parts or [b""])
        sent: list[Message] = []

        async def receive() -> Message:
            nonlocal left
            left -= 1
            part = next(given, None)
            if isinstance(part, Exception):
                raise part
            if part is None or part == "left":
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": left > 0}

        async def send(message: Message) -> None:
            sent.append(dict(message))

        raised: BaseException | None = None
        try:
            asyncio.run(app(scope, receive, send))
        except BaseException as error:
            raised = error
        route = getattr(scope.get("route"), "path", None)
        return {
            "sent": sent,
            "raised": [
                type(raised),
                str(raised),
                *(type(getattr(raised, f"__{of}__", None)) for of in ("cause", "context")),
            ],
            "ran": [str(note) for note in self.notes],
            "scope": (route, scope.get("path_params"), getattr(scope.get("endpoint"), "__name__", None)),
            "received": left,
        }

    def same(
        self, method: str, target: str, *parts: Any, headers: Any = (JSON,), root_path: str = ""
    ) -> dict[str, Any]:
        """Ask both, hold that they do the same, and return what they do."""
        expected = self.ask(self.plain, method, target, headers, list(parts), root_path)
        found = self.ask(self.fast, method, target, headers, list(parts), root_path)
        assert found == expected
        return expected


@pytest.fixture(scope="module")
def both() -> Both:
    return Both()


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """``asyncio.run`` of these tests leaves no loop behind for the next."""
    yield
    asyncio.set_event_loop(None)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


GETS = """
    /ping /bare /items/1/a/b?q=1&q=2 /items/0/a /items/1/ /items/2 /items/x /items/first /items/2?limit=x
    /things/first /things/second /things/a%20b /things/ /things /both /wrong /nan /html /made /away /streamed
    /streamed?broken=1 /more /status /status?status=202 /status?status=204 /more?status=202 /more?status=204
    /later-made /pages /pages?limit=2&offset=-1
    /pages?limit=x /bearer /scoped /yielding /threaded /lines /timed /starlette/1 /mounted/behind /mounted/1/2
    /seen/7 /seen/x /v1/leaf/a /v2/t/leaf/a /v1/leaf/late /openapi.json /docs /nowhere /ping/ //ping /orders /gone
""".split()  # noqa: SIM905
GETS += ["/ping\n", "/things/a\n", "/things/first\n"]
POSTS = """
    /orders /things/n /embedded /two /both /created /shown /unset /some /later /later?broken=1 /reads
    /reads?limit=x /raises/odd /raises/odder /raises/key /raises/value /raises/http /raises/teapot
    /raises/cancelled /raises/group /raises/nothing /raises-alone /raises-http /raises-in-answer /raises-any /limited
    /inner/orders/3 /inner/orders/x /v1/leaf/orders /v2/t/leaf/orders /ping /pages
""".split()  # noqa: SIM905


@pytest.mark.parametrize("target", GETS)
def test_a_request_without_a_body_is_answered_as_by_fastapi(both: Both, target: str) -> None:
    both.same("GET", target, headers=())
    both.same("GET", target, headers=((b"x-user", b"nobody"), (b"authorization", b"Bearer t"), (b"cookie", b"mark=1")))
    both.same("HEAD", target, headers=((b"x-tag", b"t"), (b"x-tag", b"u")))


@pytest.mark.parametrize("target", POSTS)
def test_a_request_with_a_body_is_answered_as_by_fastapi(both: Both, target: str) -> None:
    both.same("POST", target, body(ORDER))
    both.same("POST", target)
    for oddity in ODDITIES:
        both.same("POST", target, body(oddity))
        both.same("POST", target, body({"order": oddity, "line": {"name": "x"}, "n": 2}))


@pytest.mark.parametrize(
    "kind",
    [b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/vnd.a+json", b"text/plain", b"",
     b"application/jsonx", b"application", b"application/json;", b" application/json",
     b"application/json, text/plain", b"\xff/json"],
)  # fmt: skip
def test_what_counts_as_json_is_what_fastapi_takes_for_it(both: Both, kind: bytes) -> None:
    for target in ("/orders", "/reads", "/maybe"):
        both.same("POST", target, body(ORDER), headers=((b"content-type", kind),))
    both.same("PUT", "/anything", b"text", headers=((b"content-type", kind),))
    both.same("PUT", "/anything", b"1", headers=((b"content-type", kind), JSON))


@pytest.mark.parametrize(
    "parts",
    [(b"{",), (b"\xff\xfe",), (body(ORDER)[:9], body(ORDER)[9:]), (b"", body(ORDER)), (b"[" * 100_000,), (b"NaN",),
     (b"1" * 5000,), (b"1", b"2"), ("left",), (body(ORDER)[:9], "left"), (OSError("gone"),),
     (fastapi.HTTPException(413, "too much"),), (b'"\\ud800"',), ('{"item": "é"}'.encode("utf-16"),)],
)  # fmt: skip
def test_a_body_that_is_none_or_comes_in_parts_or_not_at_all_is_left_to_fastapi(both: Both, parts: Any) -> None:
    for method, target in (("POST", "/orders"), ("POST", "/reads"), ("PUT", "/anything"), ("PATCH", "/maybe")):
        both.same(method, target, *parts)
    both.same("POST", "/raises/value", *parts)  # also in what it was raised in the course of


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "post", "MADEUP"])
def test_the_method_decides_as_in_fastapi(both: Both, method: str) -> None:
    for target in (
        "/orders",
        "/both",
        "/gone",
        "/maybe",
        "/list",
        "/anything",
        "/things/first",
        "/ping",
        "/starlette/1",
    ):
        both.same(method, target, body([ORDER]))


def test_a_root_path_is_left_out_as_by_fastapi(both: Both) -> None:
    for target in ("/ping", "/seen/7", "/v1/leaf/a", "/wrong", "/inner/orders/3", "/nowhere"):
        both.same("GET", target, root_path="/below")
    both.same("POST", "/inner/orders/3", body(ORDER), root_path="/below")
    elsewhere = Both(root_path="/api")
    for target in ("/ping", "/api/ping", "/apiping", "/api"):
        elsewhere.same("GET", target)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["item", "howMany", "lines", "name"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(method="POST", target="/orders", parts=[b"{}"], kind=b"application/json", extra=[])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    target=st.sampled_from([*GETS, *POSTS, "/anything", "/maybe", "/list"])
    | st.lists(st.sampled_from(["items", "things", "first", "1", "v1", "leaf", "", "inner", "a b"])).map("/".join),
    parts=st.lists(json_values.map(body) | st.binary(max_size=8), max_size=3),
    kind=st.sampled_from([b"application/json", b"application/x+json", b"text/plain", b""]),
    extra=st.lists(
        st.tuples(
            st.sampled_from([b"x-tag", b"x-user", b"cookie", b"accept"]),
            st.sampled_from([b"nobody", b"mark=1", b"\xe9"]),
        ),
        max_size=3,
    ),
)
def test_made_up_requests_are_answered_as_by_fastapi(
    both: Both, method: str, target: str, parts: list[bytes], kind: bytes, extra: list[tuple[bytes, bytes]]
) -> None:
    both.same(method, "/" + target.lstrip("/"), *parts, headers=[(b"content-type", kind), *extra])


def test_each_route_says_whether_it_is_fast_and_the_rest_why_not(both: Both) -> None:
    found = fast_routes_of(both.fast)
    assert {name: why for name, why in found.items() if why != "fast"} == {
        "GET /yielding": "it has a dependency with yield",
        "GET /threaded": "its endpoint is not an async function",
        "GET /lines": "its endpoint is not an async function",
        "POST /limited": "a limit of its own stands before its handler",
        "GET /timed": "its class has a handler of its own",
    }
    assert found["POST /orders"] == found["GET /v2/{tenant}/leaf/{name}"] == found["POST /inner/orders/{n}"] == "fast"
    assert len(found) == 52


def test_a_fast_route_is_not_served_by_fastapis_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison would hold for a fast path that does nothing."""
    both = Both()
    asked: list[str] = []
    router: Any = both.fast.router.middleware_stack
    itself = router._itself

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await itself(scope, receive, send)

    monkeypatch.setattr(router, "_itself", counted)
    for target in ("/ping", "/items/2", "/v1/leaf/a", "/pages", "/made"):
        assert both.same("GET", target)["sent"][0]["status"] in (200, 203)
    assert asked == []
    both.same("GET", "/threaded")
    assert asked == ["/threaded"]


def test_middleware_of_the_app_stays_around_its_routes() -> None:
    def change(app: FastAPI) -> None:
        app.add_middleware(Outside)
        app.add_middleware(BaseHTTPMiddleware, dispatch=passes)

    async def passes(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    both = Both(change)
    assert (b"x-outside", b"1") in both.same("GET", "/ping")["sent"][0]["headers"]
    for target in ("/orders", "/raises/odd", "/raises/value", "/later", "/reads"):
        both.same("POST", target, body(ORDER))


def test_a_dependency_is_overridden_as_in_fastapi(both: Both) -> None:
    try:
        for app in (both.plain, both.fast):
            app.dependency_overrides[app.state.page] = lambda: (7, 7)
        assert b"[[7,7],7" in both.same("GET", "/pages")["sent"][1]["body"]
    finally:
        for app in (both.plain, both.fast):
            app.dependency_overrides.clear()
    assert b"[[10,0],10" in both.same("GET", "/pages")["sent"][1]["body"]


def test_a_route_that_is_added_later_or_to_an_included_router_is_found() -> None:
    both = Both()
    both.same("GET", "/late")
    for app in (both.plain, both.fast):
        app.get("/late")(answer)
        included = next(route for route in app.router.routes if hasattr(route, "original_router"))
        included.original_router.get("/later-inside")(answer)
    assert both.same("GET", "/late")["sent"][0]["status"] == 200
    assert both.same("GET", "/later-inside")["sent"][0]["status"] == 200
    both.same("GET", "/ping")
    for app in (both.plain, both.fast):
        app.router.routes.insert(0, Route("/ping", chosen))
    assert both.same("GET", "/ping")["sent"][1]["body"] == b"chosen"


async def answer() -> str:
    return "late"


class Chosen(Route):
    """A route whose class looks at more than the path."""

    def matches(self, scope: Any) -> Any:
        chosen = (b"x-tag", b"t") in scope["headers"]
        return super().matches(scope) if chosen else (Match.NONE, {})


async def chosen(request: Any) -> Any:
    return fastapi.responses.PlainTextResponse("chosen")


class Elsewhere(APIRouter):
    """A router of a class of its own."""


@pytest.mark.parametrize("first", [Chosen("/ping", chosen), Host("b.example", FastAPI())])
def test_behind_a_route_that_takes_requests_in_its_own_way_nothing_is_fast(first: Any) -> None:
    both = Both(lambda app: app.router.routes.insert(0, first))
    both.same("GET", "/ping", headers=((b"x-tag", b"t"),))
    both.same("GET", "/ping", headers=())
    assert set(fast_routes_of(both.fast).values()) == {
        f"it is behind a {type(first).__name__}, which may take its requests"
    } | {
        "fast"  # of the app that is mounted
    }


def test_a_form_is_left_to_fastapi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi.dependencies.utils.ensure_multipart_is_installed", lambda: None)
    app = FastAPI()

    async def form(name: Annotated[str, Form()]) -> str:
        return name

    app.post("/form")(form)
    assert fast_routes_of(app) == {"POST /form": "it takes a form"}


def test_a_router_and_an_app_of_classes_of_their_own_are_left_to_fastapi() -> None:
    class Own(FastAPI):
        pass

    app = Own()
    app.get("/a")(answer)
    assert fast_routes_of(app) == {"GET /a": "the app is not of FastAPI's own class"}
    outer = FastAPI()
    own = Elsewhere()
    own.get("/a")(answer)
    outer.include_router(own)
    outer.get("/b")(answer)
    assert set(fast_routes_of(outer).values()) == {"it is behind a Elsewhere, which may take its requests"}


@pytest.mark.parametrize("replaced", ["fastapi.routing.get_request_handler", "fastapi.routing.serialize_response"])
def test_a_part_of_fastapi_that_somebody_replaced_is_not_gone_around(
    replaced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fastapitext.obstacle() == ""

    def traced(*args: Any, **options: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(replaced, traced)
    assert "somebody replaced a part of it" in fastapitext.obstacle()


def test_the_text_that_is_compared_is_that_of_the_functions_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``inspect`` finds the same, and takes far longer for it."""
    codes: list[Any] = []
    monkeypatch.setattr(fastapitext, "_mark", lambda *found: codes.extend(found) or "")
    fastapitext.text_of_fastapi()
    assert len(codes) > 30
    for code in codes:
        lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
        assert "".join(fastapitext._block(lines)).rstrip() == inspect.getsource(code).rstrip()


def test_with_a_fastapi_that_was_not_compared_each_route_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    app = FastAPI(openapi_url=None)
    app.get("/a")(answer)
    monkeypatch.setattr(fastapitext, "COMPARED", frozenset())
    why = f"FastAPI {fastapi.__version__}: it was not compared with the fast path, or somebody replaced a part of it."
    assert fast_routes_of(app) == {"GET /a": why}
    assert Chassis().report()["fast_path"] == {"on": True, "obstacle": why}


def test_an_app_of_another_framework_says_so() -> None:
    assert fast_routes_of(Starlette(routes=[Route("/a", chosen)])) == {"GET,HEAD /a": "the app is not FastAPI"}


@pytest.mark.parametrize("on", [True, False])
def test_the_chassis_installs_it_with_the_first_request_unless_told_not_to(on: bool) -> None:
    app = FastAPI()
    app.get("/a")(answer)
    chassis = Chassis(ChassisSettings(fast_path=on, access_log=False))
    wrapped = chassis.wrap(app)
    assert not isinstance(app.router.middleware_stack, fastpath.FastPath)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/a", "headers": [], "query_string": b"", "http_version": "1.1"}
    asyncio.run(wrapped(scope, receive, send))
    assert sent[0]["status"] == 200
    assert isinstance(app.router.middleware_stack, fastpath.FastPath) is on
    assert chassis.report()["fast_path"] == {"on": on, "obstacle": ""}
