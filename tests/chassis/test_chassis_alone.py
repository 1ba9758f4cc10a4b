"""docs/chassis-alone.md is executed: each concern alone around a raw ASGI app does its own work and no other."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from golive.chassis import ChassisSettings, alone
from golive.chassis.alone import Authenticated, CrossOrigin, Draining, Limited, Problems, RateLimited, RequestIds
from golive.chassis.breaker import BreakerOpenError
from golive.chassis.requestid import request_id
from golive.errors import ConfigError, TryLaterError

PAGE = (Path(__file__).parents[2] / "docs" / "chassis-alone.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SNIPPETS = {name: block for block in BLOCKS for name in alone.__all__ if f"import {name}\n" in block}


class Raw:
    """An ASGI app without a framework: what it was asked, and a few ways to answer."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        if scope["path"] == "/fail":
            raise ValueError("card 4111 1111 1111 1111 was refused")
        if scope["path"] == "/later":
            raise TryLaterError("orders: away", "Not now.", 7.0)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        if scope["path"] == "/slow":
            await asyncio.sleep(60)
        status, kind, text = 200, b"text/plain", b"hello " + body
        if scope["path"] == "/default":
            status, kind, text = 404, b"application/json", b'{"detail": "no such order"}'
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": text})


class Subject:
    """The app that a snippet of the page made of a raw one, and how to ask it."""

    def __init__(self, snippet: str, call: Any, folder: Path, keep_log: Any) -> None:
        self.raw = Raw()
        names: dict[str, Any] = {"app": self.raw}
        exec(
            compile(snippet.replace('"errors.ndjson"', repr(str(folder / "e"))), "docs/chassis-alone.md", "exec"), names
        )
        self.app, self._call, self.folder = names["app"], call, folder
        self.lines = keep_log(self.app.chassis)

    async def ask(self, method: str = "GET", path: str = "/hello", *headers: tuple[bytes, bytes], **how: Any) -> Any:
        return await self._call(self.app, method, path, headers=list(headers), **how)


async def request_ids(subject: Subject) -> None:
    assert (await subject.ask("GET", "/hello", (b"x-request-id", b"abc-1"))).headers["x-request-id"] == "abc-1"
    bad = await subject.ask("GET", "/hello", (b"x-request-id", b"a b"))
    assert re.fullmatch("[0-9a-f]{32}", bad.headers["x-request-id"])
    assert subject.raw.scopes[-1]["state"]["request_id"] == bad.headers["x-request-id"]
    assert request_id() == ""


async def trace_context(subject: Subject) -> None:
    good = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    for given, kept in ((good, True), (good.upper(), False)):
        await subject.ask("GET", "/hello", (b"traceparent", given), (b"tracestate", b"x=1"))
        seen = dict(subject.raw.scopes[-1]["headers"])
        assert (seen[b"traceparent"] == given) is kept
        assert (b"tracestate" in seen) is kept


async def measured(subject: Subject) -> None:
    await subject.ask()
    with pytest.raises(ValueError, match="refused"):
        await subject.ask("GET", "/fail")
    text = (await subject.ask("GET", "/metrics")).body.decode()
    assert 'http_requests_total{method="GET",route="__unmatched__",status="200"} 1' in text
    assert 'status="500"} 1' in text
    assert 'build_info{service="orders",version="v42"} 1' in text
    assert subject.app.chassis.lifecycle.in_flight == 0
    subject.app.chassis.stop_background()


async def access_log(subject: Subject) -> None:
    app, subject.app = subject.app, RequestIds(subject.app)
    await subject.ask("GET", "/orders/ada@example.com", (b"x-request-id", b"abc-1"), query=b"token=x")
    (line,) = subject.lines
    assert (line["event"], line["status"], line["bytes"], line["request_id"]) == ("request", 200, 6, "abc-1")
    assert "ada@" not in json.dumps(line)
    assert "token" not in json.dumps(line)
    assert app.chassis.log.dropped == 0


async def problems(subject: Subject) -> None:
    failed = await subject.ask("GET", "/fail")
    assert failed.status == 500
    assert failed.json()["status"] == 500
    assert b"4111" not in failed.body
    later = await subject.ask("GET", "/later")
    assert later.status == 503
    assert later.headers["retry-after"] == "7"
    default = await subject.ask("GET", "/default")
    assert default.headers["content-type"] == "application/problem+json"
    assert default.json()["detail"] == "no such order"


async def captured(subject: Subject) -> None:
    with pytest.raises(ValueError, match="refused"):
        await subject.ask("GET", "/fail")
    assert subject.app.chassis.capture.flush()
    (line,) = (subject.folder / "e").read_text().splitlines()
    assert json.loads(line)["error"] == "ValueError"
    assert "4111" not in line


