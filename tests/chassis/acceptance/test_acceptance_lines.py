"""Cases L and E: what a running service writes down, and what becomes of its errors."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.process

SECRETS = {
    "e-mail": "ada@example.com",
    "card": "4111 1111 1111 1111",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "bearer": "Bearer abcdef0123456789abcdef",
    "phone": "+44 20 7946 0958",
    "url": "postgres://user:hunter2@db/shop",
}
ORDER_NUMBER = "1234567812345678"  # sixteen digits that are no card


def errors(served) -> list[dict]:
    path = served.stdout_path.parent / "errors.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("kind", SECRETS)
def test_l1_secrets_are_masked_in_messages_arguments_exceptions_and_queries(served, eventually, kind):
    """Wherever a line or a captured error could carry them; an order number is kept."""
    secret, mark = SECRETS[kind], uuid.uuid4().hex
    text = quote(f"{mark} {secret} order {ORDER_NUMBER}")
    assert served.status(f"/write?text={text}") == 200
    assert served.status(f"/fail?text={text}") == 500
    eventually(lambda: mark in served.stdout_path.read_text(), "the lines are written")
    lines = served.stdout_path.read_text()
    assert secret not in lines
    assert f"{mark} " in lines
    assert ORDER_NUMBER in lines
    assert secret not in json.dumps(errors(served))


def test_l2_a_path_cannot_forge_a_line(served, eventually):
    """One request, one line, whatever is in its path."""
    mark = uuid.uuid4().hex
    served.get(f"/{mark}%0a%7B%22level%22:%22fatal%22%7D%0d")
    (line,) = eventually(lambda: [each for each in served.log("request") if mark in each["path"]], "the line")
    assert line["level"] == "info"
    assert "\n" in line["path"]


def test_l3_l5_whatever_is_logged_is_one_valid_line_and_not_endless(served, eventually):
    """Cycles, NaN, half characters, bytes, an object without words; a text of 100 KB is cut."""
    assert served.status("/write-odd") == 200
    lines = eventually(
        lambda: [line for line in served.log() if str(line.get("message", "")).startswith(("odd", "long"))][1:], "lines"
    )
    assert len(json.dumps(lines[-1])) < 40_000


def test_l4_a_reader_that_is_gone_costs_lines_and_not_requests(start, eventually, monkeypatch):
    """The pipe of a logger that crashed."""
    real = subprocess.Popen

    def piped(*arguments, stdout, **more):
        process = real(*arguments, stdout=subprocess.PIPE, **more)
        process.stdout.close()
        return process

    monkeypatch.setattr(subprocess, "Popen", piped)
    service = start(
        """
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        """
    ).wait_started()
    assert {service.status("/x") for _ in range(50)} == {200}
    eventually(lambda: service.metric("log_lines_dropped_total") >= 50, "the lines are counted")


def test_l6_no_input_makes_the_search_slow(served, eventually):
    """Thirty kilobytes of what almost is an address: answered, logged, and the loop was never blocked."""
    stalls, mark = served.metric("event_loop_stalls_total"), uuid.uuid4().hex
    assert served.status(f"/write?text={mark}{'a@' * 12_000}") == 200
    eventually(lambda: mark in served.stdout_path.read_text(), "the line is written")
    assert served.metric("event_loop_stalls_total") == stalls


def test_l7_lines_written_before_a_crash_arrive(start, eventually):
    """A second signal ends the process where it stands; what was said before is there. So does a start that fails."""
    service = start(
        """
        import asyncio, logging
        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise RuntimeError
            logging.getLogger("shop").warning("the last words")
            await asyncio.sleep(60)
        """,
        GOLIVE_CHASSIS_LAME_DUCK="0s",
    ).wait_started()
    with service.connect() as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n")
        eventually(lambda: service.metric("http_requests_in_flight") == 1, "the handler runs")
        service.terminate()
        eventually(lambda: service.status("/health/ready") == 503, "the service drains")
        service.terminate()
        assert service.wait() == 130
    assert [line["message"] for line in service.log("log")] == ["the last words"]
    failing = start("import logging; logging.getLogger('shop').warning('before'); raise ValueError")
    assert failing.wait() == 2
    assert [line["phase"] for line in failing.log("boot_failed")] == ["import"]


def test_e1_a_storm_delivers_ten_a_minute_of_a_kind_and_counts_the_others(served, at_once, eventually):
    """Every caller is answered."""
    before = served.metric("errors_suppressed_total")
    answers = at_once([lambda: served.status("/fail?text=storm")] * 120)
    assert set(answers) == {500}
    eventually(lambda: served.metric("errors_suppressed_total") >= before + 100, "the others are counted")
    assert sum(event["message"] == "storm" for event in errors(served)) <= 20, "ten a minute, and a minute may end"


def test_e2_a_tracker_that_hangs_slows_no_request_and_holds_no_exit(start, ingest):
    """It takes the event and never answers."""
    ingest.hold.clear()
    service = start(
        """
        async def app(scope, receive, send):
            raise ValueError("each of them")
        """,
        SENTRY_DSN=ingest.dsn,
        GOLIVE_CHASSIS_LAME_DUCK="0s",
    ).wait_started()
    assert {service.status("/x") for _ in range(50)} == {500}
    began = service.terminate()
    assert service.wait() == 0
    assert time.monotonic() - began < 15, "the tracker would hang for thirty seconds"


def test_e3_an_unhandled_exception_is_a_generic_500(served):
    """The caller learns an id and nothing else; pages may read it."""
    answer = served.get("/fail?text=hunter2", "origin: https://app.example\r\n")
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"hunter2" not in answer.body
    assert b"ValueError" not in answer.body
    told = answer.json()
    assert (told["status"], told["request_id"]) == (500, answer.headers["x-request-id"])
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


def test_e3_a_handler_that_calls_exit_has_failed_and_stops_nobody(served):
    """As any other exception: a problem, a line, a captured error; the process goes on."""
    answer = served.get("/exit", "x-request-id: wants-out\r\n")
    assert (answer.status, answer.json()["request_id"]) == (500, "wants-out")
    assert served.status("/plain") == 200


def test_e4_after_the_start_the_connection_is_cut_and_counted_as_500(served, eventually, read_answer):
    """No caller may take half for the whole."""
    counter = 'http_requests_total{method="GET",route="/half",status="500"}'
    before = served.metric(counter)
    with pytest.raises(ConnectionError):
        served.get("/half", "x-request-id: cut-in-half\r\n")
    eventually(lambda: served.metric(counter) == before + 1, "it is counted")
    eventually(lambda: [e for e in served.log("unhandled_exception") if e["request_id"] == "cut-in-half"], "its line")


def test_e5_a_cancelled_request_is_no_error_and_a_group_is(served, eventually):
    """With everything that is in it."""
    with served.connect() as sock:
        sock.sendall(b"GET /cancelled HTTP/1.1\r\nhost: t\r\n\r\n")
        sock.recv(65536)
    assert served.status("/group") == 500
    (event, *_) = eventually(lambda: [e for e in errors(served) if e["error"] == "ExceptionGroup"], "the group")
    assert "KeyError" in event["trace"]
    assert "OSError" in event["trace"]
    assert not [e for e in errors(served) if e["error"] == "CancelledError"]


def test_e6_a_captured_error_is_redacted_and_has_no_locals(served, eventually):
    """Message and trace; values of variables are where secrets are."""
    mark = uuid.uuid4().hex
    served.get(f"/fail?text={mark}%20password=hunter2%20ada@example.com", "x-request-id: captured-1\r\n")
    events = eventually(lambda: errors(served), "an error is captured")
    assert all("local-hunter2" not in json.dumps({k: v for k, v in e.items() if k != "trace"}) for e in events)
    assert all("ada@example.com" not in json.dumps(e) for e in events)
    assert all("password=hunter2" not in e["message"] for e in events)
