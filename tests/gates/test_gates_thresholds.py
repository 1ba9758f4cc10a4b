"""Conditions on a load run, from the command line and from the SLO table."""

import re

import pytest

from golive.errors import UsageError
from golive.gates.thresholds import latency_limit, of_table, parse_threshold
from golive.load import Failure, LoadReport
from golive.slo.table import parse_table


def run_of(*milliseconds: int, failed: int = 0) -> LoadReport:
    report = LoadReport(achieved_rate=99.5)
    for latency in milliseconds:
        report.requests += 1
        report.latency.record(latency / 1000)
        report.service.record(latency / 2000)
    report.failures[Failure.TIMEOUT] += failed
    return report


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("p50 < 300ms", True),
        ("p99 < 300ms", False),
        ("latency_p99 <= 1s", True),
        ("service_p100 < 260ms", True),
        ("max < 400ms", False),
        ("error_rate <= 25%", True),
        ("error_rate < 1%", False),
        ("success_rate > 70%", True),
        ("dropped == 0", False),
        ("failed <= 1", True),
        ("requests >= 4", True),
        ("rate > 99", True),
        ("  p50<300ms ", True),
    ],
)
def test_a_threshold_is_judged_on_the_measured_figure(text: str, holds: bool) -> None:
    """Four requests, one of them lost."""
    assert parse_threshold(text).judge(run_of(100, 200, 250, 500, failed=1))[0] is holds


def test_what_was_not_measured_satisfies_nothing() -> None:
    """An empty run has no latency, and that is not below a limit."""
    assert parse_threshold("p95 < 1s").judge(LoadReport()) == (False, "p95 was not measured (limit < 1s)")
    assert parse_threshold("error_rate < 1%").judge(LoadReport())[0] is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p95 < 300", "has no unit"),
        ("p95", 'expected a condition such as "p95 < 300ms"'),
        ("p5 < 1s", "unknown figure"),
        ("error_rat < 1%", 'did you mean "error_rate"'),
        ("dropped != 0", "expected one of <"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(text: str, message: str) -> None:
    """With what to write instead."""
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_threshold(text)


def test_the_tightest_latency_limit_is_what_lag_is_compared_with() -> None:
    """Limits from below and on other things do not count."""
    thresholds = [
        parse_threshold(text) for text in ("p95 < 2s", "p99 < 900ms", "mean > 1ms", "lag_p99 < 1ms", "dropped == 0")
    ]
    assert latency_limit(thresholds) == 0.9
    assert latency_limit([]) is None


def test_the_slo_table_is_the_load_gate() -> None:
    """Rows about latency and errors, with the gate's own numbers, of this route or of all."""
    table = parse_table(
        {
            "latency_p99": {"target": "< 1s"},
            "submit_latency_p95": {"target": "< 3s", "route": "POST /orders"},
            "view_latency_p95": {"target": "< 1s", "route": "GET /orders"},
            "error_rate": {"target": "<= 2%", "gate": {"target": "<= 1%"}},
            "queue_depth": {"target": "< 10"},
        }
    )
    assert of_table(table.values(), "POST /orders") == ["p99 < 1s", "p95 < 3s", "error_rate <= 1%"]
    assert [parse_threshold(text).name for text in of_table(table.values())] == ["p99", "error_rate"]