async def cross_origin(subject: Subject) -> None:
    origin = (b"origin", b"https://app.example.com")
    assert (await subject.ask("GET", "/hello", origin)).headers["access-control-allow-origin"] == origin[1].decode()
    assert "access-control-allow-origin" not in (await subject.ask("GET", "/hello", (b"origin", b"https://b"))).headers
    asked = len(subject.raw.scopes)
    allowed = await subject.ask("OPTIONS", "/hello", origin, (b"access-control-request-method", b"POST"))
    refused = await subject.ask("OPTIONS", "/hello", origin, (b"access-control-request-method", b"BREW"))
    assert (allowed.status, refused.status, len(subject.raw.scopes)) == (204, 403, asked)
    assert allowed.headers["access-control-allow-origin"] == origin[1].decode()


async def authenticated(subject: Subject) -> None:
    anonymous = await subject.ask()
    assert anonymous.status == 401
    assert anonymous.headers["www-authenticate"].startswith("Bearer")
    assert subject.raw.scopes == []
    assert (await subject.ask("GET", "/hello", (b"x-api-key", b"a long random key"))).status == 200
    assert subject.raw.scopes[-1]["state"]["principal"].subject == "ci"


async def trusted_addresses(subject: Subject) -> None:
    forwarded = (b"x-forwarded-for", b"203.0.113.9")
    for peer, seen in (("10.1.2.3", "203.0.113.9"), ("192.0.2.1", "192.0.2.1")):
        await subject.ask("GET", "/hello", forwarded, client=(peer, 1))
        assert subject.raw.scopes[-1]["client"][0] == seen


async def limited(subject: Subject) -> None:
    declared = await subject.ask("POST", "/hello", (b"content-length", b"1001"), body=b"x" * 1001)
    assert declared.status == 413
    assert subject.raw.scopes == []
    chunked = await subject.ask("POST", "/hello", (b"transfer-encoding", b"chunked"), body=b"x" * 1001)
    assert chunked.status == 413
    assert subject.raw.bodies == []
    assert (await subject.ask("GET", "/hello", (b"x", b"y" * 40_000))).status == 431
    assert (await subject.ask("POST", "/hello", (b"content-length", b"4"), body=b"1234")).body == b"hello 1234"
    assert subject.app.chassis.lifecycle.in_flight == 0


async def strict_bodies(subject: Subject) -> None:
    kind = (b"content-type", b"application/json")
    assert (await subject.ask("POST", "/hello", kind, body=b'{"a": NaN}')).status == 400
    assert subject.raw.bodies == []
    assert (await subject.ask("POST", "/hello", kind, body=b'{"a": 1}')).body == b'hello {"a": 1}'


