"""Error capture (cases E1, E2, E5, E6)."""

from __future__ import annotations

import json
import threading
import time

import pytest

from golive import Chassis
from golive.chassis import ChassisSettings
from golive.chassis.capture import Capture, FileSink


async def failing(scope, receive, send):
    if scope["path"] == "/group":
        raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])
    secret_local = "hunter2"
    raise ValueError(f"for jane@example.com {len(secret_local)}")


class Keeping:
    def __init__(self) -> None:
        self.events = []

    def deliver(self, event, error):
        self.events.append(event)


async def test_e6_a_captured_error_is_one_redacted_line_without_locals(call, tmp_path):
    """What, where, and the id to find it by; no address, no local variable."""
    path = tmp_path / "errors.ndjson"
    chassis = Chassis(ChassisSettings(access_log=False, error_file=str(path)))
    answer = await call(chassis.wrap(failing), path="/x")
    assert chassis.capture.flush(5)
    [line] = path.read_text().splitlines()
    event = json.loads(line)
    assert (event["error"], event["message"], event["method"]) == ("ValueError", "for [email] 7", "GET")
    assert event["request_id"] == answer.headers["x-request-id"]
    assert "in failing" in event["trace"]
    assert "'hunter2'" not in line
    text = (await call(chassis.wrap(failing), path="/metrics")).body.decode()
    assert "errors_captured_total 1" in text
    chassis.stop_background()


