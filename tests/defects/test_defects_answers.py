"""Gates on answers prove themselves on a small shop inside the test: each defect turns exactly its gate red."""

import asyncio
import contextlib
import importlib.util
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from golive.gates import HealthProbe, JobsProbe, SmokeRequest, Target, run_gates
from golive.promises import behaviour as promised
from golive.promises.state import CloudRunProbe, PlatformProbe

DEFECTS = [
    "request-id: errors carry none",
    "request-id: the caller's is thrown away",
    "request-id: whatever comes is echoed",
    "rate-limit: there is none",
    "rate-limit: an invented address is believed",
    "rate-limit: each replica has its own",
    "rate-limit: nobody says when to come back",
    "cardinality: one series per path",
    "tenants: one reads what another made",
    "tenants: a stranger is told that it exists",
    "tenants: their keys meet",
    "flow: a token outlives its sign-out",
    "contract: a field has another type",
    "contract: a field is gone",
    "openapi: a route nobody committed",
    "openapi: no description",
    "anonymous: a route is open",
    "pages: a script is missing",
    "pages: the bundle calls another API",
    "pages: the bundle calls a developer's machine",
    "error-capture: nothing arrives",
    "error-capture: the caller waits for the sink",
    "duplicates: check and write are two steps",
    "duplicates: the counter stands still",
    "duplicates: slow under load",
    "background: only a request wakes the worker",
    "slow-work: a write waits for the refresh",
    "soak: memory grows",
    "soak: files stay open",
    "soak: one in three fails",
    "probes: every other probe misses",
]
GATES = list(dict.fromkeys(defect.partition(":")[0] for defect in DEFECTS))
ALWAYS = ["request-id", "tenants", "contract", "openapi", "anonymous", "pages", "probes"]

_spec = importlib.util.spec_from_file_location("defective_shop", Path(__file__).with_name("shop.py"))
assert _spec is not None
assert _spec.loader is not None
shop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shop)


@asynccontextmanager
async def serving(defect: str, folder: Path, shared: dict[str, Any]) -> AsyncIterator[str]:
    config = uvicorn.Config(
        shop.make_app(defect, folder, shared),
        port=0,
        log_level="critical",
        lifespan="off",
        access_log=False,
        http="h11",
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag, no event
        await asyncio.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = server.force_exit = True
    await task


def promises(url: str, replica: str, folder: Path) -> Target:
    (folder / "recording.json").write_text(
        json.dumps([{"request": {"path": "/price"},
                     "response": {"status": 200, "headers": {"content-type": "application/json"},
                                  "json": {"cents": 120, "currency": "EUR", "at": 1.0}}}])
    )  # fmt: skip
    paths: dict[str, Any] = {"/price": {"get": {}}, "/me": {"get": {}}, "/items": {"post": {}}}
    (folder / "openapi.json").write_text(json.dumps({"openapi": "3.1.0", "paths": paths}))
    bearer = {"authorization": "Bearer {token}"}
    platform = PlatformProbe("/platform", 5.0, 5.0, 3)
    return Target(
        url,
        root=folder,
        startup_timeout=2.0,
        health=HealthProbe(live="/healthz", ready="/health/ready", samples=2, latency_max=2.0),
        smoke=(SmokeRequest("/write", "POST", expect=(201,)),),
        jobs=JobsProbe(SmokeRequest("/jobs", "POST", expect=(202,)), status_path="/jobs/{id}"),
        promises=(
            promised.RateLimitProbe(SmokeRequest("/limited"), shop.LIMIT, (replica,)),
            promised.CardinalityProbe(120, 20),
            promised.TenantsProbe(
                {"x-tenant": "a"}, {"x-tenant": "b"}, SmokeRequest("/items", "POST", expect=(201,)), "/items/{id}",
                key_header="Idempotency-Key",
            ),
            promised.FlowProbe((
                promised.FlowStep(SmokeRequest("/login", "POST"), {"token": "user.token"}),
                promised.FlowStep(SmokeRequest("/me", headers=bearer, expect_json={"name": "jane"})),
                promised.FlowStep(SmokeRequest("/logout", "POST", headers=bearer, expect=(204,))),
                promised.FlowStep(SmokeRequest("/me", headers=bearer, expect=(401,))),
            )),
            promised.ContractProbe("recording.json", ("at",)),
            promised.OpenApiProbe(committed="openapi.json", public=("/price",)),
            promised.PagesProbe(("/",), "https://api.shop.example"),
            promised.ErrorCaptureProbe(SmokeRequest("/boom?m={marker}", expect=(500,)), ("errors.ndjson",), 1.0, 0.5),
            promised.DuplicatesProbe(
                SmokeRequest("/ingest", "POST", json={"order": "{key}"}), 250, 50, 20, counter="ingest_dedup_total",
                thresholds=("p95 <= 250ms", "error_rate <= 1%"),
            ),
            promised.BackgroundProbe(0.5),
            promised.SlowWorkProbe(
                SmokeRequest("/refresh", "POST", expect=(202,)), SmokeRequest("/write", "POST", expect=(201,)), 3, 0.4
            ),
            promised.SoakProbe(1.0, 30.0),
            CloudRunProbe("run.json", liveness=platform, startup=platform),
        ),
    )  # fmt: skip


async def judged(gates: set[str], defect: str, folder: Path) -> Any:
    shared: dict[str, Any] = {}
    async with serving(defect, folder, shared) as url, serving(defect, folder, shared) as replica:
        return await run_gates(gates, promises(url, replica, folder))


async def test_the_healthy_shop_is_green_throughout(tmp_path: Path, prove: Callable[..., None]) -> None:
    """Otherwise red would mean nothing."""
    prove(await judged(set(GATES), "", tmp_path), "")


@pytest.mark.parametrize("defect", DEFECTS)
async def test_each_defect_of_an_answer_turns_exactly_its_gate_red(
    tmp_path: Path, prove: Callable[..., None], defect: str
) -> None:
    """Not a neighbour, and not none."""
    gate = defect.partition(":")[0]
    prove(await judged({*ALWAYS, gate}, defect, tmp_path), defect)


async def test_without_a_promise_each_gate_says_which_table_is_missing(tmp_path: Path) -> None:
    """UNAVAILABLE, never a pass; three of them need no promise."""
    async with serving("", tmp_path, {}) as url:
        report = await run_gates(GATES, Target(url, startup_timeout=2.0))
    told = {result.gate: result.outcome.sentence for result in report.results if not result.good}
    silent = {"request-id", "cardinality", "background"}
    for gate in set(GATES) - silent - {"anonymous", "duplicates"}:
        assert "write [gates." in told[gate], gate
