"""Cases M: what is counted, and how it is told."""

from __future__ import annotations

import gzip
import re
import uuid

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as families

pytestmark = pytest.mark.process


def scrape(service) -> str:
    return service.get("/metrics").body.decode()


def series(service) -> set[str]:
    return {line.rpartition(" ")[0] for line in scrape(service).splitlines() if line.startswith("http_request")}


def test_m1_random_paths_and_made_up_methods_add_three_series_at_most(served, read_answer):
    """A scanner fills nothing. The server itself takes no method that HTTP does not have."""
    served.get("/nowhere")
    before = series(served)
    with served.connect() as sock:
        for _ in range(400):
            path = f"/{uuid.uuid4().hex}"
            sock.sendall(f"GET {path} HTTP/1.1\r\nhost: t\r\n\r\n".encode())
            assert read_answer(sock).status == 404
    methods = ["PROPFIND", "MKCOL", "LOCK", "REPORT", "PURGE", *("X" + uuid.uuid4().hex[:6].upper() for _ in range(30))]
    statuses = {served.request(method, "/plain").status for method in methods}
    assert statuses <= {400, 405}
    assert len(series(served) - before) <= 3, series(served) - before


def test_m2_routes_beyond_the_cap_share_one_series_and_are_counted(twin):
    """Sixty have their own."""
    for number in range(120):
        assert twin.status(f"/many/r{number}") == 200
    text = scrape(twin)
    routes = set(re.findall(r'http_requests_total\{[^}]*route="([^"]+)"', text))
    assert len(routes) <= 62
    assert "__overflow__" in routes
    assert twin.metric('metrics_overflow_total{metric="http_requests_total"}') >= 60


def test_m3_the_label_is_the_whole_template(served):
    """Routers in routers, and mounted apps."""
    assert (served.status("/api/v1/items/7"), served.status("/sub/reports/9")) == (200, 200)
    assert served.status("/many/r3") == 200
    text = scrape(served)
    for template in ("/api/v1/items/{item}", "/sub/reports/{report}", "/many/r3"):
        assert f'route="{template}",status="200"' in text


def test_m4_the_format_follows_accept_and_both_parse(served):
    """By the parsers of Prometheus' own client; gzip for who takes it."""
    text, open_text = scrape(served), served.get("/metrics", "accept: application/openmetrics-text\r\n")
    assert served.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    assert served.get("/metrics", "accept: application/x-odd\r\n").headers["content-type"].startswith("text/plain")
    assert open_text.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert open_text.body.endswith(b"# EOF\n")
    plain, strict = list(families(text)), list(openmetrics(open_text.body.decode()))
    assert {"http_requests", "build_info"} <= {family.name for family in plain}
    assert {family.name for family in plain} <= {family.name for family in strict}
    packed = served.get("/metrics", "accept-encoding: gzip\r\n")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body).startswith(b"# HELP")


def test_m5_m6_a_family_made_twice_is_one_and_label_values_are_escaped(served):
    """The service makes its chassis and its counter twice, as a reload does."""
    text = scrape(served)
    assert text.count("# TYPE shop_orders_total counter") == 1
    assert 'shop_orders_total{tenant="quote \\" backslash \\\\ newline \\n end"} 1\n' in text
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) == len(set(names))


def test_m8_a_failure_and_a_hang_up_are_counted_once(served, eventually):
    """Once each, whatever came between."""
    for path, raised in (("/fail", True), ("/slow", False)):
        counter = f'http_requests_total{{method="GET",route="{path}"'
        before = served.metric(counter)
        if raised:
            assert served.status(path) == 500
        else:
            with served.connect() as sock:
                sock.sendall(b"GET /slow?seconds=0.2 HTTP/1.1\r\nhost: t\r\n\r\n")
        eventually(lambda counter=counter, before=before: served.metric(counter) > before, f"{path} is counted")
        assert served.status("/slow?seconds=0") == 200
        assert served.metric(counter) == before + (1 if raised else 2)


def test_m9_build_info_is_there_once_and_the_last_bucket_is_the_count(served):
    """For every histogram."""
    text = scrape(served)
    assert re.findall(r"^build_info\{.*", text, re.MULTILINE) == ['build_info{service="app",version="v42"} 1']
    counts = dict(re.findall(r"^(\w+_seconds)_count(?:\{[^\n]*\})? (\S+)$", text, re.MULTILINE))
    assert counts
    for name, labels, value in re.findall(r'^(\w+)_bucket\{(.*?),?le="\+Inf"\} (\S+)$', text, re.MULTILINE):
        braces = f"{{{labels}}}" if labels else ""
        assert f"{name}_count{braces} {value}\n" in text


WIDE = """
    from golive import Chassis
    chassis = Chassis.from_env()
    wide = chassis.metrics.counter("wide_total", "Many.", ("number",), series_max=6000)
    for number in range(5000):
        wide.inc(str(number))
    async def raw(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
    app = chassis.wrap(raw)
"""


def test_m10_a_scrape_of_five_thousand_series_lets_requests_in_between(start, read_answer):
    """Requests that come while it is rendered are answered before it is over, and its chunks are short."""
    service = start(WIDE, GOLIVE_CHASSIS_LOOP_STALL_MAX="1s").wait_started()
    overtook = 0
    for _ in range(10):
        with service.connect() as scraping, service.connect() as asking:
            asking.sendall(b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n")
            read_answer(asking)
            scraping.sendall(b"GET /metrics HTTP/1.1\r\nhost: t\r\n\r\n")
            asking.sendall(b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n")
            read_answer(asking)
            scraping.setblocking(False)
            try:
                scraping.recv(1)
            except BlockingIOError:
                overtook += 1
            scraping.setblocking(True)
            assert read_answer_rest(scraping) > 5000
    assert overtook >= 1, "no request was answered while ten scrapes were rendered"
    assert service.metric("event_loop_stalls_total") == 0


def read_answer_rest(sock) -> int:
    """Lines until the answer is over."""
    data = b""
    while b'wide_total{number="4999"} 1\n' not in data:
        chunk = sock.recv(65536)
        assert chunk
        data += chunk
    return data.count(b"\n")
