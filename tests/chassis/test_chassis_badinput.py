"""
Bad input at a real process with everything switched on: no server error, no crash, no odd line in the log, flat memory.

Source of the corpus: observed differences between servers, OWASP API Security 2023, the W3C and IETF grammars.
"""

from __future__ import annotations

import base64
import itertools
import json
import time

import pytest

pytestmark = pytest.mark.process

SERVICE = """
    import os
    from fastapi import Body, FastAPI, Header, Request
    from pydantic import BaseModel
    from golive import Chassis
    from golive.chassis.auth import tenant_of
    chassis = Chassis.from_env()
    inner = FastAPI()
    notes = {("acme", "1"): "of acme"}

    class Order(BaseModel):
        name: str
        count: int = 1
        price: float = 0.0
        tags: list[str] = []

    @inner.post("/orders", status_code=201)
    @chassis.idempotent(scope=tenant_of)
    async def orders(order: Order):
        return order

    @inner.post("/any")
    @chassis.public
    async def any_json(value: dict = Body()):
        return value

    @inner.get("/search/{term}")
    @chassis.public
    async def search(term: str, sort: str = "", q: str = ""):
        return {"term": term, "sort": sort, "q": q}

    @inner.get("/who")
    @chassis.public
    async def who(request: Request):
        return {"client": request.client.host if request.client else None}

    @inner.get("/notes/{note}")
    async def note(note: str, request: Request):
        from fastapi import HTTPException
        text = notes.get((request.state.principal.tenant, note))
        if text is None:
            raise HTTPException(404)
        return {"text": text}

    app = chassis.wrap(inner)
"""
SECRET = "a-secret-of-at-least-thirty-two-bytes"
JSON = "content-type: application/json\r\n"


def token(**claims) -> str:
    import jwt

    return jwt.encode({"sub": "jane", "tenant": "acme", "exp": time.time() + 600, **claims}, SECRET, "HS256")


@pytest.fixture(scope="module")
def service(start_shared):
    env = {
        "REQUIRE_AUTH": "true",
        "JWT_SECRET": SECRET,
        "CORS_ORIGINS": "https://shop.example",
        "GOLIVE_CHASSIS_RATE_LIMIT": "1000000/minute",
        "GOLIVE_CHASSIS_HEAD_TIMEOUT": "2s",
        "GOLIVE_CHASSIS_BODY_MAX_BYTES": "200000",
        "TRUSTED_PROXIES": "10.0.0.0/8",
    }
    return start_shared(SERVICE, **env).wait_started()


@pytest.fixture(autouse=True)
def alive(service):
    """After every test: the process lives, wrote no trace, and each line of its log is one JSON object."""
    yield
    assert service.process.poll() is None
    assert service.status("/livez") == 200
    assert "Traceback" not in service.stderr()
    lines = service.log()
    assert not [line for line in lines if line["event"] == "unhandled_exception"]


