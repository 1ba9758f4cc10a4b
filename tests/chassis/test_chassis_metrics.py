"""The bounded metrics store, its two text formats and the route labels (cases M1 to M6, M8 to M10)."""

from __future__ import annotations

import asyncio
import re

import pytest

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.exposition import OPENMETRICS_TYPE, TEXT_TYPE
from golive.chassis.metrics import Metrics

SAMPLE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-z_]+="(\\[\\"n]|[^"\\\n])*",?)*\})? (NaN|[+-]Inf|[-+0-9.e]+)')


async def scrape(call, app, accept: bytes = b"") -> str:
    answer = await call(app, path="/metrics", headers=[(b"accept", accept)] if accept else [])
    assert answer.status == 200
    return answer.body.decode()


def series(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def quiet(**settings) -> Chassis:
    return Chassis(ChassisSettings(access_log=False, **settings))


def routed_app():
    """Routers inside routers, a mounted app with a parameter, a plain Starlette router."""
    from fastapi import APIRouter, FastAPI
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route, Router

    leaf = APIRouter(prefix="/v1")

    @leaf.get("/items/{item_id}")
    async def item(item_id: str):
        return item_id

    api = APIRouter(prefix="/api")
    api.include_router(leaf)
    other = APIRouter(prefix="/other")
    other.include_router(leaf)
    app, mounted = FastAPI(), FastAPI()
    app.include_router(api)
    app.include_router(other)
    mounted.include_router(leaf)

    @mounted.get("/direct/{x}")
    async def direct(x: str):
        return x

    async def plain(request):
        return PlainTextResponse("plain")

    app.mount("/tenants/{tenant}", mounted)
    app.mount("/plain", Router([Route("/leaf/{q}", plain)]))
    return app


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/v1/items/1", "/api/v1/items/{item_id}"),
        ("/other/v1/items/1", "/other/v1/items/{item_id}"),
        ("/tenants/acme/v1/items/1", "/tenants/{tenant}/v1/items/{item_id}"),
        ("/tenants/acme/direct/1", "/tenants/{tenant}/direct/{x}"),
        ("/plain/leaf/1", "/plain/leaf/{q}"),
        ("/openapi.json", "/openapi.json"),
        ("/tenants/acme/nope", "__unmatched__"),
        ("/api/v1/items/1/", "__unmatched__"),
        ("/nope", "__unmatched__"),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
async def test_m3_the_label_is_the_whole_template_of_the_route(call, path, route, root_path):
    """Router prefixes, mounts and root_path: the template as the author wrote it, never the caller's values."""
    chassis = quiet()
    await call(chassis.wrap(routed_app()), path=root_path + path, root_path=root_path)
    lines = series(await scrape(call, chassis.wrap(routed_app())), "http_requests_total{")
    assert [re.search('route="([^"]*)"', line)[1] for line in lines] == [route]


async def test_m1_random_paths_and_made_up_methods_add_two_series(call):
    """Ten thousand scanner paths and three hundred methods: one series for the paths, one for the methods."""
    chassis = quiet()
    app = chassis.wrap(routed_app())
    before = len(series(await scrape(call, app), ""))
    for number in range(10_000):
        await call(app, path=f"/scan/{number}")
    for number in range(300):
        await call(app, f"M{number}", "/scan")
    text = await scrape(call, app)
    assert len(series(text, "")) - before <= 3
    assert 'http_requests_total{method="GET",route="__unmatched__",status="404"} 10000' in text
    assert 'http_requests_total{method="_OTHER",route="__unmatched__",status="404"} 300' in text


async def test_m2_routes_beyond_the_cap_share_one_series_and_are_counted():
    """The cap holds, nothing is lost from the totals, and the counter says that it happened."""
    chassis = quiet(routes_max=1000)
    for number in range(1500):
        chassis.http_metrics.record("GET", f"/route/{number}", 200, 0.01)
    requests = chassis.http_metrics._requests.values
    assert len(requests) == 1001
    assert requests["GET", "__overflow__", "200"] == 500
    assert chassis.metrics.overflows.values[("http_requests_total",)] == 500


def test_a_family_beyond_its_series_shares_one_and_is_counted():
    """Users' own labels are bounded too."""
    metrics = Metrics()
    counter = metrics.counter("orders_total", "Orders.", ("tenant",), series_max=2)
    for tenant in ("a", "b", "c", "d", "a"):
        counter.inc(tenant)
    assert counter.values == {("a",): 2, ("b",): 1, ("__overflow__",): 2}
    assert metrics.overflows.values == {("orders_total",): 2}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (b"", TEXT_TYPE),
        (b"*/*", TEXT_TYPE),
        (b"application/json", TEXT_TYPE),
        (b"application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5", OPENMETRICS_TYPE),
    ],
)
async def test_m4_the_format_follows_accept(call, accept, content_type):
    """Prometheus 3 refuses a scrape whose content type is not exactly right."""
    app = quiet().wrap(routed_app())
    await call(app, path="/api/v1/items/1")
    answer = await call(app, path="/metrics", headers=[(b"accept", accept)])
    assert answer.headers["content-type"] == content_type
    text = answer.body.decode()
    assert text.endswith("# EOF\n") == (content_type == OPENMETRICS_TYPE)
    check_format(text)


