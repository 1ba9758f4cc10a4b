"""Authentication (cases A1 to A3, A5, A6, I21)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
from fastapi import FastAPI, Request

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.auth import by_principal, tenant_of

SECRET = "a-secret-of-at-least-thirty-two-bytes"
KEY = "the-partner-key"
KEY_HASH = hashlib.sha256(KEY.encode()).hexdigest()


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def token(secret: str = SECRET, header: dict | None = None, **claims) -> str:
    body = {
        "sub": "jane",
        "tenant": "acme",
        "iss": "us",
        "aud": ["shop"],
        "exp": time.time() + 60,
        "scope": "read",
        **claims,
    }
    body = {name: value for name, value in body.items() if value is not None}
    signed = f"{encode(json.dumps(header or {'alg': 'HS256'}).encode())}.{encode(json.dumps(body).encode())}"
    return f"{signed}.{encode(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def bearer(value: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {value}".encode())]


def shop(**settings):
    chassis = Chassis(
        ChassisSettings(
            **{
                "access_log": False,
                "require_auth": True,
                "jwt_secret": SECRET,
                "jwt_issuer": "us",
                "jwt_audience": "shop",
                "api_key_hashes": (f"partner:{KEY_HASH}:write",),
                **settings,
            }
        )
    )
    app = FastAPI()

    @app.get("/me")
    async def me(request: Request):
        principal = getattr(request.state, "principal", None)
        return principal and [principal.subject, principal.tenant, sorted(principal.scopes), principal.kind]

    @app.get("/open")
    @chassis.public
    async def public():
        return 1

    if chassis.settings.jwt_secret:

        @app.post("/orders")
        @chassis.requires("write")
        @chassis.idempotent(scope=tenant_of)
        async def orders():
            return 1

        @app.get("/limited")
        @chassis.limit("1/minute", by=by_principal)
        async def limited():
            return 1

    return chassis, chassis.wrap(app)


def test_a1_a_service_that_requires_auth_and_cannot_verify_does_not_start():
    """Neither open by accident, nor closed by surprise; secrets are not shown."""
    with pytest.raises(ConfigError, match="REQUIRE_AUTH: nothing to verify with"):
        Chassis.from_env({"REQUIRE_AUTH": "true"})
    with pytest.raises(ConfigError) as caught:
        Chassis.from_env({"REQUIRE_AUTH": "true", "JWT_SECRET": "hunter2", "API_KEY_HASHES": "partner:hunter2"})
    assert "JWT_SECRET: expected at least 32 bytes" in str(caught.value)
    assert "API_KEY_HASHES: entry 1: expected name:sha256" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert SECRET not in repr(ChassisSettings(jwt_secret=SECRET))
    with pytest.raises(ConfigError, match="requires: expected scopes"):
        Chassis().requires("write")


async def test_a_valid_token_becomes_the_principal(call):
    """Subject, tenant and scopes, as the token says."""
    answer = await call(shop()[1], path="/me", headers=bearer(token()))
    assert answer.json() == ["jane", "acme", ["read"], "jwt"]


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense",
        "",
        "a.b.c",
        token(secret="another-secret-of-thirty-two-bytes!!"),
        token(exp=time.time() - 120),
        token(exp=None),
        token(exp="tomorrow"),
        token(exp=True),
        token(nbf=time.time() + 3600),
        token(iss="them"),
        token(aud="other"),
        token(aud=None),
        token(header={"alg": "none"}),
        token(header={"alg": "none"}).rpartition(".")[0] + ".",
        token(header={"alg": "RS256"}),
        token(header={"alg": "HS256", "crit": ["exp"]}),
        token() + "=",
        token()[:-2],
        "x" * 100_000,
    ],
)
async def test_a2_a_token_that_proves_nothing_is_401_with_a_challenge(call, bad):
    """Malformed, unsigned, expired, for others, or in another algorithm: the same answer shape, no detail of ours."""
    answer = await call(shop(head_max_bytes=200_000)[1], path="/me", headers=bearer(bad))
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="app", error="invalid_token"')
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a2_missing_credentials_are_401_without_an_error_code(call):
    """RFC 6750: who sent nothing is asked, not accused. Two kinds at once are a mistake."""
    _, app = shop()
    missing = await call(app, path="/me")
    assert (missing.status, missing.headers["www-authenticate"]) == (401, 'Bearer realm="app"')
    both = await call(app, path="/me", headers=[*bearer(token()), (b"x-api-key", KEY.encode())])
    assert (both.status, 'error="invalid_request"' in both.headers["www-authenticate"]) == (401, True)
    assert (await call(app, path="/me", headers=[(b"authorization", b"Basic dTpw")])).status == 401


async def test_probes_and_public_routes_need_no_credentials(call):
    """And a 404 needs them: strangers do not map our routes."""
    _, app = shop()
    assert [(await call(app, path=path)).status for path in ("/livez", "/health/ready", "/open", "/nope")] == [
        200,
        200,
        200,
        401,
    ]


async def test_a3_i21_a_missing_scope_is_403_and_leaves_no_idempotency_record(call):
    """Refused before the key is begun: the authorised retry runs."""
    _, app = shop()
    key = [(b"idempotency-key", b"k")]
    refused = await call(app, "POST", "/orders", headers=[*bearer(token(scope="read")), *key])
    assert refused.status == 403
    assert 'error="insufficient_scope", scope="write"' in refused.headers["www-authenticate"]
    allowed = await call(app, "POST", "/orders", headers=[*bearer(token(scope="read write")), *key])
    assert (allowed.status, "idempotency-replayed" in allowed.headers) == (200, False)
    other = await call(app, "POST", "/orders", headers=[*bearer(token(scope="write", tenant="other")), *key])
    assert "idempotency-replayed" not in other.headers


async def test_a5_an_api_key_is_known_by_its_hash_and_never_logged(call, keep_log):
    """The right one is a principal with its scopes, another is 401, and neither appears in a line."""
    chassis, app = shop(access_log=True)
    lines = keep_log(chassis)
    good = await call(app, path="/me", headers=[(b"x-api-key", KEY.encode())])
    bad = await call(app, path="/me", headers=[(b"x-api-key", b"another-key")])
    assert (good.json(), bad.status) == (["partner", "", ["write"], "api-key"], 401)
    assert KEY not in str(lines)
    assert "another-key" not in str(lines)
    chassis.stop_background()


async def test_limits_can_count_principals(call):
    """Two people behind one address have their own quotas."""
    _, app = shop()
    statuses = [(await call(app, path="/limited", headers=bearer(token(sub=who)))).status for who in ("a", "a", "b")]
    assert statuses == [200, 429, 200]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
async def test_a6_documentation_is_hidden_from_strangers_in_production(call, path):
    """It describes every way in; in development it is open."""
    settings = {"require_auth": False, "jwt_secret": "", "api_key_hashes": ()}
    assert (await call(shop(**settings)[1], path=path)).status == 200
    assert (await call(shop(**settings, environment="production")[1], path=path)).status == 404
    with_keys = shop(environment="production", require_auth=False)[1]
    assert (await call(with_keys, path=path)).status == 404
    assert (await call(with_keys, path=path, headers=bearer(token()))).status == 200


async def test_an_app_with_its_own_authentication_is_left_alone(call):
    """Nothing configured here, so the header is none of our business, in production too."""
    app = shop(require_auth=False, jwt_secret="", api_key_hashes=(), environment="production")[1]
    assert (await call(app, path="/me", headers=bearer("an opaque token of theirs"))).status == 200
    optional = shop(require_auth=False)[1]
    assert (await call(optional, path="/me", headers=[(b"authorization", b"Basic dTpw")])).json() is None


async def test_a_websocket_needs_the_same_credentials():
    """There is no door beside the door."""
    chassis, app = shop()
    chassis.lifecycle.serve()
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "not authenticated"}]
