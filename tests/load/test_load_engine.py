"""The engine against a server of known behaviour, in another process."""

import json
import math
import socket
import threading
import time
import urllib.request
from collections import Counter

import pytest

from golive.load import Failure, LoadPlan, LoadReport, RequestSpec, Window, run

pytestmark = pytest.mark.process


def exact(samples: list[float], q: float) -> float:
    return sorted(samples)[math.ceil(q * len(samples)) - 1]


@pytest.mark.timed
def test_a_stall_is_seen_by_everybody_who_would_have_met_it(known_server: str) -> None:
    """500 req/s for 4 s, 5 ms each, everything stalls once for 0.8 s: p95 and p99 within 5 % of what the server did."""
    rate, duration = 500, 4
    path = RequestSpec(path="/stall/1500/800/5?n={n}")
    report = run(LoadPlan(known_server, rate=rate, duration=duration, requests=[path], timeout=20))
    with urllib.request.urlopen(f"{known_server}/truth", timeout=10) as answer:
        truth = json.load(answer)
    assert report.requests == 2000
    assert report.failed == 0
    # Where every request waits for the end of the stall, 400 of 2,000 wait 0.8 s down to 0: p95 605 ms, p99 765 ms.
    since_due = [truth["replied"][str(number)] - number / rate for number in range(rate * duration)]
    origin = min(since_due) - 0.005  # the promptest answer took the 5 ms it is told to take
    exactly = [moment - origin for moment in since_due]
    assert exact(exactly, 0.95) >= 0.6
    assert exact(exactly, 0.99) >= 0.76
    for q in (0.9, 0.95, 0.99):
        assert report.latency.quantile(q) == pytest.approx(exact(exactly, q), rel=0.05)
    assert report.service.quantile(0.5) < 0.1


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/status/503", Failure.STATUS_5XX),
        ("/status/404", Failure.STATUS_4XX),
        ("/status/204", None),
        ("/reset", Failure.RESET_FRESH),
        ("/cut", Failure.EOF),
        ("/garbage", Failure.PROTOCOL),
        ("/never", Failure.TIMEOUT),
        ("/close-next", None),
        ("/chunked", None),
        ("/until-close", None),
        ("/interim", None),
    ],
)
def test_every_ending_is_classified(known_server: str, path: str, failure: Failure | None) -> None:
    """And each failed request is a sample at the age it had."""
    plan = LoadPlan(
        known_server, rate=100, duration=0.2, requests=[RequestSpec(path=path)], timeout=0.4, keep_alive=False
    )
    report = run(plan)
    assert report.requests == report.sent == report.latency.count == 20
    assert report.failures == (Counter({failure: 20}) if failure else Counter())
    lost = failure is not None and not failure.startswith("status")
    assert report.dropped == (20 if lost else 0)
    if failure is Failure.TIMEOUT:
        assert report.latency.quantile(0.0) >= 0.39


def test_a_keep_alive_race_is_told_from_a_server_that_resets(known_server: str) -> None:
    """Closed on the second request of a connection: reset-reused, not reset-fresh."""
    report = run(LoadPlan(f"{known_server}/close-next", rate=50, duration=0.4, connections_max=1))
    assert report.failures[Failure.RESET_REUSED] == 10
    assert report.statuses[200] == 10
    assert report.failures[Failure.RESET_FRESH] == 0