def raised(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


@pytest.mark.timed
def test_e1_a_storm_is_cheap_and_each_fingerprint_is_delivered_ten_times_a_minute(monkeypatch):
    """Ten thousand equal errors cost microseconds each and ten events; another error still gets through."""
    sink = Keeping()
    capture = Capture(sink)
    moment = time.monotonic()
    monkeypatch.setattr("golive.chassis.capture.time.monotonic", lambda: moment)
    error, began = raised("same"), time.perf_counter()
    for _ in range(10_000):
        capture.error(error)
    assert time.perf_counter() - began < 1.0
    capture.error(KeyError("another"))
    monkeypatch.undo()
    assert capture.flush(5)
    assert [event["error"] for event in sink.events] == ["ValueError"] * 10 + ["KeyError"]
    assert capture.suppressed == 9_990


@pytest.mark.timed
def test_e2_a_sink_that_hangs_costs_events_and_nothing_else():
    """The queue is bounded, drops are counted, and the exit waits as long as it was told."""
    release = threading.Event()

    class Hanging:
        def deliver(self, event, error):
            release.wait(30)

    capture = Capture(Hanging())
    began = time.perf_counter()
    for number in range(2_000):
        capture.error(type(f"Error{number}", (Exception,), {})())
    assert time.perf_counter() - began < 2
    assert capture.dropped >= 900
    began = time.perf_counter()
    assert not capture.flush(0.2)
    assert time.perf_counter() - began < 1
    release.set()


def test_e2_a_sink_that_fails_is_counted(tmp_path):
    """The thread survives, the next event is tried."""
    capture = Capture(FileSink(tmp_path / "no" / "such" / "folder"))
    capture.error(raised("a"))
    assert capture.flush(5)
    assert (capture.failed, capture.captured) == (1, 0)
    (tmp_path / "no" / "such").mkdir(parents=True)
    capture.error(raised("b"))
    assert capture.flush(5)
    assert capture.captured == 1


async def test_e5_an_exception_group_is_captured(call):
    """All of it, in one event."""
    chassis, sink = Chassis(ChassisSettings(access_log=False)), Keeping()
    chassis.capture_errors_to(sink)
    await call(chassis.wrap(failing), path="/group")
    assert chassis.capture.flush(5)
    [event] = sink.events
    assert event["error"] == "ExceptionGroup"
    assert "ValueError: a" in event["trace"]
    assert "KeyError: 'b'" in event["trace"]
    chassis.stop_background()


async def test_e6_sentry_gets_the_error_redacted_without_locals_and_with_the_request(call, ingest):
    """Release, environment, route and id to search by; the stack, and nothing that was in its variables."""
    settings = ChassisSettings(
        access_log=False, sentry_dsn=ingest.dsn, service="shop", version="v7", environment="staging"
    )
    chassis = Chassis(settings)
    chassis.log.record = lambda line: None
    answer = await call(chassis.wrap(failing), path="/x")
    assert chassis.capture.flush(10)
    [event] = ingest.events
    [exception] = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("ValueError", "for [email] 7")
    assert (event["release"], event["environment"]) == ("shop@v7", "staging")
    assert event["tags"]["request_id"] == answer.headers["x-request-id"]
    assert exception["stacktrace"]["frames"][-1]["function"] == "failing"
    assert b"jane@example.com" not in ingest.bodies[0]
    assert all("vars" not in frame for frame in exception["stacktrace"]["frames"])
    assert "public@" not in repr(settings)
    chassis.stop_background()


async def test_e5_sentry_gets_a_group_with_everything_in_it(call, ingest):
    """One event, each exception of the group in it."""
    chassis = Chassis(ChassisSettings(access_log=False, sentry_dsn=ingest.dsn))
    chassis.log.record = lambda line: None
    await call(chassis.wrap(failing), path="/group")
    assert chassis.capture.flush(10)
    [event] = ingest.events
    assert {value["type"] for value in event["exception"]["values"]} == {"ExceptionGroup", "ValueError", "KeyError"}
    chassis.stop_background()


@pytest.mark.timed
async def test_e1_e2_a_sentry_that_hangs_slows_no_request_and_holds_no_exit(call, ingest):
    """Three hundred different errors while it hangs; the exit waits as long as it was told, and losses are counted."""
    chassis = Chassis(ChassisSettings(access_log=False, sentry_dsn=ingest.dsn))
    chassis.log.record = lambda line: None
    kinds = [type(f"Error{number}", (Exception,), {}) for number in range(300)]

    async def storm(scope, receive, send):
        raise kinds[int(scope["path"][1:])]

    app = chassis.wrap(storm)
    ingest.hold.clear()
    slowest = 0.0
    for number in range(300):
        began = time.perf_counter()
        assert (await call(app, path=f"/{number}")).status == 500
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 1.0
    began = time.perf_counter()
    chassis.capture.flush(1.0)
    assert time.perf_counter() - began < 4
    chassis.stop_background()


async def test_e2_what_sentry_refuses_is_counted_and_the_file_gets_it_all_the_same(call, ingest, tmp_path):
    """Both sinks at once; one that fails takes nothing from the other."""
    path = tmp_path / "errors.ndjson"
    chassis = Chassis(ChassisSettings(access_log=False, sentry_dsn=ingest.dsn, error_file=str(path)))
    chassis.log.record = lambda line: None
    ingest.status = 500
    await call(chassis.wrap(failing), path="/x")
    assert chassis.capture.flush(10)
    assert len(path.read_text().splitlines()) == 1
    text = (await call(chassis.wrap(failing), path="/metrics")).body.decode()
    assert "errors_undelivered_total 1" in text
    chassis.stop_background()


@pytest.mark.parametrize(
    "bad",
    ["nonsense", "https://errors.example/1", "https://key@errors.example/project", "ftp://k@h/1", "http://k@h:x/1"],
)
def test_a_dsn_that_names_no_project_is_said_and_ends_nothing(bad):
    """Not being able to send errors is no reason not to serve; its key is not shown."""
    chassis = Chassis()
    lines = []
    chassis.log.record = lines.append
    chassis.settings = ChassisSettings(sentry_dsn=bad)
    assert chassis._error_sink() is None
    assert "expected a DSN such as" in lines[0]["message"]
    assert "key@" not in lines[0]["message"].replace("https://key@errors.example.com/1", "")


@pytest.mark.process
def test_a_start_that_fails_is_sent_too(start, ingest):
    """An import that raises is an unhandled error; the process has ended within its linger and two seconds."""
    service = start("raise RuntimeError('password=hunter2')", SENTRY_DSN=ingest.dsn, GOLIVE_CHASSIS_BOOT_LINGER="100ms")
    assert service.wait() == 2
    [event] = ingest.events
    assert (event["tags"]["phase"], event["exception"]["values"][-1]["type"]) == ("import", "RuntimeError")
    assert b"hunter2" not in ingest.bodies[0]
