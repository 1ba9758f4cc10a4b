"""The gates judge services that are not built on golive: a plain FastAPI app, and a server that is not Python."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import envoy
import pytest

from golive.gates import HealthProbe, SmokeRequest, StabilityProbe, Target, Verdict, run_gates
from golive.promises.behaviour import ContractProbe, OpenApiProbe

pytestmark = [pytest.mark.process, pytest.mark.slow]
GATES = ["health", "stability", "smoke", "metrics-registry"]
QUICK = StabilityProbe(requests=16, concurrency=4)

FASTAPI = """
import socket
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()

class Order(BaseModel):
    item: str

@app.get("/healthz")
async def healthz():
    return {"ok": True}

@app.post("/orders", status_code=201)
async def order(order: Order):
    return {"item": order.item}

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
"""


@pytest.fixture
def fastapi_url(tmp_path: Path) -> Iterator[str]:
    """A FastAPI app as somebody writes it, with no thought of golive."""
    (tmp_path / "app.py").write_text(FASTAPI)
    with subprocess.Popen([sys.executable, tmp_path / "app.py"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def _listener(routes: list[dict[str, object]]) -> dict[str, object]:
    filters = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{filters}.http.router.v3.Router"},
            }
        ],
    }
    chain = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": "in", "address": address, "filter_chains": [{"filters": chain}]}


@pytest.fixture
def envoy_url(tmp_path: Path) -> Iterator[str]:
    """A C++ server that answers /healthz with 200 and everything else with 404."""
    ok = {"match": {"path": "/healthz"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    other = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    config = {"admin": admin, "static_resources": {"listeners": [_listener([ok, other])]}}
    binary = Path(envoy.__file__).parent / "_bin" / "envoy"
    addresses = tmp_path / "admin"
    command = [binary, "--config-yaml", json.dumps(config), "--disable-hot-restart", "--admin-address-path", addresses]
    with subprocess.Popen([*command, "-l", "critical"], stderr=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{_port(addresses)}"
        process.kill()


def _port(addresses: Path) -> int:
    """The listener's port, asked from Envoy's admin interface once that is up."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{addresses.read_text()}/listeners?format=json", timeout=2) as answer:
                listeners = json.load(answer)["listener_statuses"]
            return int(listeners[0]["local_address"]["socket_address"]["port_value"])
        except (OSError, LookupError, ValueError):
            time.sleep(0.05)
    raise AssertionError("Envoy did not start")


async def test_a_plain_fastapi_app_is_judged_from_outside(fastapi_url: str) -> None:
    """Found by the usual paths; its missing metrics page is the one thing red."""
    order = SmokeRequest("/orders", "POST", json={"item": "tea"}, expect=(201,), expect_json={"item": "tea"})
    report = await run_gates(GATES, Target(fastapi_url, smoke=(order,), stability=QUICK))
    failed = {result.gate: result.outcome.sentence for result in report.results if not result.good}
    assert failed == {"metrics-registry": "GET /metrics: expected 200, got 404"}


async def test_a_plain_fastapi_app_breaks_on_nan_and_the_gate_sees_it(fastapi_url: str) -> None:
    """A known defect of the stock stack: NaN in a body is a server error."""
    order = SmokeRequest("/orders", "POST", json={"item": "tea"}, expect=(201,))
    report = await run_gates(["bad-input"], Target(fastapi_url, smoke=(order,)))
    outcome = report.results[-1].outcome
    assert outcome.verdict is Verdict.FAIL
    assert "NaN to POST /orders is answered 500" in outcome.sentence


async def test_what_a_plain_fastapi_app_promises_by_itself_is_judged_too(fastapi_url: str) -> None:
    """Its own description is found and its routes are tried; it has no request ids, and nobody is kept out."""
    promised = OpenApiProbe(committed="", public=("/healthz",))
    report = await run_gates(["openapi", "anonymous", "request-id"], Target(fastapi_url, promises=(promised,)))
    told = {result.gate: (result.outcome.verdict, result.outcome.sentence) for result in report.results}
    assert told["openapi"] == (Verdict.PASS, "/openapi.json describes 2 paths")
    assert told["anonymous"][0] is Verdict.FAIL
    assert "POST /orders is answered 422" in told["anonymous"][1]
    assert told["request-id"][0] is Verdict.FAIL
    assert "is answered with none" in told["request-id"][1]


async def test_a_server_that_is_not_python_is_judged_the_same_way(envoy_url: str, tmp_path: Path) -> None:
    """Health, stability and broken requests against Envoy."""
    target = Target(envoy_url, health=HealthProbe(live="/healthz"), stability=QUICK)
    report = await run_gates(["health", "stability", "smoke", "bad-input"], target)
    assert report.go, report.sentence
    paths = {"/healthz": {"content-type": "text/plain"}, "/elsewhere": {}}
    recorded = [
        {"request": {"path": path}, "response": {"status": 200, "headers": headers}} for path, headers in paths.items()
    ]
    (tmp_path / "recorded.json").write_text(json.dumps(recorded))
    contract = Target(envoy_url, root=tmp_path, promises=(ContractProbe("recorded.json"),))
    outcome = (await run_gates(["contract"], contract)).results[-1].outcome
    assert outcome.sentence == "1 of 2 recorded answers changed: GET /elsewhere: status was 200, is 404"
