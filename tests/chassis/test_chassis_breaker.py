"""The circuit breaker (cases B1 to B6): alone, and as one state of several processes in a real Valkey."""

from __future__ import annotations

import asyncio
import time

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.breaker import SLOTS, Breaker, BreakerOpenError, BreakerRules, Window
from golive.chassis.stores.redisbreakers import RedisBreakers
from golive.chassis.stores.redislink import RedisLink

RULES = BreakerRules(failure_ratio=0.5, calls_min=4, window_seconds=10, open_seconds=5, probes=2)


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


class Answered(Exception):
    """As httpx.HTTPStatusError: an exception that carries an answer."""

    def __init__(self, status):
        self.response = type("Response", (), {"status_code": status})


def alone(rules=RULES):
    clock = Clock()
    chassis = Chassis(ChassisSettings(access_log=False))
    chassis.log.record = lambda line: None
    return Breaker(chassis, "payments", rules, None, clock), clock


async def through(breaker, error=None, status=None):
    """One call; ``refused`` when it was not made."""
    try:
        async with breaker as call:
            if status is not None:
                call.answered(status)
            if error is not None:
                raise error
    except BreakerOpenError:
        return "refused"
    except Exception:
        return "failed"
    return "passed"


async def test_b1_enough_failures_open_it_and_then_nothing_is_called():
    """Not before the least number of calls, not below the ratio; refusals name when to come back."""
    breaker, clock = alone()
    for error in (OSError(), None, OSError()):
        await through(breaker, error)
    assert breaker.state == "closed"
    await through(breaker, OSError())
    assert breaker.state == "open"
    clock.seconds += 2
    with pytest.raises(BreakerOpenError) as caught:
        async with breaker:
            raise AssertionError("called")
    assert caught.value.retry_after_seconds == pytest.approx(3)


async def test_b1_below_the_ratio_it_stays_closed_and_old_failures_are_forgotten():
    """Three failures of seven are not half; and what is older than the window is no reason."""
    breaker, clock = alone()
    for error in (None, None, None, OSError(), OSError(), None, OSError()):
        await through(breaker, error)
    assert breaker.state == "closed"
    breaker, clock = alone()
    for _ in range(3):
        await through(breaker, OSError())
    clock.seconds += 12
    await through(breaker, OSError())
    assert breaker.state == "closed"


async def test_half_open_admits_exactly_the_probes_and_their_outcome_decides():
    """Two probes at once, a third is refused; both must pass, one failure opens it again."""
    breaker, clock = alone()
    for _ in range(4):
        await through(breaker, OSError())
    clock.seconds += 5
    assert breaker.state == "half-open"
    async with breaker, breaker:
        assert await through(breaker) == "refused"
    assert breaker.state == "closed"
    for _ in range(4):
        await through(breaker, OSError())
    clock.seconds += 5
    assert [await through(breaker), await through(breaker, OSError()), await through(breaker)] == [
        "passed", "failed", "refused",
    ]  # fmt: skip


async def test_b4_what_proves_nothing_and_what_proves_life_are_no_failures():
    """A cancelled call is not counted, a 4xx counts as a success; time-outs and 5xx are failures."""
    for error, status, opens in (
        (TimeoutError(), None, True), (Answered(503), None, True), (None, 500, True),
        (Answered(404), None, False), (None, 429, False), (None, None, False),
    ):  # fmt: skip
        breaker, _ = alone()
        for _ in range(6):
            await through(breaker, error, status)
        assert (breaker.state == "open") is opens, (error, status)
    breaker, clock = alone()

    async def hang():
        async with breaker:
            await asyncio.Event().wait()

    for _ in range(6):
        task = asyncio.create_task(hang())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert breaker.state == "closed"
    for _ in range(4):
        await through(breaker, OSError())
    clock.seconds += 5
    task = asyncio.create_task(hang())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [await through(breaker), await through(breaker)] == ["passed", "passed"]
    assert breaker.state == "closed", "a cancelled probe is given out again"


async def test_a_result_from_before_the_opening_changes_nothing():
    """A slow success that began while it was closed does not close an open breaker, nor count afterwards."""
    breaker, _clock = alone()
    async with breaker:
        for _ in range(4):
            await through(breaker, OSError())
    assert breaker.state == "open"


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60))
def test_the_window_counts_what_a_list_of_calls_counts(calls):
    """Compared with the obvious: keep every call, and count those in the slots that are not yet forgotten."""
    window, kept, now = Window(10.0), [], 50.0
    for gap, failed in calls:
        now += gap
        window.add(now, failed)
        kept.append((now, failed))
        slot = int(now / (10.0 / SLOTS))
        recent = [failure for at, failure in kept if int(at / (10.0 / SLOTS)) > slot - SLOTS]
        assert window.totals(now) == (len(recent), sum(recent))


def shop(chassis, error):
    app = FastAPI()

    @app.get("/pay")
    async def pay():
        async with chassis.breaker("payments", calls_min=2, shared=False):
            raise error

    @app.get("/fallback")
    async def fallback():
        try:
            async with chassis.breaker("payments", calls_min=2, shared=False):
                raise error
        except BreakerOpenError:
            return "later"

    @app.post("/once")
    @chassis.idempotent()
    async def once():
        async with chassis.breaker("payments", calls_min=2, shared=False):
            raise error

    return chassis.wrap(app)


