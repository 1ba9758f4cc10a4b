"""The probing client and the gates on top of it: hostile servers give a reason, never a trace, never a hang."""

import asyncio
import socket
import time

import pytest

from golive.gates import SmokeRequest, Target, Verdict, run_gates
from golive.gates.http import BODY_BYTES_MAX, Client, NoAnswerError


async def test_an_answer_has_status_headers_body_and_time(serve) -> None:  # type: ignore[no-untyped-def]
    """Headers whatever their case, JSON when it is."""
    url = await serve(b'HTTP/1.1 201 Created\r\nX-Arm: v42\r\nContent-Length: 9\r\n\r\n{"a": 1}\n')
    answer = await Client(Target(url)).request("POST", "/x", {"X-One": "1"}, "body")
    assert (answer.status, answer.header("x-arm"), answer.json()) == (201, "v42", {"a": 1})
    assert 0 < answer.seconds < 5


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "not an HTTP/1.1 answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "closed before the end of the answer"),
        (b"", "closed before the end of the answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (BODY_BYTES_MAX + 1), "an answer of more than 4 MiB"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "not an HTTP/1.1 answer"),
    ],
)
async def test_what_is_no_answer_says_why(serve, data: bytes, why: str) -> None:  # type: ignore[no-untyped-def]
    """Bounded in size, precise in words."""
    url = await serve(data)
    with pytest.raises(NoAnswerError, match=why):
        await Client(Target(url)).get("/")


async def test_a_server_that_never_answers_is_given_up() -> None:
    """After the time allowed, not later."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begin = time.monotonic()
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.2 s"):
            await Client(Target(f"http://127.0.0.1:{silent.getsockname()[1]}")).get("/", timeout=0.2)
    assert time.monotonic() - begin < 3


async def test_plain_http_where_tls_is_expected_says_so(serve) -> None:  # type: ignore[no-untyped-def]
    """TLS trouble is named as such."""
    url = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(NoAnswerError, match=r"TLS failed|closed|no answer"):
        await Client(Target(url.replace("http:", "https:"))).get("/", timeout=2.0)


async def test_a_request_cannot_carry_a_second_one(serve) -> None:  # type: ignore[no-untyped-def]
    """A line break in a declared path or header is refused, not sent."""
    client = Client(Target(await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
    with pytest.raises(NoAnswerError, match="line break"):
        await client.get("/x HTTP/1.1\r\nhost: evil\r\n\r\nGET /y")
    with pytest.raises(NoAnswerError, match="line break"):
        await client.request("GET", "/", {"x-a": "1\r\nx-b: 2"})


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:99999", "nonsense"])
async def test_a_url_that_cannot_be_probed_makes_every_gate_unavailable(url: str) -> None:
    """And the report NO-GO, with the reason."""
    report = await run_gates(["health", "smoke"], Target(url))
    assert not report.go
    assert {result.outcome.verdict for result in report.results} == {Verdict.UNAVAILABLE}


async def test_nobody_listening_is_unavailable_not_failed() -> None:
    """Nothing was proven about the service."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        report = await run_gates(["startup"], Target(url, startup_timeout=0.5))
    assert report.results[0].outcome.verdict is Verdict.UNAVAILABLE
    assert "refused" in report.results[0].outcome.sentence


async def test_a_host_that_does_not_resolve_is_unavailable() -> None:
    """With the resolver's own words."""
    report = await run_gates(["startup"], Target("http://no-such-host.invalid", startup_timeout=0.5))
    assert report.results[0].outcome.verdict is Verdict.UNAVAILABLE


async def test_a_service_that_is_late_is_waited_for(serve) -> None:  # type: ignore[no-untyped-def]
    """503 first, then ready: PASS with the time it took."""
    ready_at = time.monotonic() + 0.5

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status = b"200 OK" if time.monotonic() > ready_at else b"503 Later"
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    report = await run_gates(["startup"], Target(url, startup_timeout=10.0))
    server.close()
    assert report.go, report.sentence
    assert report.results[0].outcome.evidence["ready_after_seconds"] >= 0.3


async def test_every_declared_request_is_told_when_several_are_wrong(serve) -> None:  # type: ignore[no-untyped-def]
    """One run mends them all."""
    url = await serve(b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}')
    wrong = (
        SmokeRequest("/one", expect=(404,), name="one"),
        SmokeRequest("/two", expect_json={"a": 2}, name="two"),
        SmokeRequest("/three", expect_json={"b": {"c": 1}}, name="three"),
        SmokeRequest("/fine", expect=("2xx",), expect_json={"a": 1}),
    )
    report = await run_gates(["smoke"], Target(url, smoke=wrong))
    sentence = report.results[-1].outcome.sentence
    assert sentence.startswith("3 of 4 requests: one: expected status 404, got 200")
    assert "two: expected a to be 2, got 1" in sentence
    assert "three: expected JSON field b, got none" in sentence
