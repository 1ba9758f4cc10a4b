"""The service of the acceptance cases: a FastAPI app with everything of the chassis on, asked over the wire."""

import asyncio
import logging
import sys
from collections import Counter
from contextlib import asynccontextmanager
from types import SimpleNamespace

from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.routing import Mount, Route

from golive import Chassis
from golive.chassis.auth import by_principal, tenant_of
from golive.chassis.requestid import request_id

chassis = Chassis.from_env()
chassis = Chassis.from_env()  # M5: a module that is imported twice makes it twice
pool = chassis.pool() if chassis.settings.database_url else None
runs: Counter[str] = Counter()
background: list[str] = []
mode = {"odd": "pass", "runs": 0}


@asynccontextmanager
async def life(_app):
    if pool is not None:
        await pool.execute("create table if not exists bookings (place text)")
    yield {"opened": "by the lifespan"}


app = FastAPI(lifespan=life)


if pool is not None:
    chassis.check("db", timeout=1.0, every=0.1, fail=3)(pool.check)


@chassis.check('odd "name"\n', timeout=0.5, every=0.05, fail=3)
async def odd():
    mode["runs"] += 1
    if mode["odd"] == "hang":
        await asyncio.sleep(60)
    if mode["odd"] == "fail" or (mode["odd"] == "flap" and mode["runs"] % 3 == 0):
        raise OSError("postgres://user:hunter2@db is away")


@app.post("/check/{word}")
@chassis.public
async def check(word: str):
    mode["odd"] = word
    return mode


@app.get("/plain")
async def plain(request: Request):
    client = request.client.host if request.client else None
    return {"id": request_id(), "address": client, "opened": request.state.opened, "tasks": len(asyncio.all_tasks())}


@app.get("/sync")
def sync(after: BackgroundTasks):
    after.add_task(lambda: background.append(request_id()))
    return {"id": request_id()}


@app.get("/background")
async def seen():
    return background


@app.get("/fail")
async def fail(text: str = "card 4111 1111 1111 1111, password=hunter2"):
    secret = "local-hunter2"
    raise ValueError(text + secret[:0])


@app.get("/cancelled")
async def cancelled():
    raise asyncio.CancelledError


@app.get("/group")
async def group():
    raise ExceptionGroup("several", [KeyError("first"), OSError("second")])


@app.get("/exit")
async def leave():
    sys.exit(7)


@app.get("/half")
async def half():
    async def parts():
        yield b"x" * 10
        await asyncio.sleep(0.05)
        raise ValueError("after the start")

    return StreamingResponse(parts())


@app.get("/status/{status}")
async def status(status: int):
    raise HTTPException(status)


class Order(BaseModel):
    amount: int


@app.post("/validated")
async def validated(order: Order):
    return order


@app.get("/own-cors")
async def own_cors(response: Response):
    response.headers["access-control-allow-origin"] = "*"
    return {}


@app.get("/write")
async def write(text: str):
    logging.getLogger("shop").warning("said %s", text, extra={"password": text, "nested": {"note": text}})
    return {}


class Odd:
    def __repr__(self):
        raise RuntimeError("no words")


@app.get("/write-odd")
async def write_odd():
    loop: dict = {}
    loop["self"] = loop
    log = logging.getLogger("shop")
    log.warning("odd", extra={"loop": loop, "nan": float("nan"), "half": "\ud800", "bytes": b"\xff", "odd": Odd()})
    log.warning("long %s", "y" * 100_000)
    return {}


@app.get("/limited")
@chassis.limit("5/minute", name="five")
async def limited():
    return {}


@app.get("/often")
@chassis.limit("2/6s", name="often")
async def often():
    return {}


def by_header(scope):
    return dict(scope["headers"]).get(b"x-caller", b"").decode("latin-1")


@app.get("/by-header")
@chassis.limit("1/minute", by=by_header, name="header")
async def limited_by_header():
    return {}


async def work(request: Request, name: str):
    runs[name] += 1
    body = await request.body()
    if b"slow" in body:
        await asyncio.sleep(0.4)
    return {"run": runs[name]}


@app.post("/orders", status_code=201)
@chassis.idempotent()
async def orders(request: Request, response: Response):
    response.set_cookie("session", "secret")
    return await work(request, "orders")


@app.post("/other", status_code=201)
@chassis.idempotent()
async def other(request: Request):
    return await work(request, "other")


