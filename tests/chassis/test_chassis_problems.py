"""
RFC 9457 everywhere: the framework's default errors become problem documents, the app's own answers stay (case T6, note
section 3).
"""

from __future__ import annotations

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel

from golive import Chassis
from golive.chassis import ChassisSettings


class Order(BaseModel):
    amount: int


def app_with_errors() -> FastAPI:
    app = FastAPI()

    @app.post("/orders")
    async def orders(order: Order):
        return order

    @app.get("/teapot")
    async def teapot():
        raise HTTPException(418, "short and stout", headers={"x-own": "kept"})

    @app.get("/own")
    async def own():
        return JSONResponse({"detail": "no", "code": 7}, 409)

    @app.get("/text")
    async def text():
        return PlainTextResponse("my own words", 400)

    @app.get("/stream")
    async def stream():
        return StreamingResponse(iter([b"x" * 50_000] * 4), 400, media_type="text/plain")

    return app


def wrapped(**settings):
    return Chassis(ChassisSettings(access_log=False, **settings)).wrap(app_with_errors())


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nope", 404, None),
        ("DELETE", "/orders", 405, None),
        ("GET", "/teapot", 418, "short and stout"),
    ],
)
async def test_default_errors_are_problem_documents(call, method, path, status, detail):
    """The status is the real one, the phrase is the title, the id is inside and outside, other headers are kept."""
    answer = await call(wrapped(), method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["type"], problem["status"], problem.get("detail")) == ("about:blank", status, detail)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.headers.get("allow" if status == 405 else "x-own" if status == 418 else "content-type")


async def test_validation_errors_name_their_place_and_never_repeat_the_input(call):
    """A JSON pointer per fault; the secret that was sent stays unsaid."""
    headers = [(b"content-type", b"application/json")]
    answer = await call(wrapped(), "POST", "/orders", headers=headers, body=b'{"amount": "hunter2"}')
    assert answer.status == 422
    [error] = answer.json()["errors"]
    assert (error["in"], error["pointer"], error["type"]) == ("body", "/amount", "int_parsing")
    assert b"hunter2" not in answer.body


@pytest.mark.parametrize(
    ("path", "body"),
    [("/own", b'{"detail":"no","code":7}'), ("/text", b"my own words"), ("/stream", b"x" * 200_000)],
)
async def test_what_the_app_says_itself_passes_untouched(call, path, body):
    """More than the default is a contract; long or streamed bodies are not held back."""
    answer = await call(wrapped(), path=path)
    assert answer.body == body
    assert answer.headers["content-type"] != "application/problem+json"


async def test_the_translation_can_be_switched_off(call):
    """Clients that read FastAPI's shape keep it."""
    assert (await call(wrapped(problems=False), path="/nope")).json() == {"detail": "Not Found"}
