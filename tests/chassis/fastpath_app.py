"""
An app with every kind of route FastAPI has, which notes what runs in it. For the comparison with the fast path.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from datetime import date
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.requests import HTTPConnection
from starlette.routing import Mount, Route

from golive.chassis.types import Receive, Scope, Send


class Line(BaseModel):
    name: str = Field(max_length=20)
    count: int = 1


class Order(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    item: str
    amount: int = Field(alias="howMany", ge=0, default=1)
    lines: list[Line] = []
    day: date | None = None
    secret: str = "s"

    @model_validator(mode="before")
    @classmethod
    def takes(cls, data: Any) -> Any:
        """Changes what it was given, as validators do."""
        if isinstance(data, dict):
            data.pop("ignored", None)
        return data

    @field_validator("item")
    @classmethod
    def not_bad(cls, item: str) -> str:
        """Raises: ValueError."""
        if item == "bad":
            raise ValueError("it is bad")
        return item


class Shown(BaseModel):
    item: str
    amount: float | None = None


class Odd(Exception):
    """The app has a handler for it."""


class Failing(Response):
    """Fails before it has begun."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise Odd("not begun")


class Odder(Odd):
    """And for its parent only."""


class Teapot(HTTPException):
    """FastAPI's own, made smaller."""


current: ContextVar[str] = ContextVar("current", default="none")


def make(note: Callable[..., None], **options: Any) -> FastAPI:
    """The app; what runs in it calls *note*."""
    app = FastAPI(**options)
    add_plain(app, note)
    add_answers(app, note)
    add_dependencies(app, note)
    add_errors(app, note)
    add_unusual(app, note)
    add_routers(app, note)
    return app


def add_plain(app: FastAPI, note: Callable[..., None]) -> None:
    @app.post("/orders")
    async def order(order: Order) -> Order:
        note("order", order)
        return order

    @app.get("/ping")
    async def ping() -> dict[str, bool]:
        note("ping", current.get())
        return {"ok": True}

    @app.get("/bare")
    async def bare():
        return {"day": date(2026, 1, 2), "set": {1}}

    @app.get("/items/{item}/{part:path}")
    async def part(item: Annotated[int, Path(ge=1)], part: str, q: Annotated[list[int] | None, Query()] = None) -> Any:
        return [item, part, q]

    @app.get("/items/{item}")
    async def item(
        item: int,
        x_tag: Annotated[str, Header()] = "none",
        mark: Annotated[str | None, Cookie()] = None,
        limit: int = 3,
    ) -> list[Any]:
        return [item, x_tag, mark, limit]

    @app.get("/items/first")
    async def never() -> str:
        return "hidden by the one above"

    @app.get("/things/first")
    async def first() -> str:
        return "first"

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        return name

    @app.post("/things/{name}")
    async def make_thing(name: str, order: Order) -> list[Any]:
        return [name, order]

    @app.post("/embedded")
    async def embedded(order: Annotated[Order, Body(embed=True)]) -> Order:
        return order

    @app.post("/two")
    async def two(order: Order, line: Line, n: Annotated[int, Body()] = 4) -> list[Any]:
        return [order, line, n]

    @app.put("/list")
    async def many(lines: list[Line]) -> int:
        return len(lines)

    @app.put("/anything")
    async def anything(value: Annotated[Any, Body()]) -> Any:
        return value

    @app.patch("/maybe")
    async def maybe(order: Order | None = None) -> Order | None:
        note("maybe", order)
        return order

    @app.api_route("/both", methods=["GET", "POST", "DELETE"])
    async def both(request: Request) -> str:
        return request.method


