"""Error capture (cases E1, E2, E5, E6)."""

from __future__ import annotations

import json
import threading
import time

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
