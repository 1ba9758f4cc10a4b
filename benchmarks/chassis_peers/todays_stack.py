"""
A service in the stack people assemble today, each part as its own documentation shows it: correlation id, prometheus
instrumentator, structlog in an HTTP middleware, slowapi, CORS, and the idempotency middleware of the tutorials.

slowapi has a limit for every route and one for this route, as golive has beside it: for the first its documentation
has two middlewares, of which this is the faster. Authentication is left out, although golive has it on.

``app`` has everything in memory; ``bare`` is the same endpoint with nothing around it.
"""

import hashlib
import json
import logging
import time

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIASGIMiddleware
from slowapi.util import get_remote_address

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    cache_logger_on_first_use=True,
)
log = structlog.get_logger()


class Order(BaseModel):
    item: str
    amount: int


bare = FastAPI()


@bare.post("/plain")
async def plain(order: Order) -> Order:
    return order


app = FastAPI()
limiter = Limiter(key_func=get_remote_address, default_limits=["100000000/second"])
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
answers: dict[str, tuple[int, bytes, str]] = {}


@app.middleware("http")
async def idempotency(request: Request, call_next):
    key = request.headers.get("idempotency-key")
    if key is None or request.method != "POST":
        return await call_next(request)
    body = await request.body()
    name = hashlib.sha256(f"{request.url.path}:{key}".encode() + body).hexdigest()
    if name in answers:
        status, body, kind = answers[name]
        return Response(body, status, media_type=kind)
    response = await call_next(request)
    body = b"".join([part async for part in response.body_iterator])
    answers[name] = (response.status_code, body, response.media_type or "application/json")
    return Response(body, response.status_code, dict(response.headers))


@app.middleware("http")
async def access_log(request: Request, call_next):
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=correlation_id.get())
    began = time.perf_counter()
    response = await call_next(request)
    log.info(
        "request",
        method=request.method,
        path=request.url.path,
        status=response.status_code,
        client=request.client.host,
        duration_ms=round((time.perf_counter() - began) * 1000, 2),
    )
    return response


app.add_middleware(SlowAPIASGIMiddleware)
app.add_middleware(CORSMiddleware, allow_origins=["https://app.example.com"], allow_methods=["*"], allow_headers=["*"])
app.add_middleware(CorrelationIdMiddleware)
Instrumentator().instrument(app).expose(app)


@app.post("/guarded")
@limiter.limit("100000000/second")
async def guarded(request: Request, order: Order) -> Order:
    return order


@app.get("/livez")
async def livez() -> Response:
    return Response(json.dumps({"status": "pass"}), media_type="application/json")