def add_answers(app: FastAPI, note: Callable[..., None]) -> None:
    @app.post("/created", status_code=201)
    async def created(order: Order) -> Order:
        return order

    @app.delete("/gone", status_code=204)
    async def gone() -> None:
        note("gone")

    @app.post("/shown", response_model=Shown, response_model_exclude_unset=True)
    async def shown(order: Order) -> Any:
        return order

    @app.post("/unset", response_model_exclude_unset=True, response_model_by_alias=False)
    async def unset(order: Order) -> Order:
        return order

    @app.post("/some", response_model_include={"item"}, response_model_exclude_none=True)
    async def some(order: Order) -> Order:
        return order

    @app.get("/wrong", response_model=Shown)
    async def wrong() -> Any:
        return {"amount": "many"}

    @app.get("/nan")
    async def nan():
        return {"value": float("nan")}

    @app.get("/html", response_class=HTMLResponse)
    async def html() -> str:
        return "<p>"

    @app.get("/made")
    async def made() -> JSONResponse:
        return JSONResponse({"made": 1}, status_code=203, headers={"x-made": "1"})

    @app.get("/away")
    async def away() -> RedirectResponse:
        return RedirectResponse("/ping")

    @app.get("/streamed")
    async def streamed(broken: bool = False) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            if broken:
                raise Odd("in the middle")
            yield b"two"

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/more")
    async def more(response: Response, status: int = 0) -> dict[str, int]:
        response.headers["x-more"] = "1"
        response.set_cookie("a", "b")
        if status:
            response.status_code = status
        return {"n": 1}

    @app.get("/status")
    async def status(response: Response, status: int = 200) -> dict[str, int]:
        response.status_code = status
        return {"status": status}

    @app.post("/later")
    async def later(tasks: BackgroundTasks, order: Order, broken: bool = False) -> Order:
        async def work() -> None:
            note("later")
            if broken:
                raise Odd("later")

        tasks.add_task(work)
        return order

    @app.get("/later-made")
    async def later_made(tasks: BackgroundTasks) -> PlainTextResponse:
        tasks.add_task(note, "later made")
        return PlainTextResponse("made")


def add_dependencies(app: FastAPI, note: Callable[..., None]) -> None:
    async def page(limit: int = 10, offset: Annotated[int, Query(ge=0)] = 0) -> tuple[int, int]:
        note("page", limit)
        current.set("page")
        return limit, offset

    def threaded(page: Annotated[tuple[int, int], Depends(page)]) -> int:
        note("threaded")
        return page[0]

    class User:
        def __init__(self, request: Request, page: Annotated[tuple[int, int], Depends(page)]) -> None:
            if request.headers.get("x-user") == "nobody":
                raise HTTPException(401, "who?", headers={"WWW-Authenticate": "Bearer"})
            self.name = request.headers.get("x-user", "anybody")

    async def yields() -> AsyncIterator[str]:
        note("enter")
        yield "y"
        note("leave")

    async def scoped(scopes: SecurityScopes, response: Response, connection: HTTPConnection) -> str:
        response.headers["x-scopes"] = scopes.scope_str
        return connection.url.path

    async def reads(request: Request, order: Order) -> str:
        return f"{await request.json()} {len(await request.body())} {order.item}"

    @app.get("/pages")
    async def pages(
        page: Annotated[tuple[int, int], Depends(page)],
        n: Annotated[int, Depends(threaded)],
        user: Annotated[User, Depends()],
    ) -> list[Any]:
        note("pages", current.get())
        return [page, n, user.name]

    @app.get("/bearer")
    async def bearer(token: Annotated[Any, Depends(HTTPBearer())]) -> str:
        return str(token.credentials)

    @app.get("/scoped")
    async def with_scopes(path: Annotated[str, Security(scoped, scopes=["a", "b"])]) -> str:
        return path

    @app.get("/yielding")
    async def yielding(value: Annotated[str, Depends(yields)]) -> str:
        note("yielding")
        return value

    @app.post("/reads", dependencies=[Depends(page)])
    async def with_body(read: Annotated[str, Depends(reads)], order: Order) -> str:
        return read

    app.state.page = page


