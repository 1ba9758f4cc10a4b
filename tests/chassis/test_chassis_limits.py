"""Limits of size, time and concurrency (cases S1 to S4), against a real process."""

from __future__ import annotations

import socket
import time

import pytest

pytestmark = pytest.mark.process

APP = """
    import asyncio
    from fastapi import FastAPI, Request
    app = FastAPI()
    @app.post("/count")
    async def count(request: Request): return len(await request.body())
    @app.post("/json")
    async def json_body(body: dict): return body
    @app.get("/slow")
    async def slow(s: float = 1): await asyncio.sleep(s)
"""


@pytest.fixture(scope="module")
def small(start_shared):
    """A service that takes heads of 8 KiB and bodies of 10 KiB."""
    return start_shared(APP, GOLIVE_CHASSIS_BODY_MAX_BYTES="10KiB", GOLIVE_CHASSIS_HEAD_MAX_BYTES="8KiB").wait_started()


@pytest.fixture(scope="module")
def impatient(start_shared):
    """A service that gives a head and a body half a second each."""
    return start_shared(APP, GOLIVE_CHASSIS_HEAD_TIMEOUT="500ms", GOLIVE_CHASSIS_BODY_TIMEOUT="500ms").wait_started()


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def test_s2_s3_what_is_too_large_is_refused_with_its_status_and_the_rest_is_served(small, read_answer):
    """Declared or chunked, body or head; at the limit it passes, one byte beyond it does not."""
    service = small
    before = {limit: limited(service, limit) for limit in ("body", "head")}
    assert service.request("POST", "/count", body=b"x" * 10240).json() == 10240
    for path in ("/count", "/json"):
        declared = service.request("POST", path, body=b"x" * 10241)
        assert (declared.status, declared.json()["status"], declared.headers["connection"]) == (413, 413, "close")
        with service.connect() as sock:
            head = f"POST {path} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
            sock.sendall(head.encode() + chunked(b"x" * 6000, b"x" * 6000))
            answer = read_answer(sock)
        assert (answer.status, answer.json()["request_id"]) == (413, answer.headers["x-request-id"])
    with service.connect() as sock:
        sock.sendall(b"POST /count HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(b"x" * 6000))
        assert read_answer(sock).json() == 6000
    large = service.get("/slow?s=0", "x-large: " + "y" * 9000 + "\r\n")
    assert (large.status, large.json()["status"]) == (431, 431)
    assert limited(service, "body") - before["body"] == 4
    assert limited(service, "head") - before["head"] == 1


def limited(service, limit: str) -> float:
    """Requests refused so far because of *limit*."""
    return service.metric(f'http_requests_limited_total{{limit="{limit}"}}')


def test_s2_an_upload_that_sends_before_it_listens_still_reads_its_refusal(small, read_answer):
    """Ten megabytes pushed at a service that takes ten kilobytes: the answer arrives, not a reset."""
    with small.connect() as sock:
        sock.sendall(b"POST /count HTTP/1.1\r\nhost: t\r\ncontent-length: 10485760\r\n\r\n" + b"x" * 10485760)
        assert read_answer(sock).status == 413


def test_s3_a_head_that_never_ends_is_cut(small, read_answer):
    """The parser would take it for ever; 64 KiB is the end."""
    with small.connect() as sock:
        sock.sendall(b"GET /slow HTTP/1.1\r\nhost: t\r\n")
        with pytest.raises((ConnectionError, AssertionError)):  # cut while we send, or answered and closed
            for number in range(2000):
                sock.sendall(b"x-%d: " % number + b"y" * 100 + b"\r\n")
            assert read_answer(sock).status != 431, "answered"


@pytest.mark.timed
def test_s1_a_half_sent_head_and_a_silent_connection_are_closed(impatient, read_answer):
    """Neither may hold a connection; whoever began to speak is told why."""
    service = impatient
    began = time.monotonic()
    with service.connect() as half, service.connect() as silent:
        half.sendall(b"GET /slow HTTP/1.1\r\nhost: t\r\n")
        assert read_answer(half).status == 408
        assert silent.recv(100) == b""
    assert time.monotonic() - began < 5
    assert service.get("/slow?s=0.8").status == 200  # an answer that takes longer than a head is another matter


def test_s1_a_body_that_trickles_is_answered_408(impatient):
    """One byte now and then keeps nobody's worker."""
    service = impatient
    with service.connect() as sock:
        sock.sendall(b"POST /count HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\n")
        sock.settimeout(0.2)
        answer = b""
        deadline = time.monotonic() + 10
        while not answer and time.monotonic() < deadline:
            sock.sendall(b"x")
            try:
                answer = sock.recv(1000)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
    assert service.status("/livez") == 200


def test_s4_beyond_the_cap_requests_are_told_when_to_return_and_probes_are_not(start, read_answer):
    """Two at once are served, the third is 503, the prober does not notice."""
    service = start(APP, GOLIVE_CHASSIS_CONCURRENCY_MAX="2").wait_started()
    with service.connect() as one, service.connect() as two:
        for sock in (one, two):
            sock.sendall(b"GET /slow?s=2 HTTP/1.1\r\nhost: t\r\n\r\n")
        while service.metric("http_requests_in_flight ") < 2:
            time.sleep(0.01)
        refused = service.get("/slow?s=0")
        assert (refused.status, int(refused.headers["retry-after"]) >= 1) == (503, True)
        assert [service.status(path) for path in ("/livez", "/health/ready")] == [200, 200]
        assert [read_answer(sock).status for sock in (one, two)] == [200, 200]
    assert service.get("/slow?s=0").status == 200


@pytest.mark.timed
def test_a_request_that_takes_too_long_is_504(start):
    """With a request time-out the caller gets an answer, and the work is cancelled."""
    service = start(APP, GOLIVE_CHASSIS_REQUEST_TIMEOUT="300ms").wait_started()
    began = time.monotonic()
    late = service.get("/slow?s=30")
    assert (late.status, late.json()["detail"]) == (504, "The service did not answer within 0.3 s.")
    assert time.monotonic() - began < 5
    assert service.metric("http_requests_in_flight ") == 0


MALFORMED = [
    b"GET / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: t\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"BREW / HTTP/1.1\r\nhost: t\r\n\r\n",
    b"GET \x00 HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET http://[bad/ HTTP/1.1\r\nhost: t\r\n\r\n",
    b"POST /json HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
]


def test_malformed_framing_is_400_or_closed_and_never_a_5xx(small):
    """Smuggling, noise and TLS on the wrong port: the connection ends, the service does not."""
    service = small
    for head in MALFORMED:
        with service.connect() as sock:
            sock.sendall(head)
            sock.shutdown(socket.SHUT_WR)
            answer = sock.recv(4096)
            assert answer == b"" or answer.split(b" ")[1][:1] == b"4", (head, answer)
    assert service.status("/livez") == 200
    assert "Traceback" not in service.stderr()