async def rate_limited(subject: Subject) -> None:
    answers = [await subject.ask(client=("192.0.2.7", 1)) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit"].startswith('"default";r=1')
    assert int(answers[2].headers["retry-after"]) > 0


async def idempotent(subject: Subject) -> None:
    key = (b"idempotency-key", b"k1")
    answers = [await subject.ask("POST", "/orders", key, body=b"a") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 204]
    assert subject.raw.bodies == [b"a"]
    assert (await subject.ask("POST", "/orders", key, body=b"b")).status == 422
    assert (await subject.ask("POST", "/other", key, body=b"b")).status == 200


async def probed(subject: Subject) -> None:
    assert (await subject.ask("GET", "/livez")).json() == {"status": "pass"}
    assert (await subject.ask("POST", "/livez")).status == 405
    assert subject.raw.scopes == []
    for _ in range(1000):
        if (await subject.ask("GET", "/health/ready")).status == 200:
            break
        await asyncio.sleep(0.005)
    assert (await subject.ask("GET", "/health/ready")).json()["checks"]["db"][0]["status"] == "pass"
    assert (await subject.ask("GET", "/")).body == b"hello ", "an alias gives way to the app"
    subject.app.chassis.stop_background()


async def draining(subject: Subject) -> None:
    assert "connection" not in (await subject.ask()).headers
    subject.app.leave()
    leaving = await subject.ask()
    assert (leaving.status, leaving.headers["connection"]) == (200, "close")
    subject.app.drain()
    refused = await subject.ask()
    assert (refused.status, refused.headers["retry-after"], refused.headers["connection"]) == (503, "2", "close")
    assert await subject.app.idle(5.0)


#: What each concern is seen by, and the headers it adds to an ordinary answer.
CONCERNS: dict[str, tuple[Any, set[str]]] = {
    "AccessLog": (access_log, set()),
    "Authenticated": (authenticated, set()),
    "Captured": (captured, set()),
    "CrossOrigin": (cross_origin, {"vary"}),
    "Draining": (draining, set()),
    "Idempotent": (idempotent, set()),
    "Limited": (limited, set()),
    "Measured": (measured, set()),
    "Probed": (probed, set()),
    "Problems": (problems, set()),
    "RateLimited": (rate_limited, {"ratelimit", "ratelimit-policy"}),
    "RequestIds": (request_ids, {"x-request-id"}),
    "StrictBodies": (strict_bodies, set()),
    "TraceContext": (trace_context, set()),
    "TrustedAddresses": (trusted_addresses, set()),
}

KEY = (b"x-api-key", b"a long random key")


def test_every_concern_is_on_the_page_and_has_something_it_is_seen_by() -> None:
    """A new one is not forgotten here or there."""
    assert set(CONCERNS) == set(SNIPPETS) == set(alone.__all__)


@pytest.mark.parametrize("name", alone.__all__)
async def test_a_concern_alone_does_its_work_around_a_raw_app(name: str, call: Any, keep_log: Any, tmp_path: Path):
    """As the page writes it, without a framework or another concern."""
    await CONCERNS[name][0](Subject(SNIPPETS[name], call, tmp_path, keep_log))


@pytest.mark.parametrize("name", alone.__all__)
async def test_a_concern_alone_does_nothing_else(name: str, call: Any, keep_log: Any, tmp_path: Path):
    """An ordinary answer has no header more than its own, no line is logged, websockets and lifespans pass."""
    subject = Subject(SNIPPETS[name], call, tmp_path, keep_log)
    answer = await subject.ask("GET", "/hello", KEY)
    assert (answer.status, answer.body) == (200, b"hello ")
    assert set(answer.headers) - {"content-type"} == CONCERNS[name][1]
    assert [line["event"] for line in subject.lines] == (["request"] if name == "AccessLog" else [])
    opened: list[Any] = []

    async def send(message: Any) -> None:
        opened.append(message["type"])

    handshake = {"type": "websocket", "path": "/ws", "headers": [KEY], "client": None, "scheme": "ws"}
    await subject.app(handshake, None, send)
    assert opened == ["websocket.accept"]
    subject.app.chassis.stop_background()


async def test_time_requests_at_once_and_websockets_have_their_limits_alone_too(call: Any):
    """504 in time, 503 beyond the number, 1008 without credentials, 1012 while draining."""
    raw = Raw()
    settings = ChassisSettings(request_timeout=timedelta(milliseconds=20), concurrency_max=1)
    limited_app = Limited(raw, settings)
    slow = asyncio.create_task(call(limited_app, "GET", "/slow"))
    await asyncio.sleep(0)
    assert (await call(limited_app)).status == 503
    assert (await slow).status == 504
    closed: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        closed.append(message.get("code"))

    guard = Draining(raw)
    guard.drain()
    hashed = "ci:" + "0" * 64
    for app in (guard, Authenticated(raw, ChassisSettings(require_auth=True, api_key_hashes=(hashed,)))):
        await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
    assert closed == [1012, 1008]


async def test_concerns_inside_each_other_know_the_same_request(call: Any):
    """The id of the outer one is in the problem of the inner one, and a limit is answered through both."""
    app = RequestIds(Problems(Limited(Raw(), ChassisSettings(body_max_bytes=10))))
    failed = await call(app, "GET", "/fail")
    assert failed.status == 500
    assert failed.json()["request_id"] == failed.headers["x-request-id"]
    large = await call(app, "POST", "/", headers=[(b"content-length", b"11")], body=b"x" * 11)
    assert large.status == 413
    assert large.json()["request_id"] == large.headers["x-request-id"]


@pytest.mark.parametrize("concern", [CrossOrigin, RateLimited])
def test_a_concern_without_its_setting_is_refused_when_it_is_made(concern: Any):
    """Doing nothing in silence would be worse."""
    with pytest.raises(ConfigError, match="expected"):
        concern(Raw())


async def test_what_is_no_layer_needs_none():
    """The page's breaker opens after ten failures, around nothing."""
    names: dict[str, Any] = {}
    exec(compile(next(block for block in BLOCKS if ".breaker(" in block), "docs/chassis-alone.md", "exec"), names)

    async def fails() -> None:
        raise OSError

    for _ in range(10):
        with pytest.raises(OSError):
            await names["pay"](fails)
    with pytest.raises(BreakerOpenError):
        await names["pay"](fails)


def test_importing_the_concerns_loads_no_framework_and_no_server():
    """They are for apps that have neither."""
    code = (
        "import sys, golive.chassis.alone;"
        "print([m for m in ('fastapi', 'starlette', 'uvicorn', 'litestar', 'pydantic', 'rich') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