async def test_b1_an_open_breaker_is_503_with_retry_after_and_a_fallback_is_the_apps(call):
    """Not a 500, not captured, not logged as one; on idempotent routes too, and the key stays free."""
    chassis = Chassis(ChassisSettings())
    lines = []
    chassis.log.record = lines.append
    app = shop(chassis, OSError("down"))
    assert [(await call(app, path="/pay")).status for _ in range(2)] == [500, 500]
    lines.clear()
    refused = await call(app, path="/pay")
    assert (refused.status, refused.headers["content-type"]) == (503, "application/problem+json")
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    assert refused.json()["detail"] == "A service this one needs is failing."
    assert (await call(app, path="/fallback")).json() == "later"
    once = await call(app, "POST", "/once", headers=[(b"idempotency-key", b"k")])
    assert (once.status, "retry-after" in once.headers) == (503, True)
    assert len(chassis.once.store._entries) == 0
    assert not [line for line in lines if isinstance(line, dict) and line["event"] == "unhandled_exception"]
    text = (await call(app, path="/metrics")).body.decode()
    assert 'breaker_state{breaker="payments"} 1' in text
    assert 'breaker_calls_total{breaker="payments",outcome="refused"} 3' in text
    assert 'http_requests_total{method="GET",route="/pay",status="503"} 1' in text
    chassis.stop_background()


def test_wrong_rules_are_refused_together_and_a_name_has_one_set_of_them():
    """At import, not at the first outage."""
    with pytest.raises(ConfigError) as caught:
        Chassis().breaker("a b", failure_ratio=0, calls_min=0, window="0s", open_for="1s", probes=0, shared=True)
    assert len(caught.value.faults) == 6
    with pytest.raises(ConfigError, match="window, open_for: "):
        Chassis().breaker("a", window="soon")
    chassis = Chassis()
    assert chassis.breaker("a") is chassis.breaker("a")
    assert chassis.breaker("a") is not chassis.breaker("b")
    with pytest.raises(ConfigError, match="expected the rules it was made with"):
        chassis.breaker("a", probes=3)


# ---- a fleet


QUICK = BreakerRules(failure_ratio=0.5, calls_min=2, window_seconds=10, open_seconds=0.6, probes=3)


@pytest.fixture
async def process(valkey):
    """``process()`` is a breaker of another process: its own chassis, its own connection."""
    chassis = []

    def make(rules=QUICK, name="payments", service="app"):
        other = Chassis(ChassisSettings(redis_url=valkey.url, service=service, access_log=False))
        other.log.record = lambda line: None
        chassis.append(other)
        link = RedisLink(valkey.url, 2.0)
        other._links[valkey.url] = link
        return Breaker(other, name, rules, RedisBreakers(link, service))

    yield make
    for other in chassis:
        other.stop_background()


async def opened(breaker):
    for _ in range(2):
        await through(breaker, OSError())
    assert breaker.state == "open"


@pytest.mark.process
@pytest.mark.timed
async def test_b2_b6_what_one_process_learned_the_others_obey_within_a_second(process):
    """Also one that starts afterwards; other names and other services are not concerned."""
    slow = BreakerRules(0.5, 2, 10, 60, 1)
    first, second = process(slow), process(slow)
    assert await through(second) == "passed"
    await opened(first)
    began = time.monotonic()
    while await through(second) != "refused":
        assert time.monotonic() - began < 1.0
        await asyncio.sleep(0.02)
    third = process(slow)
    assert await through(third) == "refused"
    assert await through(process(slow, name="mail")) == "passed"
    assert await through(process(slow, service="other")) == "passed"


@pytest.mark.process
async def test_b3_half_open_admits_exactly_the_probes_across_processes(process, wait_until):
    """Three of sixty callers at five processes; when they pass, everybody calls again; when one fails, nobody."""
    fleet = [process() for _ in range(5)]
    await opened(fleet[0])
    await wait_until(lambda: fleet[0].state, "half-open")
    running, release = [0], asyncio.Event()

    async def held(breaker, error=None):
        try:
            async with breaker:
                running[0] += 1
                await release.wait()
                if error is not None:
                    raise error
        except BreakerOpenError:
            return "refused"
        except OSError:
            return "failed"
        return "passed"

    tasks = [asyncio.create_task(held(fleet[number % 5])) for number in range(60)]
    await wait_until(lambda: sum(task.done() for task in tasks), 57)
    assert running == [3]
    release.set()
    assert sorted(await asyncio.gather(*tasks))[:3] == ["passed"] * 3
    for breaker in fleet:
        await wait_until(lambda breaker=breaker: through(breaker), "passed")
    await opened(fleet[1])
    await wait_until(lambda: fleet[1].state, "half-open")
    assert await held(fleet[1], OSError()) == "failed"
    assert await through(process()) == "refused"


@pytest.mark.process
@pytest.mark.timed
async def test_b5_without_the_server_each_process_decides_for_itself(call, valkey, wait_until):
    """A frozen server: calls still pass within the budget, the breaker opens here, and tells the fleet afterwards."""
    chassis = Chassis(ChassisSettings(redis_url=valkey.url, access_log=False))
    chassis.log.record = lambda line: None
    rules = BreakerRules(0.5, 2, 10, 60, 1)
    breaker = Breaker(chassis, "payments", rules, RedisBreakers(chassis.link(valkey.url), "app"))
    await through(breaker)
    valkey.freeze()
    try:
        took = []
        for _ in range(20):
            began = time.perf_counter()
            await through(breaker, OSError())
            took.append(time.perf_counter() - began)
        assert sorted(took)[18] < 0.1
        assert breaker.state == "open"
    finally:
        valkey.thaw()
    watching = RedisBreakers(RedisLink(valkey.url, 2.0), "app")

    async def published():
        await through(breaker)
        return await watching.view("payments") is not None

    await wait_until(published, True)
    chassis.stop_background()
