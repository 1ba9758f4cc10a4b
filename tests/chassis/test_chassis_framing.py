"""Bytes that are no request, or two, or half of one: answered once or cut, and the service lives on."""

from __future__ import annotations

import socket
import time

import pytest
from tests.chassis.conftest import read_answer

pytestmark = pytest.mark.process

SERVICE = """
    from fastapi import Body, FastAPI
    from golive import Chassis
    app = FastAPI()

    @app.post("/any")
    async def any_json(value: dict = Body()):
        return value

    @app.get("/search/{term}")
    async def search(term: str):
        return {"term": term}

    @app.get("/who")
    async def who():
        return {}
"""


@pytest.fixture(scope="module")
def service(start_shared):
    env = {"GOLIVE_CHASSIS_HEAD_TIMEOUT": "2s", "GOLIVE_CHASSIS_BODY_MAX_BYTES": "200000"}
    return start_shared(SERVICE, **env).wait_started()


@pytest.fixture(scope="module")
def impatient(start_shared):
    """A service that waits for nobody longer than two seconds."""
    env = {f"GOLIVE_CHASSIS_{name}": "2s" for name in ("HEAD_TIMEOUT", "BODY_TIMEOUT", "KEEP_ALIVE")}
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


def ends(service, data: bytes, seconds: float = 5.0) -> list[int]:
    """The statuses of all answers to *data* on one connection, until it is closed or silent."""
    received = b""
    with service.connect(seconds) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while chunk := sock.recv(65536):
                received += chunk
        except OSError:
            pass  # cut while we were still talking, or silent
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def request(method=b"POST", path=b"/any", head=b"", body=b"") -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\nhost: t\r\nconnection: close\r\n" + head + b"\r\n" + body