def add_errors(app: FastAPI, note: Callable[..., None]) -> None:
    @app.exception_handler(Odd)
    async def odd(request: Request, error: Odd) -> JSONResponse:
        body = await request.json() if request.headers.get("content-length", "0") != "0" else None
        note("handled", type(error).__name__, body, request.scope["endpoint"].__name__)
        return JSONResponse({"odd": str(error), "body": body}, 418)

    @app.exception_handler(KeyError)
    def threaded(request: Request, error: KeyError) -> PlainTextResponse:
        return PlainTextResponse(f"no {error}", 404)

    @app.post("/raises/{kind}")
    async def raises(kind: str, order: Order) -> None:
        kinds: dict[str, BaseException] = {
            "odd": Odd("x"), "odder": Odder("y"), "key": KeyError("k"), "value": ValueError("v"),
            "http": HTTPException(409, {"why": 1}, headers={"x-why": "1"}), "teapot": Teapot(418),
            "cancelled": asyncio.CancelledError(), "group": ExceptionGroup("g", [Odd("z")]),
        }  # fmt: skip
        raise kinds[kind]

    @app.post("/raises-alone")
    async def raises_alone(order: Order) -> Order:
        raise Odd(order.item)

    @app.post("/raises-in-answer")
    async def raises_in_answer(order: Order) -> Failing:
        return Failing()

    @app.post("/raises-http")
    async def raises_http(order: Order) -> Order:
        raise HTTPException(400, "no")

    @app.post("/raises-any")
    async def raises_any(order: Order) -> Order:
        raise ZeroDivisionError


def add_unusual(app: FastAPI, note: Callable[..., None]) -> None:
    class Timed(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Awaitable[Any]]:  # type: ignore[override]
            handler = super().get_route_handler()

            async def timed(request: Request) -> Any:
                response = await handler(request)
                response.headers["x-timed"] = "1"
                return response

            return timed

    @app.get("/threaded")
    def threaded() -> str:
        note("threaded")
        return "in a thread"

    @app.get("/lines")
    async def lines() -> AsyncIterator[Line]:
        yield Line(name="a")

    @app.post("/limited", max_body_size=10)
    async def limited(value: Annotated[Any, Body()]) -> Any:
        return value

    @app.websocket("/socket")
    async def socket(websocket: Any) -> None:
        note("socket")

    timed = APIRouter(route_class=Timed)

    @timed.get("/timed")
    async def endpoint() -> str:
        return "timed"

    app.include_router(timed)

    async def plain(request: Request) -> Response:
        return PlainTextResponse(f"plain {request.path_params}")

    app.router.routes.append(Route("/starlette/{x}", plain))
    inner = FastAPI()

    @inner.post("/orders/{n}")
    async def inside(n: int, order: Order, request: Request) -> list[Any]:
        return [n, order, request.scope["root_path"], request.app is inner]

    app.mount("/inner", inner)
    app.router.routes.append(Mount("/mounted", routes=[Route("/{x}", plain)]))

    @app.get("/mounted/behind")
    async def behind() -> str:
        return "never"

    @app.get("/seen/{number:int}")
    async def seen(number: int, request: Request) -> dict[str, Any]:
        scope = request.scope
        return {
            "params": request.path_params, "route": scope["route"].path, "endpoint": scope["endpoint"].__name__,
            "app": scope["app"] is app, "router": scope["router"] is app.router, "url": str(request.url_for("ping")),
        }  # fmt: skip


def add_routers(app: FastAPI, note: Callable[..., None]) -> None:
    async def outer() -> str:
        note("outer")
        return "outer"

    leaf, middle = APIRouter(prefix="/leaf"), APIRouter(dependencies=[Depends(outer)])

    @leaf.get("/{name}")
    async def name(name: str, request: Request) -> list[Any]:
        context = request.scope["fastapi"]["effective_route_context"]
        included = request.scope["fastapi"]["included_router"]
        return [name, context.path_format, request.scope["route"].path, included.include_context.prefix]

    @leaf.post("/orders", status_code=202)
    async def order(order: Order) -> Order:
        return order

    middle.include_router(leaf)
    app.include_router(middle, prefix="/v1")
    app.include_router(middle, prefix="/v2/{tenant}", responses={404: {}})

    @app.get("/v1/leaf/late")
    async def late() -> str:
        return "hidden by the router before"
