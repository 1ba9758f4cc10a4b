"""Request ids, the log line and the last-resort answer (cases T1 to T4, T6, T7, E3 to E5, L2 to L4), in process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time

import pytest
from fastapi import BackgroundTasks, FastAPI

from golive import Chassis
from golive.chassis import ChassisSettings
from golive.chassis.log import LogSink, encode
from golive.chassis.requestid import request_id


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Request-ID", b"the app's own")]})
    await send({"type": "http.response.body", "body": request_id().encode()})


async def test_t1_without_an_id_the_request_gets_one_everywhere(call, keep_log):
    """32 hexadecimal digits: in the header, in the log and in the app's hands; the app cannot contradict it."""
    chassis = Chassis()
    lines = keep_log(chassis)
    answer = await call(chassis.wrap(hello))
    identity = answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", identity)
    assert answer.body.decode() == lines[0]["request_id"] == identity
    assert [name for name, _ in answer.pairs].count("x-request-id") == 1


async def test_t2_a_well_formed_id_is_kept(call):
    """The caller's id connects its log with ours."""
    answer = await call(Chassis().wrap(hello), headers=[(b"x-request-id", b"Order-1.2_3")])
    assert answer.headers["x-request-id"] == "Order-1.2_3"


@pytest.mark.parametrize("bad", [b"x" * 5000, "é".encode(), b"a b", b"a\r\nset-cookie: x", b"", b'"quoted"'])
async def test_t3_a_malformed_id_is_replaced_said_once_and_never_reflected(call, bad, keep_log):
    """What cannot be trusted is not repeated, in no header, body or log line."""
    chassis = Chassis()
    lines = keep_log(chassis)
    answer = await call(chassis.wrap(hello), headers=[(b"x-request-id", bad)])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert [line.get("request_id_replaced") for line in lines] == [True]
    assert not bad or bad.decode("latin-1") not in str(lines)


async def test_t4_two_ids_are_none(call):
    """Two headers contradict each other; a new id is the deterministic way out."""
    headers = [(b"x-request-id", b"one"), (b"x-request-id", b"two")]
    assert re.fullmatch("[0-9a-f]{32}", (await call(Chassis().wrap(hello), headers=headers)).headers["x-request-id"])


async def test_t6_every_kind_of_answer_carries_the_id(call, keep_log):
    """Not found, not allowed, invalid, raised, refused, preflight and probe alike."""
    app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: int):
        raise ValueError("hunter2")

    chassis = Chassis()
    keep_log(chassis)
    wrapped = chassis.wrap(app)
    asked = [
        ("GET", "/items/1", 500),
        ("GET", "/items/x", 422),
        ("GET", "/nope", 404),
        ("DELETE", "/items/1", 405),
        ("OPTIONS", "/items/1", 405),
        ("GET", "/livez", 200),
        ("POST", "/livez", 405),
    ]
    for method, path, status in asked:
        answer = await call(wrapped, method, path, headers=[(b"x-request-id", b"id-1")])
        assert (answer.status, answer.headers["x-request-id"]) == (status, "id-1"), path
    chassis.lifecycle.drain()
    answer = await call(wrapped, "GET", "/items/1", headers=[(b"x-request-id", b"id-1")])
    assert (answer.status, answer.headers["x-request-id"], answer.json()["request_id"]) == (503, "id-1", "id-1")
    chassis.stop_background()


async def test_t7_background_tasks_and_threads_see_the_id_and_the_next_request_does_not(call):
    """The context travels with the work, and ends with it."""
    app, seen = FastAPI(), []

    @app.get("/thread")
    def thread(background: BackgroundTasks):
        background.add_task(lambda: seen.append(request_id()))
        seen.append(request_id())

    wrapped = Chassis().wrap(app)
    await call(wrapped, path="/thread", headers=[(b"x-request-id", b"first")])
    assert seen == ["first", "first"]
    assert request_id() == ""


async def test_e3_an_unhandled_exception_is_a_generic_500_and_a_log_line_with_its_trace(call, keep_log):
    """The caller learns nothing of our insides, the log everything, under the same id."""
    chassis = Chassis()
    lines = keep_log(chassis)

    async def app(scope, receive, send):
        raise ValueError("hunter2")

    answer = await call(chassis.wrap(app), path="/x")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json() == {
        "type": "about:blank", "title": "Internal Server Error", "status": 500,
        "detail": "The service failed to answer.", "request_id": answer.headers["x-request-id"],
    }  # fmt: skip
    assert [line["event"] for line in lines] == ["unhandled_exception", "request"]
    assert "ValueError: hunter2" in lines[0]["trace"]
    assert {line["request_id"] for line in lines} == {answer.headers["x-request-id"]}


async def test_an_app_that_never_answers_is_a_500(call):
    """Returning without an answer is a defect of the app; the caller still gets one."""

    async def app(scope, receive, send):
        return

    assert (await call(Chassis().wrap(app))).status == 500