def check_format(text: str) -> None:
    """One HELP and TYPE per family, families contiguous, every sample well-formed, +Inf equal to _count."""
    assert text.endswith("\n")
    families = re.findall(r"^# TYPE (\S+) \S+$", text, re.M)
    assert len(families) == len(set(families))
    current, infinite, counts = "", [], []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            current = line.split(" ")[2]
        elif not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            assert line.startswith(current), f"{line} outside its family {current}"
            infinite += [line.rpartition(" ")[2]] if 'le="+Inf"' in line else []
            counts += [line.rpartition(" ")[2]] if "_count" in line.partition("{")[0] else []
    assert infinite == counts
    assert len(counts) >= 1


async def test_m5_the_same_family_twice_is_one_family_and_another_shape_is_refused():
    """A hot reload registers again; a clash of shapes is a mistake with a name."""
    metrics = Metrics()
    first = metrics.counter("orders_total", "Orders.", ("tenant",))
    assert metrics.counter("orders_total", "Orders.", ("tenant",)) is first
    with pytest.raises(ConfigError, match="metric orders_total: expected a counter with labels"):
        metrics.gauge("orders_total", "Orders.")


async def test_m6_label_values_are_escaped(call):
    """Quotes, backslashes and newlines cannot break the exposition."""
    chassis = quiet()
    chassis.metrics.counter("odd_total", "Odd \\ \n things.", ("name",)).inc('a"b\\c\nd')
    text = await scrape(call, chassis.wrap(routed_app()))
    assert 'odd_total{name="a\\"b\\\\c\\nd"} 1' in text
    assert "# HELP odd_total Odd \\\\ \\n things." in text


async def test_m8_a_failure_and_a_hang_up_are_counted_once(call):
    """The app raises: one 500. The caller goes away: one 499."""
    chassis = quiet()

    class ClientDisconnect(Exception):
        pass

    async def app(scope, receive, send):
        raise ClientDisconnect if scope["path"] == "/gone" else ValueError("hunter2")

    wrapped = chassis.wrap(app)
    answer = await call(wrapped, path="/fails")
    assert (answer.status, b"hunter2" in answer.body) == (500, False)
    with pytest.raises(AssertionError, match="one answer per request"):  # nobody is there to be answered
        await call(wrapped, path="/gone")
    text = await scrape(call, wrapped)
    assert 'http_requests_total{method="GET",route="__unmatched__",status="500"} 1' in text
    assert 'http_requests_total{method="GET",route="__unmatched__",status="499"} 1' in text


async def test_m9_build_info_names_the_version_exactly_once(call):
    """Who is running, in one sample."""
    chassis = quiet(service="orders", version="v42")
    text = await scrape(call, chassis.wrap(routed_app()))
    assert series(text, "build_info{") == ['build_info{service="orders",version="v42"} 1']


async def test_m10_a_scrape_of_five_thousand_series_lets_requests_in_between(call):
    """The event loop gets a turn at least every chunk; the scrape is served gzipped when asked."""
    chassis = quiet()
    histogram = chassis.metrics.histogram("h_seconds", "H.", ("n",), edges=(0.1, 1.0, 10.0), series_max=5000)
    for number in range(1000):
        histogram.observe(0.5, str(number))
    app = chassis.wrap(routed_app())
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    answer = await call(app, path="/metrics", headers=[(b"accept-encoding", b"gzip")])
    task.cancel()
    assert answer.headers["content-encoding"] == "gzip"
    assert turns >= 10


def test_an_edge_belongs_to_the_bucket_it_closes():
    """``le`` is inclusive: 1.0 is in le=1.0, so "p95 <= 1 s" reads exactly."""
    family = Metrics().histogram("h_seconds", "H.", edges=(0.5, 1.0))
    for value in (0.5, 1.0, 1.0001):
        family.observe(value)
    assert family.series().counts == [1, 1, 1]
    assert family.series().sum == pytest.approx(2.5001)
