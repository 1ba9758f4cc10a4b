"""Cross-origin rules: refused at the start, exact at run time (cases C1 to C7)."""

from __future__ import annotations

import pytest

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings

ORIGIN = "https://app.example.com"


def chassis(**settings) -> Chassis:
    return Chassis(ChassisSettings(**{"cors_origins": (ORIGIN,), "access_log": False, **settings}))


async def hello(scope, receive, send):
    if scope["path"] == "/raise":
        raise ValueError("hunter2")
    headers = [(b"access-control-allow-origin", b"https://app.example.com")] if scope["path"] == "/own" else []
    await send({"type": "http.response.start", "status": int(scope["query_string"] or 200), "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def origin(value: str) -> list[tuple[bytes, bytes]]:
    return [(b"origin", value.encode())]


@pytest.mark.parametrize(
    "bad",
    [
        "https://a/", "a.example", "localhost:3000", "null", "https://*.a", "https://a:443", "http://a:80", "HTTPS://A",
        "https://A.example", "https://a/path", "https://user@a", "https://a b", "ftp://a", "https://", "https://a:",
        "https://a:99999", "https://a_b!",
    ],
)  # fmt: skip
def test_c1_what_is_not_exactly_an_origin_refuses_the_start_and_is_named(bad):
    """Accepted silently it would never match, or match too much."""
    with pytest.raises(ConfigError) as caught:
        Chassis.from_env({"CORS_ORIGINS": f"{ORIGIN},{bad}"})
    assert [fault.startswith("CORS_ORIGINS: " + repr(bad)) for fault in caught.value.faults] == [True]


@pytest.mark.parametrize(
    "bad", ["http://localhost:3000", "https://127.0.0.1", "http://app.example.com", "https://[::1]:8443"]
)
def test_c1_production_wants_https_and_no_laptops(bad):
    """What helps in development is a hole in production."""
    Chassis.from_env({"CORS_ORIGINS": bad})
    with pytest.raises(ConfigError, match="CORS_ORIGINS"):
        Chassis.from_env({"CORS_ORIGINS": bad, "GOLIVE_ENV": "production"})


def test_c1_a_wildcard_with_credentials_and_an_empty_list_in_production_refuse_the_start():
    """All faults at once, each with what to do."""
    with pytest.raises(ConfigError, match="with credentials lets every site act for the user"):
        Chassis.from_env({"CORS_ORIGINS": "*", "CORS_ALLOW_CREDENTIALS": "true"})
    with pytest.raises(ConfigError, match="expected at least one origin in production"):
        Chassis.from_env({"CORS_ORIGINS": "", "GOLIVE_ENV": "production"})


@pytest.mark.parametrize("status", [b"200", b"401", b"422", b"429"])
async def test_c2_an_allowed_origin_is_named_on_every_answer(call, status):
    """Errors too, or the browser shows "CORS error" and hides the real one."""
    answer = await call(chassis().wrap(hello), headers=origin(ORIGIN), query=status)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert ("vary", "Origin") in answer.pairs


async def test_c2_also_on_a_500_and_while_draining(call):
    """The answers nobody's middleware sees."""
    ours = chassis(cors_credentials=True)
    app = ours.wrap(hello)
    failed = await call(app, path="/raise", headers=origin(ORIGIN))
    assert (failed.status, failed.headers["access-control-allow-origin"]) == (500, ORIGIN)
    assert failed.headers["access-control-allow-credentials"] == "true"
    ours.lifecycle.drain()
    refused = await call(app, headers=origin(ORIGIN))
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (503, ORIGIN)
    ours.stop_background()


@pytest.mark.parametrize(
    "other", ["https://evil.example", "https://app.example.com.evil", "https://APP.example.com", "null"]
)
async def test_c3_c5_any_other_origin_gets_no_header_and_still_vary(call, other):
    """Byte by byte: look-alikes are strangers."""
    answer = await call(chassis(cors_credentials=True).wrap(hello), headers=origin(other))
    assert not any(name.startswith("access-control-") for name, _ in answer.pairs)
    assert ("vary", "Origin") in answer.pairs


@pytest.mark.parametrize(
    ("asker", "allowed"),
    [
        ("https://a.example.com", True),
        ("https://b.a.example.com", True),
        ("https://example.com", False),
        ("https://evil-example.com", False),
        ("https://a.example.com.evil", False),
        ("http://a.example.com", False),
        ("https://evil.test/.example.com", False),
        ("https://evil.test?.example.com", False),
    ],
)
async def test_subdomains_are_a_rule_that_cannot_be_anchored_wrongly(call, asker, allowed):
    """The scheme and the whole host count."""
    app = chassis(cors_origins=(), cors_subdomains_of=("https://example.com",)).wrap(hello)
    answer = await call(app, headers=origin(asker))
    assert answer.headers.get("access-control-allow-origin") == (asker if allowed else None)


def preflight(method: str, headers: str = "", asker: str = ORIGIN) -> list[tuple[bytes, bytes]]:
    asked = [(b"access-control-request-headers", headers.encode())] if headers else []
    return [*origin(asker), (b"access-control-request-method", method.encode()), *asked]


async def test_c4_a_preflight_is_answered_before_anything_else(call):
    """It carries no credentials, so it must not need any; the app does not see it."""
    answer = await call(chassis().wrap(hello), "OPTIONS", headers=preflight("POST", "content-type, Idempotency-Key"))
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-max-age"] == "600"
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [preflight("BREW"), preflight("POST", "x-evil"), preflight("POST", asker="https://evil.example")],
)
async def test_c4_a_preflight_for_what_is_not_allowed_gets_no_permission(call, headers):
    """Neither the method, nor the header, nor the stranger."""
    answer = await call(chassis().wrap(hello), "OPTIONS", headers=headers)
    assert (answer.status, "access-control-allow-origin" in answer.headers) == (403, False)


async def test_an_options_request_that_is_no_preflight_reaches_the_app(call):
    """Without Origin and a requested method it is an ordinary request."""
    assert (await call(chassis().wrap(hello), "OPTIONS", query=b"202")).status == 202


async def test_c6_a_header_the_app_set_itself_is_not_doubled(call):
    """Two values are none to a browser."""
    answer = await call(chassis().wrap(hello), path="/own", headers=origin(ORIGIN))
    assert [name for name, _ in answer.pairs].count("access-control-allow-origin") == 1


async def test_c7_what_a_client_needs_is_readable(call):
    """The id to quote, and when to come back."""
    answer = await call(chassis().wrap(hello), headers=origin(ORIGIN))
    assert {"X-Request-ID", "RateLimit", "Retry-After"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )


async def test_everybody_without_credentials_is_a_star(call):
    """A public API says so, and never reflects."""
    answer = await call(chassis(cors_origins=("*",)).wrap(hello), headers=origin("https://evil.example"))
    assert answer.headers["access-control-allow-origin"] == "*"
