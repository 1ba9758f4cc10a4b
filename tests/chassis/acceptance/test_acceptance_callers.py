"""Cases A, P and D11: who may, what the pool says, and a shutdown that does not fit."""

from __future__ import annotations

import base64
import json

import jwt
import pytest

pytestmark = pytest.mark.process

SECRET = "a secret of more than thirty-two bytes"
GOOD = {"sub": "ada", "iss": "https://issuer.example", "aud": "shop", "exp": 4102444800, "scope": "orders:read"}


def bearer(token: str) -> str:
    return f"authorization: Bearer {token}\r\n"


def unsigned(claims: dict) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def test_a1_authentication_without_a_verifier_refuses_the_start(refused):
    """Rather than letting nobody or everybody in."""
    said = refused(REQUIRE_AUTH="true")
    assert "REQUIRE_AUTH" in said
    assert "nothing to verify with" in said


def test_a2_a_token_that_proves_nothing_is_401_with_a_challenge(served, provider):
    """Of either signer; the good ones pass."""
    hs = {"HS256 good": jwt.encode(GOOD, SECRET, "HS256")}
    rs = provider.token(iss=GOOD["iss"], aud="shop", scope="orders:read")
    assert served.get("/private", bearer(hs["HS256 good"])).json()["subject"] == "ada"
    assert served.get("/private", bearer(rs)).json()["subject"] == "ada"
    public = provider.private.public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    import hashlib
    import hmac

    head, body = rs.split(".")[:2]
    forged_head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').rstrip(b"=").decode()
    mac = hmac.new(pem, f"{forged_head}.{body}".encode(), hashlib.sha256).digest()
    forged = f"{forged_head}.{body}." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    assert head != forged_head
    bad = {
        "not a token": "abc",
        "expired": jwt.encode({**GOOD, "exp": 1}, SECRET, "HS256"),
        "another audience": jwt.encode({**GOOD, "aud": "other"}, SECRET, "HS256"),
        "another issuer": jwt.encode({**GOOD, "iss": "https://evil.example"}, SECRET, "HS256"),
        "without an end": jwt.encode({k: v for k, v in GOOD.items() if k != "exp"}, SECRET, "HS256"),
        "unsigned": unsigned(GOOD),
        "signed with the public key": forged,
        "another secret": jwt.encode(GOOD, "x" * 40, "HS256"),
    }
    for why, token in bad.items():
        answer = served.get("/private", bearer(token))
        assert (answer.status, answer.json()["status"]) == (401, 401), why
        assert 'error="invalid_token"' in answer.headers["www-authenticate"], why
    missing = served.get("/private")
    assert missing.status == 401
    assert missing.headers["www-authenticate"].startswith("Bearer")
    assert "error=" not in missing.headers["www-authenticate"]


def test_a3_a_missing_scope_is_403(served, api_key):
    """And named, so that one knows what to ask for."""
    answer = served.request("POST", "/guarded", api_key("reader"), b"a")
    assert answer.status == 403
    assert 'error="insufficient_scope", scope="orders:write"' in answer.headers["www-authenticate"]


def test_a4_made_up_key_names_cause_one_fetch(served, provider):
    """Whoever asks; the keys that are known go on working."""
    before = provider.fetches
    for number in range(30):
        assert served.get("/private", bearer(provider.token(kid=f"made-up-{number}"))).status == 401
    assert provider.fetches - before <= 2, "one, or two when ten seconds ended meanwhile"
    good = provider.token(iss=GOOD["iss"], aud="shop", scope="orders:read")
    assert served.get("/private", bearer(good)).status == 200


def test_a5_an_api_key_is_known_by_its_hash_and_never_logged(served, api_key):
    """The environment has no key either."""
    assert served.get("/private", api_key("reader")).json() == {"subject": "reader", "tenant": "acme"}
    assert served.get("/private", "x-api-key: key of nobody\r\n").status == 401
    assert "key of" not in served.stdout_path.read_text()


def test_a6_documentation_is_hidden_in_production(locked):
    """The raw app would answer every path."""
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert locked.status(path) in (404, 429)
    assert locked.get("/docs").body != b"the app"


def test_p1_an_exhausted_pool_shows_and_is_503(served, at_once, eventually):
    """Two connections, six callers: who waits is seen, who waits too long comes back later."""
    waited = []

    def watch() -> int:
        eventually(lambda: waited.append(served.metric('db_pool_waiting{pool="db"}')) or waited[-1] > 0, "callers wait")
        return 200

    answers = at_once([*[lambda: served.status("/hold?seconds=3")] * 6, watch])
    assert sorted(answers) == [200] * 3 + [503] * 4
    assert served.metric('db_pool_timeouts_total{pool="db"}') >= 4
    assert served.status("/hold?seconds=0") == 200


def test_p2_pools_that_do_not_fit_into_the_server_are_said(served):
    """At the first connection, with the sum."""
    (line, *_) = served.log("db_pool_budget")
    assert line["level"] == "warning"
    assert "2 x 1 x 100 = 200" in line["message"]


def test_p3_a_connection_held_too_long_is_reported_with_its_route(served, eventually):
    """Once, with the line of code."""
    before = len(served.log("db_connection_held"))
    assert served.status("/hold?seconds=1.6") == 200
    lines = eventually(lambda: served.log("db_connection_held")[before:], "the report")
    assert (lines[-1]["route"], lines[-1]["where"].partition(":")[0]) == ("/hold", "service.py")


def test_d11_a_shutdown_longer_than_the_platform_waits_refuses_the_start(refused):
    """Requests in flight would be killed."""
    said = refused(GOLIVE_CHASSIS_PLATFORM="cloud-run", GOLIVE_CHASSIS_GRACE="25s")
    assert "GOLIVE_CHASSIS_GRACE: expected lame_duck + grace below the 10 s cloud-run waits" in said
