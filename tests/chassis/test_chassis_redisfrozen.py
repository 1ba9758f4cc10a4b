"""A frozen Valkey (case R4, for everything else that uses it): answers stay fast and the event loop runs on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from fastapi import FastAPI

from golive import Chassis
from golive.chassis import ChassisSettings

pytestmark = pytest.mark.process


async def beat(gaps):
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.005)
        gaps.append(time.perf_counter() - began - 0.005)


@pytest.mark.parametrize(("policy", "expected"), [("closed", 503), ("open", 201)])
@pytest.mark.timed
async def test_r4_with_the_store_frozen_idempotency_and_limits_cost_one_budget_together(
    call, valkey, policy, expected, wait_until
):
    """Forty requests while the server is frozen: by the declared policy, none waits twice; then it is used again."""
    settings = ChassisSettings(
        access_log=False, redis_url=valkey.url, rate_limit="1000/minute", idempotency_store="redis"
    )
    chassis, runs = Chassis(settings), []
    chassis.log.record = lambda line: None
    inner = FastAPI()

    @inner.post("/orders", status_code=201)
    @chassis.idempotent(on_store_error=policy)
    async def orders():
        runs.append(1)

    app = chassis.wrap(inner)

    async def post(key: str):
        return await call(app, "POST", "/orders", headers=[(b"idempotency-key", key.encode())])

    async def works():
        await post("before")
        return (await post("before")).headers.get("idempotency-replayed")

    await wait_until(works, "true")
    runs.clear()
    valkey.freeze()
    try:
        gaps, took, statuses = [0.0], [], Counter()
        beating = asyncio.create_task(beat(gaps))
        for number in range(40):
            began = time.perf_counter()
            statuses[(await post(f"frozen {number}")).status] += 1
            took.append(time.perf_counter() - began)
        known = await post("before")
        beating.cancel()
    finally:
        valkey.thaw()
    assert statuses == {expected: 40}
    assert known.headers["idempotency-replayed"] == "true", "what is known to be done needs no store"
    assert sorted(took)[37] < 0.1
    assert sum(took) < 1.0  # forty budgets would be two seconds
    assert sorted(gaps)[-2] < 0.05
    assert len(runs) == (40 if policy == "open" else 0)

    async def again():
        return (await post("after")).status

    await wait_until(again, 201)
    chassis.stop_background()
    await chassis.once.close()