NUMBERS = [b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-0", b"1.0", b"0x10", b"01", b"+1", b"1e-400", b"null", b"[]"]
STRINGS = [
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\xff\xfe"',
    b'"\\x41"',
    '"ünï😀"'.encode(),
    b'"' + b"a" * 150_000 + b'"',
    b'"\n"',
    b"'a'",
    b'"\' OR 1=1 --"',
    b'"%s%n{0}${jndi:ldap://x}"',
    b'"\x1b[31m\\r\\n{\\"level\\":\\"fatal\\"}"',
    b'"<script>alert(1)</script>"',
    b'"' + b"\\u202e" * 10 + b'"',
    b'"../../etc/passwd"',
]
WHOLE = [
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b"[" + b"1," * 60_000 + b"1]",
    b"",
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    b"\x00" * 100,
    b'{"name":"a","name":"b"}',
    b'{"__proto__":{"admin":true},"name":"a"}',
    b"true",
    b'"text"',
    b"{} {}",
    b'{"name":',
    b"\x1f\x8b\x08\x00",
    b'{"name": "a", "count": 99999999999999999999999999}',
    b'{"name":"a","tags":' + b"[" * 500 + b"]" * 500 + b"}",
]


def test_json_of_any_kind_is_a_4xx_or_served_and_always_json(service):
    """Every odd number and string in every field, and bodies that are odd as a whole; right and wrong types."""
    bodies = [b'{"name":"a","count":%s}' % number for number in NUMBERS]
    bodies += [b'{"name":"a","price":%s}' % number for number in NUMBERS]
    bodies += [b'{"name":%s,"tags":[%s]}' % (text, text) for text in STRINGS] + WHOLE
    bearer = f"authorization: Bearer {token()}\r\n"
    for number, (body, path, kind) in enumerate(
        itertools.product(
            bodies, ("/orders", "/any"), ("application/json", "text/html", "application/json; charset=utf-16")
        )
    ):
        if kind != "application/json" and not body.isascii():
            continue  # a body that is text is the app's business, whatever is in it
        head = f"{bearer}content-type: {kind}\r\nidempotency-key: k{number}\r\n"
        answer = service.request("POST", path, head, body or b" ")
        assert answer.status < 500, (path, kind, body[:60], answer.body[:200])
        assert "json" in answer.headers["content-type"]
        if answer.status < 300:
            json.loads(answer.body)


HEADER_VALUES = [
    "",
    " ",
    "a" * 10_000,
    "\x1b[31mred",
    "\x07",
    "ünï",
    "a\tb",
    '"',
    '""',
    '"a',
    "a" * 256,
    "null",
    "../..",
    "%0d%0aset-cookie: a=b",
    "{0}%s${jndi:ldap://x}",
    "e\u0301",
    "a,b",
    "\xff\xfe",
]


@pytest.mark.parametrize(
    "name",
    [
        "x-request-id",
        "traceparent",
        "tracestate",
        "idempotency-key",
        "origin",
        "x-forwarded-for",
        "accept",
        "content-type",
        "authorization",
        "x-api-key",
        "accept-encoding",
        "x-forwarded-proto",
        "forwarded",
    ],
)
def test_header_values_of_any_kind_are_never_reflected_and_never_a_5xx(service, name):
    """Escape codes, line breaks, Unicode, ten kilobytes: replaced, refused or ignored."""
    for value in HEADER_VALUES:
        line = f"{name}: {value}\r\n".encode().decode("latin-1")
        for method, path, body in (("GET", "/who", b""), ("POST", "/any", b"{}"), ("GET", "/metrics", b"")):
            try:
                answer = service.request(method, path, line, body)
            except (ConnectionError, ValueError):
                continue  # cut by the parser
            assert answer.status < 500, (name, value, answer.status)
            shown = " ".join(f"{key}: {text}" for key, text in answer.pairs)
            assert "\x1b" not in shown
            assert "set-cookie" not in shown
            assert len(answer.headers.get("x-request-id", "")) <= 128


def test_strings_in_paths_and_queries_are_text_and_leave_one_line_each(service):
    """NUL, line breaks, half characters, formats, overlong escapes: no 5xx, and each log line is one JSON object."""
    odd = [
        "%00",
        "%0a%7b%22level%22%3a%22fatal%22%7d",
        "%ff%fe",
        "%ed%a0%80",
        "%c0%af",
        "..%2f..%2fetc",
        "%25s",
        "%",
        "%zz",
        "a" * 8000,
        "'%20OR%201=1",
        "%7b0%7d",
        "$%7bjndi:ldap://x%7d",
        "%1b%5b31m",
        "%e2%80%ae",
        ";a=b",
        "//",
        "%2e%2e",
    ]
    before = len(service.log("request"))
    for text in odd:
        for path in (f"/search/{text}", f"/search/x?sort={text}&q={text}", f"/{text}"):
            answer = service.get(path)
            assert answer.status < 500, (path[:80], answer.status)
    service.get("/who")
    time.sleep(0.3)
    assert len(service.log("request")) - before >= len(odd) * 2
    assert {line["event"] for line in service.log()} <= {"listening", "serving", "request", "slow_client", "log"}


@pytest.mark.parametrize(
    "value",
    [
        "1.2.3.4",
        "not-an-ip",
        "1.2.3.4, 5.6.7.8",
        "::ffff:1.2.3.4",
        "fe80::1%eth0",
        "[2001:db8::1]:443",
        "1.2.3.4:99999",
        "",
        ",,,",
        "unknown",
        "_hidden",
        "a" * 5000,
        ", ".join(["10.0.0.1"] * 500),
    ],
)
def test_addresses_from_a_peer_that_is_not_trusted_change_nothing(service, value):
    """The address is the peer's, whatever the header says."""
    answer = service.get("/who", f"x-forwarded-for: {value}\r\nforwarded: for={value[:100]}\r\n")
    assert (answer.status, answer.json()) == (200, {"client": "127.0.0.1"})


def part(data: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def test_credentials_that_prove_nothing_are_one_kind_of_401(service):
    """Unsigned, foreign keys, huge, nested, future, repeated: the same shape of answer, and no 5xx."""
    claims = {"sub": "eve", "tenant": "acme", "exp": time.time() + 600}
    good = token()
    head, body, signature = good.split(".")
    bad = [
        *(
            f"{part({'alg': alg})}.{part(claims)}."
            for alg in ("none", "None", "nOnE", "HS512", "RS256", "", 7, None, [])
        ),
        *(
            f"{part({'alg': 'HS256', name: value})}.{part(claims)}.AAAA"
            for name, value in (
                ("kid", "../../dev/null"),
                ("kid", "' UNION SELECT"),
                ("jku", "https://evil.example"),
                ("x5u", "file:///"),
                ("jwk", {}),
                ("crit", ["exp"]),
            )
        ),
        f"{head}.{body}.{signature[:-2]}",
        f"{head}.{body}",
        f"{head}.{body}.{signature}.{signature}",
        f"{head}..{signature}",
        f"{head}.{part([1])}.{signature}",
        "a.b.c",
        "....",
        "x" * 20_000,
        f"{part({'a': 1})}{head}.{body}.{signature}",
        token(exp=0),
        token(exp=-1),
        token(nbf=time.time() + 9999),
        token(exp="soon"),
        token(exp=10**400),
    ]
    shapes = set()
    for value in bad:
        answer = service.get("/notes/1", f"authorization: Bearer {value}\r\n")
        assert answer.status in (401, 431), (value[:60], answer.status)
        if answer.status == 401:
            shapes.add((answer.headers["content-type"], 'error="invalid_token"' in answer.headers["www-authenticate"]))
    assert shapes == {("application/problem+json", True)}
    twice = f"authorization: Bearer {good}\r\nauthorization: Bearer {good}\r\n"
    assert service.get("/notes/1", twice).status == 401
    assert service.get("/notes/1", f"authorization: bEaReR {good}\r\n").status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://shop.example.evil",
        "https://evilshop.example",
        "https://SHOP.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example/",
        "https://shop.example, https://evil.example",
        "file://",
        "*",
        " ",
    ],
)
def test_other_origins_get_no_permission(service, origin):
    """Suffix, prefix, case, scheme, port and null: no header, still Vary."""
    answer = service.get("/who", f"origin: {origin}\r\n")
    assert "access-control-allow-origin" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    assert (
        service.get("/who", "origin: https://shop.example\r\n").headers["access-control-allow-origin"]
        == "https://shop.example"
    )


def test_another_tenant_learns_nothing_not_even_that_it_exists(service):
    """404 for what is somebody else's and for what nobody has, with the same body; keys are not shared either."""
    mine, theirs = (f"authorization: Bearer {token(tenant=tenant)}\r\n" for tenant in ("acme", "other"))
    assert service.get("/notes/1", mine).status == 200
    foreign, absent = service.get("/notes/1", theirs), service.get("/notes/nope", theirs)
    assert foreign.status == absent.status == 404
    drop = ("request_id",)
    assert {k: v for k, v in foreign.json().items() if k not in drop} == {
        k: v for k, v in absent.json().items() if k not in drop
    }
    order = b'{"name": "a"}'
    key = f"{JSON}idempotency-key: shared\r\n"
    first, second = (service.request("POST", "/orders", who + key, order) for who in (mine, theirs))
    assert (first.status, second.status, "idempotency-replayed" in second.headers) == (201, 201, False)
