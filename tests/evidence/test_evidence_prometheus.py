"""What Prometheus may answer, and what none of it is allowed to become: a pass, a fail, or a number nobody counted."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from tests.evidence.conftest import PrometheusServer

from golive.errors import ConfigError, UnavailableError
from golive.rollout.evidence.prometheus import PrometheusEvidence, PrometheusSettings

BOUNDS = (0.1, 0.25, 1.0)
REQUESTS = 'sum(requests_total{version="{version}"})'
ERRORS = "sum(errors_total{$labels})"


def evidence(server: PrometheusServer, **settings: Any) -> PrometheusEvidence:
    asked = {"requests": REQUESTS, "errors": ERRORS, **settings}
    return PrometheusEvidence(PrometheusSettings(server.url, **asked), lambda: ["v1", "v2"], BOUNDS)


def counted(server: PrometheusServer, **versions: tuple[float, float]) -> None:
    for version, (requests, errors) in versions.items():
        for name, value in (("requests_total", requests), ("errors_total", errors)):
            server.series.setdefault(name, []).append(({"version": version}, value))


def vector(*values: object, at: float | None = None, labels: dict[str, str] | None = None) -> tuple[int, bytes]:
    now = time.time() if at is None else at
    result = [{"metric": labels or {}, "value": [now, value]} for value in values]
    return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


async def test_each_version_is_asked_about_by_name_with_a_short_look_back(prometheus: PrometheusServer):
    """Prometheus would repeat a dead series for five minutes; a token is sent along."""
    counted(prometheus, v1=(90, 1), v2=(10, 2))
    sample = await evidence(prometheus, headers={"Authorization": "Bearer x"}, lookback=timedelta(seconds=20)).sample()
    assert {name: (arm.requests, arm.errors) for name, arm in sample.arms.items()} == {
        "v1": ({"*": 90}, {"*": 1}), "v2": ({"*": 10}, {"*": 2}),
    }  # fmt: skip
    assert prometheus.asked["lookback_delta"] == "20s"
    assert prometheus.headers["Authorization"] == "Bearer x"
    assert abs(float(prometheus.asked["time"]) - time.time()) < 60


async def test_no_series_is_no_entry_and_no_failure_is_no_series(prometheus: PrometheusServer):
    """A version that did nothing is unknown; a counter of errors that was never increased does not exist yet."""
    prometheus.series["requests_total"] = [({"version": "v1"}, 7.0)]
    assert {name: (arm.requests, arm.errors) for name, arm in (await evidence(prometheus).sample()).arms.items()} == {
        "v1": ({"*": 7}, {"*": 0})
    }


#: Made when they are served: an answer of a minute ago is not about now.
NOT_EVIDENCE = {
    "NaN": (lambda: vector("NaN"), r"requests of v\d: expected a number, got nan"),
    "infinity": (lambda: vector("+Inf"), r"expected a number, got inf"),
    "several series": (lambda: vector("1", "2"), r"expected one series, got 2\. Sum them up in the query"),
    "a matrix": (
        lambda: (200, b'{"status":"success","data":{"resultType":"matrix","result":[]}}'),
        "query of an instant",
    ),
    "an error": (lambda: (400, b'{"status":"error","error":"parse error"}'), "refused the query: parse error"),
    "an error of a proxy": (lambda: (502, b"<html>Bad Gateway</html>"), "expected JSON from Prometheus, got '<html>"),
    "nothing": (lambda: (200, b""), "expected JSON from Prometheus"),
    "another document": (lambda: (200, b'{"status":"success","data":[]}'), "expected an answer of /api/v1/query"),
    "no document": (lambda: (200, b"7"), "refused the query: it did not say why"),
    "a word": (lambda: vector("many"), "expected an answer of /api/v1/query"),
    "the past": (lambda: vector("5", at=time.time() - 3600), r"got one 3[56]\d\d s old\. Are the clocks right"),
    "the future": (lambda: vector("5", at=time.time() + 3600), "s ahead"),
}


@pytest.mark.parametrize("case", NOT_EVIDENCE)
async def test_what_is_no_number_about_now_is_no_evidence(prometheus: PrometheusServer, case: str):
    """F6 and F7: it is said which query it was, and the rollout holds with that."""
    answer, said = NOT_EVIDENCE[case]
    prometheus.answer = answer()
    with pytest.raises(UnavailableError, match=said):
        await evidence(prometheus).sample()


async def test_a_wrong_label_is_noticed_before_it_judges(prometheus: PrometheusServer):
    """Queries that select the same series for both versions would find every canary as good as stable."""
    prometheus.series = {"requests_total": [({"app": "web"}, 50.0)], "errors_total": [({"app": "web"}, 1.0)]}
    with pytest.raises(ConfigError, match="it would say the same about both versions"):
        evidence(prometheus, requests='sum(requests_total{app="web"})', errors='sum(errors_total{app="web"})')
    prometheus.answer = vector("50")
    with pytest.raises(UnavailableError, match=r'v1 and v2 have exactly the same 50 requests.*Is "version" the label'):
        await evidence(prometheus).sample()


async def test_a_server_that_is_away_is_said(prometheus: PrometheusServer):
    """F7: the freshness clock runs, the weight stays."""
    gone = PrometheusEvidence(
        PrometheusSettings("http://127.0.0.1:1", requests=REQUESTS, errors=ERRORS), lambda: ["v1"], BOUNDS
    )
    with pytest.raises(UnavailableError, match="requests of v1: Prometheus did not answer"):
        await gone.sample()


async def test_buckets_become_counts_of_the_judges_buckets(prometheus: PrometheusServer):
    """Cumulative by le to one count per bucket; an edge between two of ours belongs to the slower one."""
    counted(prometheus, v1=(10, 0), v2=(1, 0))
    prometheus.series["seconds_bucket"] = [
        ({"version": "v1", "le": le}, value)
        for le, value in (("0.05", 1.0), ("0.1", 4.0), ("0.2", 6.0), ("0.5", 7.0), ("2", 9.0), ("+Inf", 10.0))
    ]
    sample = await evidence(prometheus, latency="sum by (le) (seconds_bucket{$labels})").sample()
    assert sample.arms["v1"].latency == [4, 2, 1, 3]
    assert sample.arms["v2"].latency == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("buckets", "said"),
    [([("0.1", 5.0), ("1", 3.0)], "expected buckets that add up, got 3 at 1"),
     ([("fast", 1.0)], r"expected buckets by le, got \{'le': 'fast'\}")],
)  # fmt: skip
async def test_buckets_that_cannot_be_are_refused(
    prometheus: PrometheusServer, buckets: list[tuple[str, float]], said: str
):
    """Half a scrape, or another label."""
    counted(prometheus, v1=(10, 0))
    prometheus.series["seconds_bucket"] = [({"version": "v1", "le": le}, value) for le, value in buckets]
    with pytest.raises(UnavailableError, match=said):
        await evidence(prometheus, latency="sum by (le) (seconds_bucket{$labels})").sample()


async def test_a_row_of_the_table_may_bring_its_own_query(prometheus: PrometheusServer):
    """A level per version, by the row's name; requests come from elsewhere then. What is not there is no level."""
    prometheus.series["paid"] = [({"shop": "v1"}, 0.93)]
    asked = PrometheusSettings(
        prometheus.url, rows={"paid_ratio": "sum(paid{$labels})"}, windows={"paid_ratio": timedelta(minutes=10)},
        label="shop",
    )  # fmt: skip
    sample = await PrometheusEvidence(asked, lambda: ["v1", "v2"], BOUNDS).sample()
    assert {name: arm.levels for name, arm in sample.arms.items()} == {"v1": {"paid_ratio": 0.93}, "v2": {}}
    windowed = PrometheusSettings(
        prometheus.url, rows={"x": "$window {version}"}, windows={"x": timedelta(minutes=10)}, label="shop"
    )
    with pytest.raises(UnavailableError, match=r"slo\.x\.query of v1: Prometheus refused"):
        await PrometheusEvidence(windowed, lambda: ["v1"], BOUNDS).sample()
    assert prometheus.asked["query"] == "10m v1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "prometheus:9090"}, r'rollout\.prometheus\.url: expected "http://host:9090", got'),
        ({"requests": REQUESTS}, "expected requests and errors together"),
        ({"latency": "x{version}"}, "latency: expected requests and errors beside it"),
        ({"requests": "sum(x)", "errors": ERRORS}, r"rollout\.prometheus\.requests: expected a query with"),
        ({"rows": {"paid": "sum(paid)"}}, r"slo\.paid\.query: expected a query with"),
    ],
)
def test_settings_that_would_lie_are_refused(settings: dict[str, Any], said: str):
    """Before anything is asked."""
    with pytest.raises(ConfigError, match=said):
        PrometheusSettings(**{"url": "http://x", **settings})
