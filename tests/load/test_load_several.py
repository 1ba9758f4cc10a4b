"""Several generators are one: the same requests, the sum of the figures, and a verdict only when all kept up."""

import heapq
import json
import subprocess
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.load import Histogram, LoadPlan, LoadReport, RequestSpec, Stage, Window, run_several, several
from golive.load.arrivals import intended_times
from golive.load.share import Share

URL = "http://127.0.0.1:8000/"


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
@given(count=st.integers(1, 7))
def test_the_shares_of_a_schedule_are_the_schedule(arrivals: Any, count: int) -> None:
    """Ramps and random arrivals too: dealt out in turn, and nothing else."""
    plan = LoadPlan(URL, stages=[Stage(40, 2, ramp=True), Stage(30, 1)], arrivals=arrivals)
    shares = [list(Share(index, count).of_schedule(intended_times(plan))) for index in range(count)]
    assert list(heapq.merge(*shares)) == list(intended_times(plan))
    assert [len(share) for share in shares] == [
        Share(index, count).of_total(sum(map(len, shares))) for index in range(count)
    ]


@given(total=st.integers(0, 1000), count=st.integers(1, 64))
def test_a_total_is_dealt_out_without_a_rest(total: int, count: int) -> None:
    """Connections, users and the request count."""
    parts = [Share(index, count).of_total(total) for index in range(count)]
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


def of(lags: list[float], sent: int | None = None) -> LoadReport:
    report = LoadReport(requests=len(lags), sent=len(lags) if sent is None else sent, asked=len(lags))
    for lag in lags:
        report.lag.record(lag)
        report.latency.record(0.02 + lag)
    return report


def test_one_bottlenecked_generator_refuses_the_verdict_of_all() -> None:
    """Even where the sum of the lags would have hidden it."""
    good, late = of([0.0001] * 9_950), of([0.5] * 50)
    total = LoadReport.of_generators([good, late], latency_limit=0.1)
    assert total.lag.quantile(0.99) < 0.01
    assert not total.valid
    assert total.why.startswith("INVALID: generator-bound, generator 2 of 2 scheduling lag p99")
    total = LoadReport.of_generators([good, of([0.0001] * 50, sent=40)], latency_limit=0.1)
    assert total.why == "INVALID: generator-bound, generator 2 of 2 sent only 40 of 50 requests (80.0%)"
    assert LoadReport.of_generators([good, good], latency_limit=0.1).valid


def test_histograms_add_up_exactly() -> None:
    """Bucket by bucket, sum, smallest and largest."""
    one, two = of([0.001, 0.5, 0.25]), of([0.002, 7.0])
    both = Histogram()
    for lag in (0.001, 0.5, 0.25, 0.002, 7.0):
        both.record(lag)
    assert LoadReport.of_generators([one, two], None).lag.to_json() == both.to_json()


@pytest.mark.process
def test_three_generators_send_what_one_would_have_sent(known_server: str) -> None:
    """Every number once, and windows and report of the sum."""
    windows: list[Window] = []
    spec = RequestSpec("POST", "/echo", body="{n}")
    plan = LoadPlan(known_server, rate=50, duration=None, requests_max=70, requests=[spec], tally_json="body",
                    latency_limit=100, timeout=100)  # fmt: skip
    report = run_several(plan, 3, windows.append)
    assert report.tally == Counter({str(number): 1 for number in range(70)})
    assert report.requests == report.sent == report.asked == report.latency.count == 70
    assert report.valid, report.why
    assert 1 <= sum(window.requests for window in windows) <= 70
    assert [window.second for window in windows] == sorted({window.second for window in windows})


@pytest.mark.process
def test_users_of_a_closed_loop_are_shared_out(known_server: str) -> None:
    """Three users on two processes are three connections."""
    report = run_several(LoadPlan(f"{known_server}/delay/5", concurrency=3, duration=None, requests_max=40), 2)
    assert (report.requests, report.connections_opened, report.open_loop) == (40, 3, False)


@pytest.mark.process
def test_a_generator_that_dies_is_named_and_takes_the_verdict(
    known_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others end with their figures; nobody is left behind."""
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(several.subprocess, "Popen", Noted)
    plan = LoadPlan(f"{known_server}/delay/1", rate=60, duration=None, latency_limit=100, timeout=100)
    report = run_several(plan, 3, on_second=lambda _window: started[1].kill())
    assert not report.valid
    assert report.why.startswith("UNAVAILABLE: generator 2 of 3 died (signal 9)")
    assert report.requests > 0
    assert [process.returncode for process in started] == [0, -9, 0]
    assert json.dumps(report.to_json())
