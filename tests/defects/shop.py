"""
A small shop, healthy or with one planted defect, for gates that look at answers only: it runs inside the test.

Built on Starlette, not on golive. ``make_app(defect, folder)``; two shops with the same *shared* are replicas.
"""

import asyncio
import itertools
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

LIMIT = 6
PAGE = '<!doctype html><link rel="stylesheet" href="/style.css"><script src="app.js"></script><h1>Shop</h1>'


class Shop:
    def __init__(self, defect: str, folder: Path, shared: dict[str, Any]) -> None:
        self.defect, self.folder, self.shared = defect, folder, shared
        self.began, self.looks = time.monotonic(), itertools.count()
        self.items: dict[str, str] = {}
        self.keys: dict[str, bool] = {}
        self.tokens: set[str] = set()
        self.jobs: dict[str, tuple[float, list[int]]] = {}
        self.paths: Counter[str] = Counter()
        self.duplicates = 0
        self.lock = asyncio.Lock()

    def has(self, defect: str) -> bool:
        return self.defect == defect

    async def page(self, request: Request) -> Response:
        page = PAGE
        if self.has("pages: a script is missing"):
            page += '<script src="/gone.js"></script>'
        return HTMLResponse(page)

    async def script(self, request: Request) -> Response:
        api = "https://api.shop.example"
        if self.has("pages: the bundle calls another API"):
            api = "https://staging.shop.example"
        if self.has("pages: the bundle calls a developer's machine"):
            api = "http://localhost:8000"
        return Response(f"fetch('{api}/orders')", media_type="text/javascript")

    async def style(self, request: Request) -> Response:
        return Response("h1 { color: teal }", media_type="text/css")

    async def ok(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def probe(self, request: Request) -> Response:
        if self.has("probes: every other probe misses") and next(self.looks) % 2:
            return PlainTextResponse("busy", 503)
        return PlainTextResponse("ok")

    async def metrics(self, request: Request) -> Response:
        seconds = time.monotonic() - self.began
        memory = 50e6 * (1 + (seconds if self.has("soak: memory grows") else 0))
        files = 20 + (int(seconds * 200) if self.has("soak: files stay open") else 0)
        lines = [f"process_resident_memory_bytes {memory}", f"process_open_fds {files}"]
        lines += [f'ingest_dedup_total{{tenant="a"}} {self.duplicates}']
        lines += [f'http_requests_total{{path="{path}"}} {count}' for path, count in self.paths.items()]
        return PlainTextResponse("\n".join(lines) + "\n")

    async def price(self, request: Request) -> Response:
        body: dict[str, Any] = {"cents": 120, "currency": "EUR", "at": time.time()}
        if self.has("contract: a field has another type"):
            body["cents"] = "120"
        if self.has("contract: a field is gone"):
            del body["currency"]
        return JSONResponse(body)

    async def limited(self, request: Request) -> Response:
        caller = "all"
        if self.has("rate-limit: an invented address is believed"):
            caller = request.headers.get("x-forwarded-for", "all")
        counts = Counter() if self.has("rate-limit: there is none") else self.shared.setdefault("counts", Counter())
        if self.has("rate-limit: each replica has its own"):
            counts = self.shared.setdefault(id(self), Counter())
        if counts[caller] >= LIMIT:
            retry = {} if self.has("rate-limit: nobody says when to come back") else {"retry-after": "60"}
            return PlainTextResponse("slow down", 429, retry)
        counts[caller] += 1
        return PlainTextResponse("ok")

    async def create(self, request: Request) -> Response:
        tenant, key = request.headers.get("x-tenant"), request.headers.get("idempotency-key")
        if tenant is None:
            return JSONResponse({}, 401)
        if key:
            scoped = key if self.has("tenants: their keys meet") else f"{tenant}/{key}"
            if scoped in self.keys:
                return Response(status_code=204)
            self.keys[scoped] = True
        item = str(uuid.uuid4())
        self.items[item] = tenant
        return JSONResponse({"id": item}, 201)

    async def read(self, request: Request) -> Response:
        owner, tenant = self.items.get(request.path_params["id"]), request.headers.get("x-tenant")
        if tenant is None:
            return JSONResponse({}, 401)
        if owner != tenant and not (owner and self.has("tenants: one reads what another made")):
            known = owner is not None and self.has("tenants: a stranger is told that it exists")
            return JSONResponse({"error": "no such item"}, 403 if known else 404)
        return JSONResponse({"id": request.path_params["id"]})

    async def login(self, request: Request) -> Response:
        token = uuid.uuid4().hex
        self.tokens.add(token)
        return JSONResponse({"user": {"token": token}})

    async def me(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.tokens or self.has("anonymous: a route is open"):
            return JSONResponse({"name": "jane"})
        return JSONResponse({}, 401)

    async def logout(self, request: Request) -> Response:
        if not self.has("flow: a token outlives its sign-out"):
            self.tokens.discard(request.headers.get("authorization", "").removeprefix("Bearer "))
        return Response(status_code=204)

    async def openapi(self, request: Request) -> Response:
        paths: dict[str, Any] = {"/price": {"get": {}}, "/me": {"get": {}}, "/items": {"post": {}}}
        if self.has("openapi: a route nobody committed"):
            paths["/admin"] = {"get": {}}
        if self.has("openapi: no description"):
            return JSONResponse({}, 404)
        return JSONResponse({"openapi": "3.1.0", "paths": paths})

    async def boom(self, request: Request) -> Response:
        if self.has("error-capture: the caller waits for the sink"):
            await asyncio.sleep(0.8)
        if not self.has("error-capture: nothing arrives"):
            with (self.folder / "errors.ndjson").open("a") as file:
                file.write(f'{{"error": "boom", "url": "{request.url}"}}\n')
        return JSONResponse({"error": "internal"}, 500)

    async def ingest(self, request: Request) -> Response:
        key = request.headers["idempotency-key"]
        if self.has("duplicates: check and write are two steps"):
            known = key in self.keys
            await asyncio.sleep(0.02)
        else:
            known = key in self.keys
        self.keys[key] = True
        if known:
            self.duplicates += not self.has("duplicates: the counter stands still")
            return Response(status_code=204)
        if self.has("duplicates: slow under load"):
            await asyncio.sleep(0.3)
        return JSONResponse({}, 201)

    async def submit(self, request: Request) -> Response:
        job = str(uuid.uuid4())
        self.jobs[job] = (time.monotonic(), [])
        return JSONResponse({"jobId": job}, 202)

    async def job(self, request: Request) -> Response:
        begun, polls = self.jobs[request.path_params["id"]]
        polls.append(1)
        done = (
            len(polls) > 3
            if self.has("background: only a request wakes the worker")
            else time.monotonic() - begun > 0.2
        )
        return JSONResponse({"status": "succeeded" if done else "running"})

    async def refresh(self, request: Request) -> Response:
        async with self.lock:
            await asyncio.sleep(0.6)
        return JSONResponse({"rows": 3}, 202)

    async def write(self, request: Request) -> Response:
        if self.has("soak: one in three fails") and next(self.looks) % 3 == 0:
            return JSONResponse({}, 500)
        if self.has("slow-work: a write waits for the refresh"):
            async with self.lock:
                return JSONResponse({}, 201)
        return JSONResponse({}, 201)

    async def anything(self, request: Request) -> Response:
        return PlainTextResponse("no such path", 404)


def make_app(defect: str, folder: Path, shared: dict[str, Any]) -> Any:
    shop = Shop(defect, folder, shared)
    routes = [
        Route("/", shop.page),
        Route("/app.js", shop.script),
        Route("/style.css", shop.style),
        Route("/healthz", shop.ok),
        Route("/health/ready", shop.ok),
        Route("/platform", shop.probe),
        Route("/metrics", shop.metrics),
        Route("/price", shop.price),
        Route("/limited", shop.limited),
        Route("/items", shop.create, methods=["POST"]),
        Route("/items/{id}", shop.read),
        Route("/login", shop.login, methods=["POST"]),
        Route("/me", shop.me),
        Route("/logout", shop.logout, methods=["POST"]),
        Route("/openapi.json", shop.openapi),
        Route("/boom", shop.boom),
        Route("/ingest", shop.ingest, methods=["POST"]),
        Route("/jobs", shop.submit, methods=["POST"]),
        Route("/jobs/{id}", shop.job),
        Route("/refresh", shop.refresh, methods=["POST"]),
        Route("/write", shop.write, methods=["POST"]),
        Route("/{path:path}", shop.anything, methods=["GET", "POST", "PUT"]),
    ]
    app = Starlette(routes=routes)

    async def with_request_id(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        known = {"/", "/healthz", "/metrics", "/price", "/ingest"}
        own = defect == "cardinality: one series per path"
        shop.paths[scope["path"] if own or scope["path"] in known else "__other__"] += 1
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        good = 0 < len(given) <= 128 and all(each.isalnum() or each in "-_." for each in given)
        if defect == "request-id: whatever comes is echoed":
            good = bool(given)
        number = given if good and defect != "request-id: the caller's is thrown away" else uuid.uuid4().hex
        if defect == "request-id: errors carry none" and scope["path"].startswith("/golive-no-such"):
            number = ""

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start" and number:
                message = {**message, "headers": [*message["headers"], (b"x-request-id", number.encode("latin-1"))]}
            await send(message)

        await app(scope, receive, sending)

    return with_request_id