@app.patch("/orders", status_code=201)
@chassis.idempotent()
async def patched(request: Request):
    return await work(request, "patched")


@app.put("/orders", status_code=201)
@chassis.idempotent()
async def put(request: Request):
    return await work(request, "put")


@app.post("/waiting", status_code=201)
@chassis.idempotent(in_flight="wait")
async def waiting(request: Request):
    return await work(request, "waiting")


@app.post("/ingest", status_code=201)
@chassis.idempotent(on_duplicate="204", scope=tenant_of, source="till")
async def ingest(request: Request):
    return await work(request, "ingest")


@app.post("/required", status_code=201)
@chassis.idempotent(required=True)
async def required(request: Request):
    return await work(request, "required")


@app.post("/typed", status_code=201)
@chassis.idempotent()
async def typed(order: Order, request: Request):
    return await work(request, "typed")


@app.post("/flaky", status_code=201)
@chassis.idempotent()
async def flaky(request: Request):
    runs["flaky"] += 1
    if runs["flaky"] == 1:
        raise OSError("away")
    return {"run": runs["flaky"]}


@app.post("/flaky-kept", status_code=201)
@chassis.idempotent(save_5xx=True)
async def flaky_kept():
    runs["flaky-kept"] += 1
    raise OSError("away")


@app.post("/big")
@chassis.idempotent()
async def big():
    runs["big"] += 1
    return Response(b"x" * 1_100_000)


@app.post("/forgotten", status_code=201)
@chassis.idempotent(ttl="3s")
async def forgotten(request: Request):
    return await work(request, "forgotten")


@app.post("/derived", status_code=201)
@chassis.idempotent(on_duplicate="204", derive=True)
async def derived(request: Request):
    return await work(request, "derived")


@app.post("/bookings", status_code=201)
@chassis.idempotent()
async def bookings(request: Request, fail: bool = False):
    runs["bookings"] += 1
    async with pool.acquire() as connection, connection.transaction():
        await chassis.once.within(connection)
        await connection.execute("insert into bookings values ('window')")
        if fail and runs["bookings"] == 1:
            raise OSError("after the work")
    return {"run": runs["bookings"]}


@app.get("/bookings")
async def booked():
    return await pool.fetchval("select count(*) from bookings")


@app.post("/guarded", status_code=201)
@chassis.requires("orders:write")
@chassis.limit("2/minute", by=by_principal, name="principal")
@chassis.idempotent()
async def guarded(request: Request):
    return await work(request, "guarded")


@app.get("/private")
@chassis.requires("orders:read")
async def private(request: Request):
    return {"subject": request.state.principal.subject, "tenant": request.state.principal.tenant}


@app.get("/runs")
async def counted():
    return runs


@app.get("/hold")
async def hold(seconds: float = 1.0):
    async with pool.acquire() as connection:
        await asyncio.sleep(seconds)
        return await connection.fetchval("select 1")


@app.get("/slow")
async def slow(seconds: float = 1.0):
    await asyncio.sleep(seconds)
    return {}


class Refused(Exception):
    response = SimpleNamespace(status_code=404)


@app.get("/breaker/{name}/{how}")
async def breaker(name: str, how: str):
    async with chassis.breaker(name, calls_min=4, open_for="2s"):
        runs[f"breaker {name}"] += 1
        if how == "refused":
            raise Refused
        if how == "fail":
            raise OSError("the other side is down")
        if how == "slow":
            async with asyncio.timeout(0.01):
                await asyncio.sleep(1)
        if how == "probe":
            await asyncio.sleep(1.5)
    return {}


@app.websocket("/socket")
async def socket(socket: WebSocket):
    await socket.accept()
    await socket.receive_text()


inner = APIRouter(prefix="/items")


@inner.get("/{item}")
async def item(item: str):
    return item


nested = APIRouter(prefix="/v1")
nested.include_router(inner)
app.include_router(nested, prefix="/api")


async def leaf(request: Request):
    return Response(b"leaf")


below = FastAPI()
below.add_api_route("/reports/{report}", leaf)
app.mount("/sub", below)
app.router.routes.append(Mount("/many", routes=[Route(f"/r{number}", leaf) for number in range(120)]))
own = chassis.metrics.counter("shop_orders_total", "Orders.", ("tenant",))
own = chassis.metrics.counter("shop_orders_total", "Orders.", ("tenant",))
own.inc('quote " backslash \\ newline \n end')
app = chassis.wrap(app)
