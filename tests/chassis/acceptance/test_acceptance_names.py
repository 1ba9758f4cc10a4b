"""Cases T and C: which request this is, and whose pages may read the answer."""

from __future__ import annotations

import re
import time

import pytest

pytestmark = pytest.mark.process

ORIGIN = "origin: https://app.example\r\n"
ALLOWED = "access-control-allow-origin"


def logged(served, eventually, request_id):
    return eventually(
        lambda: [line for line in served.log("request") if line["request_id"] == request_id],
        f"the line of {request_id}",
    )


def test_t1_without_an_id_there_is_one_everywhere(served, eventually):
    """Header, handler, log, problem."""
    answer = served.get("/plain")
    given = answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", given)
    assert answer.json()["id"] == given
    assert len(logged(served, eventually, given)) == 1
    problem = served.get("/nowhere")
    assert problem.json()["request_id"] == problem.headers["x-request-id"]


def test_times_in_the_log_have_three_decimals(served, eventually):
    """A request that takes less than a millisecond is not 0."""
    for _ in range(20):
        served.get("/plain", "x-request-id: timed\r\n")
    lines = eventually(lambda: [x for x in served.log("request") if x["request_id"] == "timed"][19:], "twenty lines")
    assert lines
    times = [line["duration_ms"] for line in served.log("request") if line["request_id"] == "timed"]
    assert any(round(time, 2) != time for time in times), times


def test_t2_a_well_formed_id_is_kept(served):
    """The caller's is the one to search for."""
    answer = served.get("/plain", "x-request-id: order-7.a_B\r\n")
    assert answer.headers["x-request-id"] == answer.json()["id"] == "order-7.a_B"


@pytest.mark.parametrize(
    "bad", ["x" * 5000, "caf\xe9", "a b", "a\x00b", 'a"b'], ids=["long", "latin", "space", "nul", "quote"]
)
def test_t3_a_malformed_id_is_replaced_said_in_the_log_and_never_reflected(served, eventually, bad):
    """Or the server refuses the whole head; either way it is nowhere in the answer."""
    answer = served.get("/plain", f"x-request-id: {bad}\r\n")
    assert answer.status in (200, 400)
    assert bad.encode("latin-1") not in answer.body
    if answer.status == 200:
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert logged(served, eventually, answer.headers["x-request-id"])[0]["request_id_replaced"] is True


def test_t4_two_ids_are_none(served):
    """Nobody can know which was meant."""
    answer = served.get("/plain", "x-request-id: one\r\nx-request-id: two\r\n")
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


TRACE = f"00-{'4b' * 16}-{'0a' * 8}-01"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ([TRACE], True),
        (["01" + TRACE[2:] + "-more"], True),
        ([TRACE.upper()], False),
        (["00-" + "0" * 32 + TRACE[35:]], False),
        (["ff" + TRACE[2:]], False),
        ([TRACE[:-1]], False),
        ([TRACE, TRACE], False),
    ],
)
def test_t5_a_trace_is_kept_when_it_is_one(served, eventually, sent, kept):
    """Without an id of its own the request is known by its trace."""
    answer = served.get("/plain", "".join(f"traceparent: {value}\r\n" for value in sent) + "tracestate: a=1\r\n")
    assert (answer.headers["x-request-id"] == "4b" * 16) is kept
    assert (logged(served, eventually, answer.headers["x-request-id"])[-1]["trace_id"] == "4b" * 16) is kept


def test_t6_every_kind_of_answer_carries_the_id(served):
    """Whoever made it."""
    for _ in range(6):
        last = served.get("/limited", "x-forwarded-for: 198.51.100.66\r\n")
    json = "content-type: application/json\r\n"
    answers = {
        500: served.get("/fail"),
        404: served.get("/nowhere"),
        405: served.request("POST", "/plain"),
        413: served.request("POST", "/validated", "content-length: 99999999\r\n"),
        422: served.request("POST", "/validated", json, b"{}"),
        429: last,
        503: served.get("/status/503"),
        401: served.get("/private"),
    }
    assert {status: answer.status for status, answer in answers.items()} == {status: status for status in answers}
    for status, answer in answers.items():
        assert answer.json()["request_id"] == answer.headers["x-request-id"], status
    assert served.request("OPTIONS", "/plain").headers["x-request-id"]