FRAMING = {
    "CL.TE": request(head=b"content-length: 6\r\ntransfer-encoding: chunked\r\n", body=b"0\r\n\r\nX"),
    "TE.CL": request(
        head=b"transfer-encoding: chunked\r\ncontent-length: 4\r\n", body=b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"
    ),
    "TE.TE": request(head=b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", body=b"0\r\n\r\n"),
    "odd TE": request(head=b"transfer-encoding: xchunked\r\n", body=b"0\r\n\r\n"),
    "space before colon": request(head=b"transfer-encoding : chunked\r\n", body=b"0\r\n\r\n"),
    "signed CL": request(head=b"content-length: +5\r\n", body=b"abcde"),
    "huge CL": request(head=b"content-length: 99999999999999999999999\r\n", body=b"a"),
    "hex CL": request(head=b"content-length: 0x5\r\n", body=b"abcde"),
    "two CLs": request(head=b"content-length: 1\r\ncontent-length: 2\r\n", body=b"ab"),
    "list of CLs": request(head=b"content-length: 2, 2\r\n", body=b"{}"),
    "chunk extension": request(head=b"transfer-encoding: chunked\r\n", body=b"2;a=b\r\n{}\r\n0\r\n\r\n"),
    "chunk size overflow": request(
        head=b"transfer-encoding: chunked\r\n", body=b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"
    ),
    "negative chunk": request(head=b"transfer-encoding: chunked\r\n", body=b"-2\r\n{}\r\n0\r\n\r\n"),
    "bare CR": b"GET /who HTTP/1.1\rhost: t\r\r",
    "bare LF": b"GET /who HTTP/1.1\nhost: t\n\n",
    "folded header": request(b"GET", b"/who", b"x-a: 1\r\n 2\r\n"),
    "NUL in a header": request(b"GET", b"/who", b"x-a: \x00\r\n"),
    "h2c upgrade": request(
        b"GET", b"/who", b"upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\nconnection: upgrade, http2-settings\r\n"
    ),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "HTTP/0.9": b"GET /who\r\n",
    "HTTP/9.9": b"GET /who HTTP/9.9\r\nhost: t\r\n\r\n",
    "no host": b"GET /who HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /who HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "half a request": b"POST /any HTTP/1.1\r\nhost: t\r\ncontent-le",
    "half a body": request(head=b"content-length: 100\r\n", body=b"{"),
    "nothing": b"",
    "garbage": bytes(range(256)) * 8,
    "pipelined garbage": request(b"GET", b"/who").replace(b"connection: close\r\n", b"") + b"\x00\xff garbage\r\n\r\n",
    "absolute URI": b"GET http://evil.example/who HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
    "authority form": b"CONNECT evil.example:443 HTTP/1.1\r\nhost: t\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
    "made-up method": b"BREW /who HTTP/1.1\r\nhost: t\r\n\r\n",
    "expect": request(head=b"expect: 200-maybe\r\ncontent-length: 2\r\n", body=b"{}"),
    "5,000 headers": request(b"GET", b"/who", b"x-a: 1\r\n" * 5000),
    "100 KB header": request(b"GET", b"/who", b"x-a: " + b"a" * 100_000 + b"\r\n"),
    "1 MB URL": request(b"GET", b"/search/" + b"a" * 1_000_000),
    "large body declared": request(head=b"content-length: 100000000\r\n", body=b"{}"),
    "large body in chunks": request(
        head=b"transfer-encoding: chunked\r\n", body=(b"10000\r\n" + b"a" * 65536 + b"\r\n") * 4
    ),
}


@pytest.mark.parametrize("name", FRAMING)
def test_framing_is_answered_once_or_cut_and_never_with_a_5xx(service, name):
    """Whoever reads two requests out of one set of bytes can be made to answer a request nobody saw."""
    statuses = ends(service, FRAMING[name])
    assert all(status < 500 or status == 501 for status in statuses), statuses
    allowed = 2 if name == "pipelined garbage" else 1
    assert len(statuses) <= allowed, statuses


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_offer_of_http2_is_declined_by_an_answer_in_http1(service, method):
    """As ``curl --http2`` asks: whoever offers an upgrade is served without it (RFC 9110, section 7.8)."""
    offer = b"host: t\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    asks = b"GET /who" if method == b"GET" else b"POST /any"
    rest = b"\r\n" if method == b"GET" else b'content-type: application/json\r\ncontent-length: 7\r\n\r\n{"a":1}'
    assert ends(service, asks + b" HTTP/1.1\r\n" + offer + rest) == [200]


def test_a_tunnel_is_refused_once(service):
    """This is no proxy, and what follows CONNECT is no request."""
    assert ends(service, FRAMING["authority form"] + FRAMING["absolute URI"]) == [400]


@pytest.mark.parametrize(("owes", "after"), [(b"", b"\r\n"), (b"content-length: 1\r\n", b"x")])
def test_an_answered_connection_is_closed_although_an_empty_line_or_a_late_body_came(impatient, owes, after):
    """What is no request ends no silence; a body that comes after its answer begins one."""
    with impatient.connect(30) as sock:
        sock.sendall(b"GET /who HTTP/1.1\r\nhost: t\r\n" + owes + b"\r\n")
        assert read_answer(sock).status == 200
        sock.sendall(after)
        assert sock.recv(4096) == b""


def test_slow_heads_and_bodies_do_not_hold_the_service(service):
    """Fifty half-sent heads at once: everybody else is answered, and they are cut within their time."""
    sockets = [service.connect(20) for _ in range(50)]
    for sock in sockets:
        sock.sendall(b"GET /who HTTP/1.1\r\nhost: t\r\nx-a: ")
    began = time.monotonic()
    assert service.get("/who").status == 200
    for sock in sockets:
        assert sock.recv(4096)[:12] in (b"", b"HTTP/1.1 408")
        sock.close()
    assert time.monotonic() - began < 15


def test_memory_is_flat_after_all_of_it(service):
    """Eight hundred bad requests after the first four hundred leave nothing behind."""

    def batch():
        head = b"content-type: application/json\r\ncontent-length: 9\r\n"
        for number in range(100):
            ends(service, FRAMING["CL.TE"])
            ends(service, FRAMING["garbage"])
            ends(service, request(head=head, body=b'{"a":NaN}'))
            ends(service, request(b"GET", b"/search/%%00%d" % number))

    batch()
    before = service.metric("process_resident_memory_bytes")
    batch()
    batch()
    assert service.metric("process_resident_memory_bytes") - before < 16 * 1024 * 1024