def test_nobody_listening_is_a_connect_failure_of_every_request() -> None:
    """And not an exception."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        report = run(LoadPlan(f"http://127.0.0.1:{unused.getsockname()[1]}/", rate=100, duration=0.2))
    assert report.failures == Counter({Failure.CONNECT: 20})
    assert report.dropped == 20


def test_answers_are_tallied_by_header_or_json_field(known_server: str) -> None:
    """Per value, with the failed ones apart, in the case they came in."""
    mix = [RequestSpec(path="/status/200", weight=3), RequestSpec(path="/status/500", weight=1)]
    by_header = run(LoadPlan(known_server, rate=400, duration=0.5, requests=mix, tally_header="X-Arm"))
    assert set(by_header.tally) == {"Arm-200", "Arm-500"}
    assert by_header.tally["Arm-500"] == by_header.tally_failures["Arm-500"] == by_header.statuses[500]
    assert by_header.tally["Arm-500"] == pytest.approx(50, abs=30)
    by_field = run(LoadPlan(known_server, rate=100, duration=0.3, requests=mix, tally_json="arm"))
    assert set(by_field.tally) == {"Canary", "Broken"}


def test_requests_carry_what_the_plan_says(known_server: str) -> None:
    """Method, path, body and round-robin user arrive at the server."""
    spec = RequestSpec("POST", "/echo", {"X-User": "{user}"}, '{"n": {n}}')
    plan = LoadPlan(known_server, rate=100, duration=0.3, users=3, requests=[spec], tally_json="body")
    assert run(plan).tally == Counter(json.dumps({"n": n}) for n in range(30))


def test_users_of_a_closed_loop_wait_for_their_answers(known_server: str) -> None:
    """Four users at 50 ms each make 80 requests a second, no more."""
    report = run(LoadPlan(f"{known_server}/delay/50", concurrency=4, duration=1.0))
    assert 40 <= report.requests <= 84
    assert report.connections_opened == 4
    assert not report.open_loop
    assert report.valid


@pytest.mark.timed
def test_requests_beyond_the_connection_cap_wait_and_their_wait_counts(known_server: str) -> None:
    """Two connections at 100 ms serve 20/s; asked for 40/s, the last of 20 waits about half a second."""
    report = run(LoadPlan(f"{known_server}/delay/100", rate=40, duration=0.5, connections_max=2))
    assert report.requests == 20
    assert report.connections_opened == 2
    assert report.waited >= 15
    assert report.latency.max > 0.4
    assert report.service.quantile(0.5) < 0.25


def test_a_late_generator_refuses_a_verdict(known_server: str) -> None:
    """A callback that blocks makes the schedule late: the run says INVALID and why, whatever the service did."""
    plan = LoadPlan(f"{known_server}/delay/1", rate=100, duration=1.5, latency_limit=0.1)
    report = run(plan, on_second=lambda _window: time.sleep(0.3))
    assert not report.valid
    assert "generator-bound" in report.why
    assert "scheduling lag p99" in report.why


def test_a_rate_this_machine_cannot_send_is_refused_as_not_achieved() -> None:
    """Asked 1,000, sent 900: no verdict."""
    report = LoadReport(asked=1000, sent=900, requests=900)
    report.judge(1.0)
    assert not report.valid
    assert "sent only 900 of 1000" in report.why


def test_every_second_is_told_and_they_add_up_to_the_report(known_server: str) -> None:
    """Windows are the run, cut at the seconds."""
    windows: list[Window] = []
    report = run(LoadPlan(f"{known_server}/delay/1", rate=100, duration=2.0), on_second=windows.append)
    assert [window.second for window in windows][:2] == [1, 2]
    assert 150 <= sum(window.requests for window in windows) <= report.requests == 200


def test_a_run_can_be_stopped_and_reports_what_was_done(known_server: str) -> None:
    """What is in flight may finish; what never would is unfinished, not dropped."""
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    mix = [RequestSpec(path="/delay/1"), RequestSpec(path="/never")]
    begin = time.monotonic()
    report = run(LoadPlan(known_server, rate=100, duration=None, requests=mix, timeout=60), stop=stop)
    timer.join()
    assert time.monotonic() - begin < 10
    assert report.dropped == 0
    assert report.failures[Failure.UNFINISHED] > 0
    assert report.failed == 0
    assert report.requests == report.sent == report.asked


def test_the_request_count_can_end_a_run(known_server: str) -> None:
    """Exactly so many were sent."""
    assert run(LoadPlan(f"{known_server}/delay/0", rate=1000, duration=None, requests_max=50)).requests == 50
