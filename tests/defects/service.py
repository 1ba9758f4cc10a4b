"""
A small service that is healthy, and can be told to have one defect: the mutations the gates must find.

``python service.py PORT LOG [DEFECT]``; PORT 0 picks one and prints it. Built on Starlette, not on golive: the gates
look from outside only.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
import uuid

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

PORT, LOG = int(sys.argv[1]), sys.argv[2]
DEFECT = sys.argv[3] if len(sys.argv) > 3 else ""
ORIGIN = "https://shop.example"
# h11 answers what hides in a body whose two lengths disagree; httptools refuses it
PARSER = "h11" if DEFECT == "bad-input: a hidden request is answered" else "httptools"
STATE: dict[str, object] = {"started": time.time(), "busy": 0}
JOBS: dict[str, float] = {}
ORDERS: dict[str, tuple[bytes, str]] = {}


def log(text: str) -> None:
    if DEFECT != "redaction: personal data in the log":
        text = re.sub(r"[\w.]+(@|%40)[\w.]+|\+?\d{9,}|(sk_live|pw|eyJ)[\w.-]+", "[redacted]", text)
    with open(LOG, "a") as file:
        file.write(text + "\n")


async def health(request: Request) -> Response:
    if DEFECT == "health: slow":
        await asyncio.sleep(0.35)
    if DEFECT == "stability: health fails under load" and STATE["busy"] >= 3:
        return PlainTextResponse("busy", 503)
    body = {"ok": DEFECT != "health: wrong body", "mode": "mono"}
    return JSONResponse(body)


async def ready(request: Request) -> Response:
    return PlainTextResponse("starting", 503) if DEFECT == "startup: never ready" else PlainTextResponse("ready")


async def root(request: Request) -> Response:
    STATE["busy"] += 1
    try:
        body = await request.body()
        await asyncio.sleep(0.25 if body or request.headers.get("x-long") else 0)
        if body and DEFECT == "stability: a broken request restarts the process":
            STATE["started"] = time.time() + 5
        return start_page() if request.method == "GET" else PlainTextResponse("no", 405)
    finally:
        STATE["busy"] -= 1


def start_page() -> Response:
    return PlainTextResponse("start page of the shop")


async def metrics(request: Request) -> Response:
    lines = ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {STATE['started']}"]
    lines += ["# TYPE orders_total counter", f'orders_total{{tenant="a"}} {len(ORDERS) + 1}']
    if DEFECT == "metrics-registry: a metric registered twice":
        lines += lines[2:]
    if DEFECT == "metrics-registry: unparsable":
        lines.append("orders_total{tenant=a} many")
    if DEFECT != "metrics-registry: declared but never observed":
        lines += [
            "# TYPE db_query_seconds histogram",
            'db_query_seconds_bucket{le="+Inf"} 3',
            "db_query_seconds_count 3",
        ]
    else:
        lines += [
            "# TYPE db_query_seconds histogram",
            'db_query_seconds_bucket{le="+Inf"} 0',
            "db_query_seconds_count 0",
        ]
    return PlainTextResponse("\n".join(lines) + "\n")


async def submit(request: Request) -> Response:
    body = await request.body()
    log(f"submit {request.url} {body.decode('utf-8', 'replace')} {request.headers.get('authorization')}")
    if DEFECT == "bad-input: broken JSON is a server error":
        json.loads(body)
    try:
        document = json.loads(body, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError, RecursionError):
        return JSONResponse({"error": "bad JSON"}, 400)
    if not isinstance(document, dict):
        return JSONResponse({"error": "expected an object"}, 422)
    if DEFECT == "async-accept: works before it answers":
        await asyncio.sleep(1.2)
    job = str(uuid.uuid4())
    JOBS[job] = time.monotonic()
    if DEFECT == "async-accept: no way to follow":
        return JSONResponse({"ok": True}, 202)
    return JSONResponse({"ok": True, "jobId": job}, 200 if DEFECT == "async-accept: answers 200" else 202)


async def job_status(request: Request) -> Response:
    begun = JOBS.get(request.path_params["id"])
    if begun is None:
        if DEFECT == "job-lifecycle: unknown jobs exist":
            return JSONResponse({"status": "pending"})
        return JSONResponse({"error": "unknown job"}, 404)
    age = time.monotonic() - begun
    order = ["pending", "running", "succeeded"]
    if DEFECT == "job-lifecycle: goes backwards":
        order = ["running", "pending", "succeeded"]
    if DEFECT == "job-lifecycle: never ends":
        order = ["pending", "running", "running"]
    if DEFECT == "job-lifecycle: fails":
        order = ["pending", "running", "failed"]
    return JSONResponse({"status": order[0 if age < 0.25 else 1 if age < 0.5 else 2]})


async def reasoning(request: Request) -> Response:
    if not await request.body():
        return JSONResponse({"error": "body required"}, 422 if DEFECT == "routes: 422 for a missing body" else 400)
    return JSONResponse({"ok": True})


async def legacy(request: Request) -> Response:
    query = f"?{request.url.query}" if DEFECT != "routes: the redirect loses the query" else ""
    status = 302 if DEFECT == "routes: 302 instead of 307" else 307
    return RedirectResponse(f"/api/reasoning{query}", status)


async def orders(request: Request) -> Response:
    key, body = request.headers.get("idempotency-key"), await request.body()
    if not key:
        return JSONResponse({"error": "Idempotency-Key required"}, 400)
    if DEFECT == "idempotency: check and write are two steps":
        known = ORDERS.get(key)
        await asyncio.sleep(0.05)
    else:
        known = ORDERS.get(key)
    if DEFECT == "idempotency: the key is ignored":
        known = None
    if known is not None:
        if known[0] != body and DEFECT != "idempotency: another body is accepted":
            return JSONResponse({"error": "another body"}, 422)
        return Response(status_code=201 if known[0] != body else 204)
    ORDERS[key] = (body, str(uuid.uuid4()))
    return JSONResponse({"order": ORDERS[key][1]}, 201)


async def private(request: Request) -> Response:
    token = request.headers.get("authorization", "")
    accepted = token == "Bearer the-real-one" or (
        DEFECT == "auth: unsigned tokens are believed" and token.endswith(".")
    )
    return JSONResponse({"secret": 1}) if accepted or DEFECT == "auth: open" else JSONResponse({}, 401)


async def preflight(request: Request) -> Response:
    origin = request.headers.get("origin", "")
    allowed = origin == ORIGIN
    if DEFECT == "cors: compares the beginning":
        allowed = origin.startswith(ORIGIN)
    if DEFECT == "cors: echoes every origin":
        allowed = True
    if DEFECT == "cors: the shop itself is refused":
        allowed = False
    headers = {"access-control-allow-origin": origin} if allowed else {}
    response = Response(headers=headers)
    response.raw_headers.append((b"vary", b"Access-Control-Request-Method"))
    if DEFECT != "cors: no Vary":
        response.raw_headers.append((b"vary", b"Origin"))  # a line of its own, as servers do
    return response


async def report(request: Request) -> Response:
    if DEFECT == "load: slow":
        await asyncio.sleep(0.4)
    return PlainTextResponse(
        "report", 500 if DEFECT == "load: one in five fails" and uuid.uuid4().int % 5 == 0 else 200
    )


async def price(request: Request) -> Response:
    wrong = {"smoke: wrong status": 500}.get(DEFECT, 200)
    document = {"price": {"currency": "EUR", "cents": "120" if DEFECT == "smoke: a number as text" else 120}}
    headers = {} if DEFECT == "smoke: a header is missing" else {"x-snapshot-id": "s1"}
    return JSONResponse(document, wrong, headers)


async def slow(request: Request) -> Response:
    await asyncio.sleep(1.0)
    return PlainTextResponse("done")


async def anything(request: Request) -> Response:
    if DEFECT == "health: everything is 200":
        return JSONResponse({"ok": True, "mode": "mono"})
    return PlainTextResponse("no such path", 404)


live = [] if DEFECT == "health: no liveness path" else [Route("/healthz", health)]
app = Starlette(
    routes=[
        *live,
        Route("/health/ready", ready),
        Route("/", root, methods=["GET", "POST"]),
        Route("/metrics", metrics),
        Route("/jobs", submit, methods=["POST"]),
        Route("/jobs/{id}", job_status),
        Route("/api/reasoning", reasoning, methods=["POST"]),
        Route("/reasoning", legacy, methods=["POST"]),
        Route("/orders", orders, methods=["POST"]),
        Route("/private", private),
        Route("/api", preflight, methods=["OPTIONS"]),
        Route("/report", report),
        Route("/price", price),
        Route("/slow", slow),
        Route("/{path:path}", anything),
    ]
)


def stop_at_once(*_: object) -> None:
    os._exit(0)


def main() -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    config = uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False, http=PARSER)
    server = uvicorn.Server(config)
    if DEFECT.startswith("shutdown"):
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        deaf = DEFECT == "shutdown: SIGTERM is ignored"
        signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else stop_at_once)
    print(listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
