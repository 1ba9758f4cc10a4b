"""
The sum over workers: counters never go back, gauges go with their worker, nothing grows with restarts.
"""

from __future__ import annotations

import time

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from golive.chassis import fleetwire as wire
from golive.chassis.exposition import render
from golive.chassis.metrics import Metrics
from golive.chassis.snapshot import FamilyShot, Totals, take

EDGES = (0.1, 1.0)


def counted(requests: int, *, busy: float = 0.0, slow: int = 0) -> list[FamilyShot]:
    """The snapshot of a worker, as it arrives: encoded and decoded."""
    metrics = Metrics()
    metrics.counter("requests_total", "h", ("route",)).inc("/a", by=requests)
    metrics.gauge("busy", "h").set(busy)
    metrics.gauge("lag", "h", across="max").set(busy)
    metrics.gauge("healthy", "h", ("check",), across="min").set(1.0 if busy < 5 else 0.0, "db")
    histogram = metrics.histogram("seconds", "h", ("route",), edges=EDGES)
    for _ in range(slow):
        histogram.observe(0.5, "/a")
    report = msgspec.msgpack.decode(wire.frame(wire.Report(take(metrics)))[4:], type=wire.FromWorker)
    assert isinstance(report, wire.Report)
    return report.shots


def text(totals: Totals) -> list[str]:
    return "".join(render(totals.sum(), openmetrics=False)).splitlines()


def test_counters_and_histograms_are_added_and_gauges_by_their_own_rule() -> None:
    """Sum, most and least."""
    totals = Totals()
    totals.report(1, counted(3, busy=2.0, slow=1))
    totals.report(2, counted(4, busy=7.0, slow=2))
    lines = text(totals)
    assert 'requests_total{route="/a"} 7' in lines
    assert "busy 9" in lines
    assert "lag 7" in lines
    assert 'healthy{check="db"} 0' in lines
    assert 'seconds_bucket{route="/a",le="0.1"} 0' in lines
    assert 'seconds_bucket{route="/a",le="1.0"} 3' in lines
    assert 'seconds_count{route="/a"} 3' in lines


def test_what_an_ended_worker_counted_stays_and_what_it_was_goes() -> None:
    """A counter that went back would look like a restart of the service to whoever scrapes."""
    totals = Totals()
    totals.report("a", counted(3, busy=2.0, slow=1))
    totals.end("a")
    totals.report("b", counted(1, busy=1.0))
    lines = text(totals)
    assert 'requests_total{route="/a"} 4' in lines
    assert 'seconds_count{route="/a"} 1' in lines
    assert "busy 1" in lines


def test_a_worker_that_ended_without_a_report_takes_nothing_with_it() -> None:
    """It had counted nothing that anybody saw."""
    totals = Totals()
    totals.end("never seen")
    assert [line for line in text(totals) if not line.startswith("#")] == []


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=8))
def test_no_sum_ever_goes_back_whatever_reports_and_deaths_come(generations: list[list[int]]) -> None:
    """Each inner list is one worker's increments; it reports after each, and then dies."""
    totals, last = Totals(), 0.0
    for number, increments in enumerate(generations):
        mine = 0
        for increment in increments:
            mine += increment
            totals.report(number, counted(mine))
            now = totals.sum().counter("requests_total", "h", ("route",)).values[("/a",)]
            assert now >= last
            last = now
        totals.end(number)
    assert last == sum(map(sum, generations))


def test_a_thousand_restarts_leave_one_sum() -> None:
    """Files for each process that ever lived are what this replaces."""
    totals = Totals()
    for number in range(1000):
        totals.report(number, counted(1))
        totals.end(number)
    assert 'requests_total{route="/a"} 1000' in text(totals)
    assert len(text(totals)) < 20


def test_workers_of_different_code_disagree_without_harm() -> None:
    """During a deployment a name may mean two things: the first one is shown, nothing raises."""
    totals, other = Totals(), Metrics()
    totals.report(1, counted(2, slow=1))
    other.gauge("requests_total", "h").set(5.0)
    other.histogram("seconds", "h", ("route",), edges=(9.0,)).observe(1.0, "/a")
    totals.report(2, take(other))
    lines = text(totals)
    assert 'requests_total{route="/a"} 2' in lines
    assert 'seconds_count{route="/a"} 1' in lines


def test_m7_a_snapshot_of_five_thousand_series_costs_the_loop_less_than_a_tenth_of_a_second() -> None:
    """What the scraped worker does on its loop: take and encode. CPU time of this thread, whoever else is busy."""
    metrics = Metrics()
    histogram = metrics.histogram("seconds", "h", ("route",), edges=tuple(map(float, range(14))), series_max=6000)
    for number in range(5000):
        histogram.observe(number % 17, f"/route/{number}")
    costs = []
    for _ in range(3):
        began = time.thread_time()
        encoded = wire.frame(wire.Report(take(metrics)))
        costs.append(time.thread_time() - began)
    assert len(encoded) > 100_000
    assert min(costs) < 0.1