def test_t7_background_tasks_and_threads_see_the_id_and_the_next_request_does_not(served, eventually, read_answer):
    """Two requests on one connection, the first served by a thread and followed by a background task."""
    with served.connect() as sock:
        sock.sendall(b"GET /sync HTTP/1.1\r\nhost: t\r\nx-request-id: the-first\r\n\r\n")
        assert read_answer(sock).json() == {"id": "the-first"}
        sock.sendall(b"GET /plain HTTP/1.1\r\nhost: t\r\n\r\n")
        assert read_answer(sock).json()["id"] != "the-first"
    eventually(lambda: "the-first" in served.get("/background").json(), "the background task has run")


def test_c1_what_is_not_exactly_an_origin_refuses_the_start_and_is_named(refused):
    """All of them at once; production wants more."""
    wrong = ["https://a/", "a.example", "null", "https://*.a", "https://a:443", "HTTPS://A"]
    said = refused(CORS_ORIGINS=",".join([*wrong, "*"]), CORS_ALLOW_CREDENTIALS="true")
    assert [value for value in [*wrong, "*"] if f"'{value}'" not in said] == []
    production = {"GOLIVE_ENV": "production"}
    assert "'http://localhost:3000'" in refused(CORS_ORIGINS="http://localhost:3000", **production)
    assert "CORS_ORIGINS: expected at least one origin" in refused(CORS_ORIGINS="", **production)


def test_c2_an_allowed_origin_is_on_every_answer(served, start, read_answer):
    """Errors too, and while the service drains."""
    for _ in range(6):
        last = served.get("/limited", "x-forwarded-for: 198.51.100.2\r\n" + ORIGIN)
    json = ORIGIN + "content-type: application/json\r\n"
    answers = [served.get(path, ORIGIN) for path in ("/plain", "/private", "/fail", "/nowhere", "/status/503")]
    answers += [last, served.request("POST", "/validated", json, b"{}")]
    assert [answer.status for answer in answers] == [200, 401, 500, 404, 503, 429, 422]
    for answer in answers:
        assert answer.headers[ALLOWED] == "https://app.example", answer.status
        assert "Origin" in [value for name, value in answer.pairs if name == "vary"], answer.status
    draining = start(
        """
        import asyncio
        async def app(scope, receive, send):
            await asyncio.sleep(2)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        """,
        CORS_ORIGINS="https://app.example",
        GOLIVE_CHASSIS_LAME_DUCK="0s",
    ).wait_started()
    with draining.connect() as holding:
        holding.sendall(b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n")
        while not draining.metric("http_requests_in_flight"):
            time.sleep(0.01)
        draining.terminate()
        while draining.status("/health/ready") != 503:
            time.sleep(0.01)
        late = draining.get("/x", ORIGIN)
        assert (late.status, late.headers[ALLOWED]) == (503, "https://app.example")
        assert read_answer(holding).status == 200


@pytest.mark.parametrize("origin", ["https://b.example", "https://app.example.evil", "https://A.example", "null"])
def test_c3_c5_another_origin_gets_no_permission_and_vary(served, origin):
    """Compared byte by byte."""
    answer = served.get("/plain", f"origin: {origin}\r\n")
    assert ALLOWED not in answer.headers
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_c4_a_preflight_needs_no_credentials_spends_no_quota_and_allows_no_more_than_it_says(served):
    """For a route with both."""
    asks = ORIGIN + "x-forwarded-for: 198.51.100.4\r\naccess-control-request-method: "
    for _ in range(10):
        assert served.request("OPTIONS", "/guarded", asks + "POST\r\n").status == 204
        assert served.request("OPTIONS", "/limited", asks + "GET\r\n").status == 204
    assert served.get("/limited", "x-forwarded-for: 198.51.100.4\r\n").headers["ratelimit"].startswith('"five";r=4')
    for more in ("BREW\r\n", "GET\r\naccess-control-request-headers: x-evil\r\n"):
        denied = served.request("OPTIONS", "/plain", asks + more)
        assert 400 <= denied.status < 500
        assert ALLOWED not in denied.headers


def test_c6_a_header_of_the_apps_own_is_not_doubled(served):
    """Two would be read as none."""
    given = [value for name, value in served.get("/own-cors", ORIGIN).pairs if name == ALLOWED]
    assert given == ["https://app.example"]


def test_c7_ids_limits_and_waits_are_readable_for_pages(served):
    """A browser hides what is not named."""
    exposed = served.get("/plain", ORIGIN).headers["access-control-expose-headers"].lower()
    assert {"x-request-id", "ratelimit", "ratelimit-policy", "retry-after"} <= set(re.split(r",\s*", exposed))
