"""JSON that Python takes and JSON has not."""

from __future__ import annotations

import json
import math

import pytest
from fastapi import Body, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from golive import Chassis
from golive.chassis import ChassisSettings
from golive.chassis.strictjson import fault_in, is_json


@pytest.mark.parametrize(
    "body",
    [
        b'{"n": NaN}', b"[Infinity]", b"[-Infinity]", b"[1e999]", b"[1E+400]", b"[" + b"9" * 5000 + b"]",
        b'["\\ud800"]', b'["\\uDC00"]', b'["\\ud83d x"]', b'["\\ud83d\\u0041"]', b'["\\ud83d\\n\\ude00"]',
        b'["\\ud83d"', b'["\xff"]', '["a"]'.encode("utf-16"), b'["\xed\xa0\x80"]',
        "[NaN]".encode("utf-16-le"), "[1]".encode("utf-16-be"), "[1]".encode("utf-32-le"), b'["a\\u0000b"]',
    ],
)  # fmt: skip
def test_what_breaks_later_has_a_fault(body):
    """Each of these is a server error in a stock service that writes back what it read."""
    assert fault_in(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "NaN, Infinity and 1e999"}', b'["\\ud83d\\ude00"]', b'["\\\\ud800"]', b'["a \\" NaN"]',
        b"[1e308, 1e-400]",
        b'{"NaN": 1}', b"", b"not json", '["ünï 😀"]'.encode(), b'["\\\\\\ud83d\\ude00"]', b'[1e0000000005]',
        b'["\\\\u0000"]',
    ],
)  # fmt: skip
def test_what_is_json_or_the_apps_business_has_none(body):
    """Text about NaN is text; an escaped backslash begins no surrogate."""
    assert fault_in(body) == ""


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(st.characters(), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def _is_clean(value) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return not any(0xD800 <= ord(character) <= 0xDFFF or character == "\0" for character in value)
    if isinstance(value, dict):
        return all(_is_clean(key) and _is_clean(item) for key, item in value.items())
    return all(map(_is_clean, value)) if isinstance(value, list) else True


@given(_VALUES, st.booleans())
def test_the_verdict_is_that_of_a_slow_look_at_the_values(value, spaced):
    """Whatever Python writes: refused exactly when a value in it is not finite, no text or NUL."""
    body = json.dumps(value, indent=1 if spaced else None).encode()
    assert (fault_in(body) == "") is _is_clean(value)


def shop(**settings):
    chassis = Chassis(ChassisSettings(access_log=False, **settings))
    chassis.log.record = lambda line: None
    app = FastAPI()

    @app.post("/echo")
    async def echo(value: dict = Body()):  # noqa: B008
        return value

    @app.post("/once")
    @chassis.idempotent()
    async def once(value: dict = Body()):  # noqa: B008
        return value

    return chassis.wrap(app)


@pytest.mark.parametrize("path", ["/echo", "/once"])
@pytest.mark.parametrize("kind", [b"application/json", b"application/vnd.shop+json; charset=utf-8"])
async def test_it_is_400_before_the_app_sees_it_and_the_rest_is_served(call, path, kind):
    """A problem with a reason; on idempotent routes before the key is taken."""
    app = shop()
    head = [(b"content-type", kind), (b"idempotency-key", b"k")]
    refused = await call(app, "POST", path, headers=head, body=b'{"n": NaN}')
    assert (refused.status, refused.json()["detail"]) == (400, "JSON has no NaN and no Infinity.")
    assert refused.headers["content-type"] == "application/problem+json"
    served = await call(app, "POST", path, headers=head, body=b'{"n": "NaN"}')
    assert (served.status, served.json()) == (200, {"n": "NaN"})


async def test_it_can_be_switched_off_and_other_types_pass_untouched(call):
    """A stream of lines is not one JSON value."""
    head = [(b"content-type", b"application/json")]
    assert (await call(shop(strict_json=False), "POST", "/echo", headers=head, body=b'{"n": NaN}')).status == 500
    assert [is_json(kind) for kind in (b"application/x-ndjson", b"text/json", b"", b"application/json-seq")] == [
        False
    ] * 4


async def test_a_framework_that_turns_the_refusal_into_an_error_of_its_own_is_not_logged_as_broken(call, keep_log):
    """Starlette answers 500 for whatever is raised in ``receive``; ours is what is sent. Found by the fuzzer."""
    chassis = Chassis(ChassisSettings(access_log=False))
    lines = keep_log(chassis)

    async def read(request):
        return JSONResponse(await request.json())

    app = chassis.wrap(Starlette(routes=[Route("/x", read, methods=["POST"])]))
    answer = await call(app, "POST", "/x", headers=[(b"content-type", b"application/json")], body=b"[NaN]")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert [line for line in lines if line["event"] == "unhandled_exception"] == []
    chassis.stop_background()