async def test_e4_an_exception_after_the_start_aborts_the_connection_and_counts_as_500(keep_log):
    """A half-sent 200 must not look whole: the server is told to cut."""
    chassis = Chassis()
    lines = keep_log(chassis)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("cut")

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "http_version": "1.1"}

    async def send(message):
        pass

    with pytest.raises(ValueError, match="cut"):
        await chassis.wrap(app)(scope, None, send)
    assert [(line["event"], line.get("status")) for line in lines] == [("unhandled_exception", None), ("request", 500)]
    assert chassis.lifecycle.in_flight == 0
    chassis.stop_background()


async def test_e5_a_cancelled_request_is_no_error(call, keep_log):
    """A hang-up is the caller's decision, not a defect."""
    chassis = Chassis()
    lines = keep_log(chassis)

    async def app(scope, receive, send):
        await asyncio.sleep(3600)

    task = asyncio.create_task(call(chassis.wrap(app)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(line["event"], line["status"], line["level"]) for line in lines] == [("request", 499, "info")]
    assert chassis.lifecycle.in_flight == 0


async def test_a_websocket_is_counted_and_refused_while_draining(keep_log):
    """Other scopes pass through the same guard."""
    chassis = Chassis()
    keep_log(chassis)
    held = []

    async def app(scope, receive, send):
        held.append(chassis.lifecycle.in_flight)

    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    chassis.lifecycle.serve()
    await chassis.wrap(app)({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
    chassis.lifecycle.drain()
    await chassis.wrap(app)({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
    assert held == [1]
    assert chassis.lifecycle.in_flight == 0
    assert sent == [{"type": "websocket.close", "code": 1012, "reason": "service restart"}]


async def test_paths_that_only_begin_like_an_allowed_one_are_refused_while_draining(call):
    """``/statusx`` is not ``/status``, and ``/livezx`` is no probe."""
    chassis = Chassis(ChassisSettings(access_log=False, drain_allow=("/status",)))

    async def ok(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = chassis.wrap(ok)
    chassis.lifecycle.drain()
    statuses = [
        (await call(app, path=path)).status for path in ("/status", "/statusx", "/status/x", "/livez", "/livezx")
    ]
    assert statuses == [200, 503, 503, 200, 503]


async def test_l2_a_path_cannot_forge_a_log_line(call, keep_log):
    """Newlines and quotes stay inside their string."""
    chassis = Chassis()
    lines = keep_log(chassis)
    await call(chassis.wrap(hello), path='/x\n{"level":"fatal"}')
    assert len(lines) == 1
    assert lines[0]["path"] == '/x\n{"level":"fatal"}'


class Broken:
    def __repr__(self):
        raise RuntimeError("no")


CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize("value", ["\ud800", float("nan"), CYCLE, Broken(), b"\xff", {1, 2}, object()])
def test_l3_whatever_is_logged_is_one_valid_json_line(value):
    """Surrogates, NaN, cycles, bytes and objects that cannot be shown."""
    line = encode({"event": "x", "value": value})
    assert line.count(b"\n") == 1
    assert json.loads(line)["event"] == "x"


@pytest.mark.timed
def test_l4_a_reader_that_stops_reading_costs_lines_and_not_requests():
    """A full pipe blocks the writing thread only; what does not fit is dropped and counted, and what fits arrives."""
    reading, writing = os.pipe()
    sink = LogSink(writing, lines_max=100)
    began = time.perf_counter()
    for number in range(5000):
        sink.event("x", number=number, padding="y" * 1000)
    assert time.perf_counter() - began < 2
    assert sink.dropped > 1000
    assert not sink.flush(0.05)
    os.close(reading)
    assert sink.flush(5)
    os.close(writing)


def test_l4_a_closed_stream_is_counted_and_survived():
    """The reader is gone for good: lines are lost, nothing raises."""
    reading, writing = os.pipe()
    os.close(reading)
    sink = LogSink(writing)
    sink.event("x")
    assert sink.flush(5)
    assert sink.dropped == 1
    os.close(writing)


def test_l7_lines_written_just_before_the_end_of_the_process_arrive():
    """An exception that ends the process flushes the buffer."""
    source = "from golive.chassis.log import LogSink; LogSink().event('last'); raise SystemExit(3)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=30)
    assert (done.returncode, json.loads(done.stdout)["event"]) == (3, "last")


def test_importing_the_chassis_loads_no_server_and_no_console():
    """It runs inside the user's service: nothing of the command line, the validators or the cloud comes along."""
    heavy = (
        "click",
        "rich",
        "pydantic",
        "uvicorn",
        "fastapi",
        "starlette",
        "golive.rollout",
        "golive.cli",
        "golive.gates",
    )
    source = f"""
import sys
from golive import Chassis
Chassis.from_env()
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr


async def test_wrapping_twice_does_everything_once(call, keep_log):
    """A second chassis inside the first is transparent: one id, one count, one line."""
    outer, inner = Chassis(), Chassis()
    lines, inner_lines = keep_log(outer), keep_log(inner)
    app = outer.wrap(inner.wrap(hello))
    assert outer.wrap(app) is app
    answer = await call(app)
    assert [name for name, _ in answer.pairs].count("x-request-id") == 1
    assert (len(lines), len(inner_lines)) == (1, 0)
