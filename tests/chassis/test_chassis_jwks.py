"""Tokens of an identity provider (cases A2 and A4 for public keys), with real keys and a real server of keys."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI, Request

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.jwks import FETCH_EVERY_SECONDS, FRESH_SECONDS, read_keys

SECRET = "a-secret-of-at-least-thirty-two-bytes"
RSA, OTHER_RSA = (rsa.generate_private_key(65537, 2048) for _ in range(2))
SHORT_RSA = rsa.generate_private_key(65537, 1024)
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()


def jwk(key, kid, **more) -> dict:
    kind = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256", ed25519.Ed25519PrivateKey: "EdDSA"}
    algorithm = next(name for base, name in kind.items() if isinstance(key, base))
    public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())
    return {**json.loads(public), "kid": kid, **more}


def token(key=RSA, kid="r", alg="RS256", **claims) -> str:
    body = {"sub": "jane", "iss": "idp", "aud": "shop", "exp": time.time() + 60, "scope": "read", **claims}
    return jwt.encode(body, key, alg, headers={"kid": kid} if kid else None)


class Provider:
    """An identity provider's server of keys: what it says, how often it was asked, and whether it is up."""

    def __init__(self) -> None:
        self.keys, self.asked, self.status, self.body = [jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d")], 0, 200, b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                self.send_response(outer.status)
                self.send_header("location", "/elsewhere")
                self.end_headers()
                self.wfile.write(outer.body or json.dumps({"keys": outer.keys}).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def server():
    running = Provider()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def provider(server):
    server.keys, server.asked, server.status, server.body = [jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d")], 0, 200, b""
    return server


class Service:
    """A service that trusts the provider, on a clock of the test's own."""

    def __init__(self, provider, **settings) -> None:
        self.seconds = 1000.0
        given = {"access_log": False, "require_auth": True, "jwks_url": provider.url, "jwt_issuer": "idp",
                 "jwt_audience": "shop", "jwt_tenant_claim": "app_metadata.tenant", **settings}  # fmt: skip
        self.chassis, self.lines = Chassis(ChassisSettings(**given)), []
        self.chassis.log.record = self.lines.append
        self.chassis.auth.key_set._now = lambda: self.seconds
        app = FastAPI()

        @app.get("/me")
        async def me(request: Request):
            principal = request.state.principal
            return [principal.subject, principal.tenant, sorted(principal.scopes)]

        self.app = self.chassis.wrap(app)


@pytest.fixture
def ask(call):
    async def send(service, value):
        return await call(service.app, path="/me", headers=[(b"authorization", f"Bearer {value}".encode())])

    return send


@pytest.mark.parametrize(
    ("key", "kid", "alg"), [(RSA, "r", "RS256"), (RSA, "r", "PS256"), (EC, "e", "ES256"), (ED, "d", "EdDSA")]
)
async def test_a_token_of_the_provider_becomes_the_principal(ask, provider, key, kid, alg):
    """The first token fetches the keys; scopes as text or list, the tenant from inside an object."""
    service = Service(provider)
    answer = await ask(service, token(key, kid, alg, scp=["write"], app_metadata={"tenant": "acme"}))
    assert (answer.status, answer.json()) == (200, ["jane", "acme", ["read", "write"]])
    assert provider.asked == 1


def forged(header: dict, key: bytes) -> str:
    """An HS256 token whose secret is *key*, with any header: libraries refuse to make it."""
    import hashlib
    import hmac

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = (
        part(json.dumps(header).encode())
        + b"."
        + part(json.dumps({"sub": "eve", "iss": "idp", "aud": "shop", "exp": time.time() + 60}).encode())
    )
    return (signed + b"." + part(hmac.digest(key, signed, hashlib.sha256))).decode()


PUBLIC_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "bad",
    [
        token(OTHER_RSA),
        token(RSA, "e"),
        token(EC, "r", "ES256"),
        token(exp=time.time() - 120),
        token(nbf=time.time() + 3600),
        token(iss="them"),
        token(aud="other"),
        forged({"alg": "HS256", "kid": "r"}, PUBLIC_PEM),
        forged({"alg": "HS256"}, PUBLIC_PEM),
        forged({"alg": "none", "kid": "r"}, b""),
        forged({"alg": "RS256", "kid": "r", "jwk": jwk(OTHER_RSA, "r")}, PUBLIC_PEM),
        forged({"alg": "RS256", "kid": "r", "crit": ["b64"], "b64": False}, PUBLIC_PEM),
        forged({"alg": "RS256", "kid": ["r"]}, PUBLIC_PEM),
        forged({"alg": "RS256", "kid": "../../etc/passwd"}, PUBLIC_PEM),
        forged({"alg": "RS256", "kid": "x' or '1'='1"}, PUBLIC_PEM),
        forged({"alg": ["RS256"], "kid": "r"}, PUBLIC_PEM),
    ],
)
async def test_a2_what_the_provider_did_not_sign_is_401(ask, provider, bad):
    """Another key, another kind of key, the public key as a shared secret, keys inside the token: all one answer."""
    answer = await ask(Service(provider), bad)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="app", error="invalid_token"')


async def test_a2_a_shared_secret_beside_public_keys_is_for_its_own_tokens_only(ask, provider):
    """Either verifies, and neither verifies the other's."""
    service = Service(provider, jwt_secret=SECRET)
    assert (await ask(service, token())).status == 200
    assert (await ask(service, token(SECRET, None, "HS256"))).status == 200
    assert (await ask(service, forged({"alg": "HS256", "kid": "r"}, PUBLIC_PEM))).status == 401


async def test_a4_made_up_key_names_cause_one_fetch_in_ten_seconds(ask, provider):
    """Two hundred of them at once; a key that was rotated in is found with the next fetch."""
    service = Service(provider)
    answers = await asyncio.gather(*(ask(service, token(OTHER_RSA, f"made-up-{n}")) for n in range(200)))
    assert ({answer.status for answer in answers}, provider.asked) == ({401}, 1)
    provider.keys.append(jwk(OTHER_RSA, "new"))
    assert ((await ask(service, token(OTHER_RSA, "new"))).status, provider.asked) == (401, 1)
    service.seconds += FETCH_EVERY_SECONDS
    assert ((await ask(service, token(OTHER_RSA, "new"))).status, provider.asked) == (200, 2)


async def test_a4_a_provider_that_is_down_takes_no_known_key_away(ask, provider, wait_until):
    """Errors, nonsense and empty sets change nothing; it is said once when it goes and once when it is back."""
    service = Service(provider)
    assert (await ask(service, token())).status == 200
    counter = service.chassis.metrics.counter("jwks_fetches_total", "", ("outcome",))
    troubles = [(500, b""), (302, b""), (200, b"<html>"), (200, b'{"keys": []}'), (200, b"[]"), (200, b"x" * 600_000)]
    for failed, (provider.status, provider.body) in enumerate(troubles, start=1):
        service.seconds += FRESH_SECONDS + 1
        assert (await ask(service, token())).status == 200
        await wait_until(lambda: counter.values.get(("failed",)), failed)
    provider.status, provider.body = 200, b""
    service.seconds += FRESH_SECONDS + 1
    assert (await ask(service, token())).status == 200
    await wait_until(lambda: counter.values.get(("fetched",)), 2)
    assert [line["status"] for line in service.lines if line["event"] == "jwks"] == ["away", "back"]


async def test_a_key_that_the_provider_withdrew_is_no_longer_accepted(ask, provider, wait_until):
    """With the next fetch that succeeds, within five minutes."""
    service = Service(provider)
    assert (await ask(service, token())).status == 200
    provider.keys = [jwk(EC, "e")]
    service.seconds += FRESH_SECONDS + 1
    await ask(service, token())
    await wait_until(lambda: sorted(service.chassis.auth.key_set.keys), ["e"])
    assert (await ask(service, token())).status == 401


async def test_before_the_first_keys_came_a_token_is_503_and_not_the_callers_fault(ask, provider, call):
    """503 with Retry-After, not 401: the client must not throw its token away. Without credentials it is 401."""
    provider.status = 500
    service = Service(provider)
    answer = await ask(service, token())
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")
    assert (await call(service.app, path="/me")).status == 401


async def test_keys_are_fetched_before_the_first_token_comes(provider, wait_until):
    """With the start of the service."""
    service = Service(provider)
    service.chassis.begin_serving()
    await wait_until(lambda: len(service.chassis.auth.key_set.keys), 3)
    service.chassis.stop_background()


def test_only_public_signing_keys_of_good_length_are_kept():
    """Symmetric, private, encrypting, short, foreign and broken entries are ignored; a set without any is an error."""
    good = jwk(RSA, "good", alg="RS512")
    bad = [
        {"kty": "oct", "k": "AAAA", "kid": "oct"}, jwk(RSA, "enc", use="enc"), jwk(SHORT_RSA, "short"),
        {**jwk(RSA, "private"), "d": "AQAB"}, jwk(RSA, "wrong", alg="HS256"), {"kty": "RSA", "kid": "broken", "n": "?"},
        "text", {"kty": ["RSA"]}, {"kty": "EC", "crv": {}, "kid": "odd"},
    ]  # fmt: skip
    keys = read_keys(json.dumps({"keys": [*bad, good]}).encode())
    assert {kid: key.algorithms for kid, key in keys.items()} == {"good": ("RS512",)}
    for document in (b'{"keys": [{"kty": "oct"}]}', b"null", b"{}", b"nonsense"):
        with pytest.raises(ValueError):
            read_keys(document)


def test_keys_over_plain_http_are_refused_in_production_and_the_documents_name_is_read():
    """Whoever can change the keys can be anybody."""
    with pytest.raises(ConfigError, match="JWKS_URL: expected https://"):
        ChassisSettings.from_env({"JWKS_URL": "http://idp/keys", "GOLIVE_ENV": "production"})
    with pytest.raises(ConfigError, match="JWKS_URL: expected"):
        ChassisSettings.from_env({"JWKS_URL": "file:///etc/passwd"})
    assert ChassisSettings.from_env({"REQUIRE_AUTH": "true", "SUPABASE_JWT_SECRET": SECRET}).jwt_secret == SECRET


async def test_an_api_key_may_belong_to_a_tenant(call, provider):
    """``name@tenant:sha256``."""
    import hashlib

    digest = hashlib.sha256(b"the-key").hexdigest()
    service = Service(provider, api_key_hashes=(f"robot@acme:{digest}:write",))
    answer = await call(service.app, path="/me", headers=[(b"x-api-key", b"the-key")])
    assert answer.json() == ["robot", "acme", ["write"]]
