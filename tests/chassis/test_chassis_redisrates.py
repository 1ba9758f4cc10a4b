"""The rate limit all processes share, on a real Valkey (cases R3, R4, R5, R13)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import time
from collections import Counter
from datetime import timedelta

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.ratelimit import MemoryStore, Rule, caller_key
from golive.chassis.stores.redislink import RedisLink, StoreAwayError, StoreReplyError
from golive.chassis.stores.redisrates import KEY_PREFIX, RedisRates

pytestmark = pytest.mark.process


async def pong(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def limited(valkey, **settings) -> Chassis:
    given = {"redis_url": valkey.url, "rate_limit": "4/minute", "access_log": False, **settings}
    return Chassis(ChassisSettings(**given))


LIMITED = """
    from golive import Chassis
    chassis = Chassis.from_env()
    async def answer(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
    app = chassis.wrap(answer)
"""


async def ask(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /x HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(answer[9:12])


async def test_r3_two_processes_on_one_valkey_allow_exactly_the_quota(start, valkey):
    """400 requests at two processes: the quota passes, not one more and not one less."""
    env = {
        "RATE_LIMIT_REDIS_URL": valkey.url,
        "GOLIVE_CHASSIS_RATE_LIMIT": "100/hour",
        "GOLIVE_CHASSIS_REDIS_TIMEOUT": "5s",  # the quota is the point, not the pace of a busy machine
        "GOLIVE_CHASSIS_RATE_LIMIT_ON_STORE_ERROR": "closed",
    }
    services = [start(LIMITED, **env) for _ in range(2)]
    for service in services:
        service.wait_started()
    slots = asyncio.Semaphore(40)

    async def one(number: int) -> int:
        async with slots:
            return await ask(services[number % 2].port)

    statuses = Counter(await asyncio.gather(*(one(number) for number in range(400))))
    assert statuses == {200: 100, 429: 300}


@pytest.mark.parametrize(("policy", "expected"), [("local", {200: 2, 429: 38}), ("closed", {503: 40})])
@pytest.mark.timed
async def test_r4_with_the_store_frozen_answers_come_fast_and_by_the_declared_policy(
    call, valkey, policy, expected, keep_log
):
    """A frozen server costs one budget, not one per request; the loop runs on, and the store is used again after."""
    chassis = limited(valkey, rate_limit_on_store_error=policy, rate_limit_processes=2)
    lines = keep_log(chassis)
    app = chassis.wrap(pong)
    while (await call(app, client=("192.0.2.9", 1))).headers.get("ratelimit") != '"default";r=3;t=15':
        chassis.link(valkey.url).close()  # a busy machine may miss the budget with the first connection
        await (link := RedisLink(valkey.url, 5.0)).call("FLUSHALL")
        link.close()
        await asyncio.sleep(0.3)
    lines.clear()
    errors_before = chassis.rates._store_errors.values[()]
    valkey.freeze()
    try:
        gaps, took = [0.0], []
        beating = asyncio.create_task(beat(gaps))
        statuses: Counter[int] = Counter()
        for _ in range(40):
            began = time.perf_counter()
            statuses[(await call(app, client=("192.0.2.1", 1))).status] += 1
            took.append(time.perf_counter() - began)
        beating.cancel()
    finally:
        valkey.thaw()
    assert statuses == expected
    assert sorted(took)[37] < 0.1
    assert sum(took) < 1.0  # forty budgets would be two seconds
    assert sorted(gaps)[-2] < 0.05
    assert chassis.rates._store_errors.values[()] - errors_before == 40
    assert [(line["status"], line["policy"]) for line in lines if line["event"] == "ratelimit_store"] == [
        ("away", policy)
    ]
    deadline = time.monotonic() + 10
    while "back" not in [line.get("status") for line in lines]:
        assert time.monotonic() < deadline, "the store is used again"
        await call(app, client=("192.0.2.2", 1))
        await asyncio.sleep(0.02)
    chassis.stop_background()


async def beat(gaps: list[float]) -> None:
    """How long the event loop keeps a task waiting that wants to run every 5 ms."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.005)
        gaps.append(time.perf_counter() - began - 0.005)


async def test_r5_a_flushed_server_is_given_the_script_again(link):
    """A restart loses scripts; the request that notices is decided all the same, and the next is cheap again."""
    rates, rule = RedisRates(link), Rule("default", 5, 3600)
    await link.call("SCRIPT", "FLUSH")
    await link.call("CONFIG", "RESETSTAT")
    assert (await rates.take(rule, "k")).remaining == 4
    await link.call("SCRIPT", "FLUSH")
    assert (await rates.take(rule, "k")).remaining == 3
    calls = await link.call("INFO", "commandstats")
    assert b"cmdstat_eval:calls=2," in calls
    assert (await rates.take(rule, "k")).remaining == 2
    assert b"cmdstat_eval:calls=2," in await link.call("INFO", "commandstats")


async def test_r13_another_limit_or_another_type_on_a_live_server_never_fails_a_request(call, valkey, link):
    """A rolling deploy changes the rule: it begins afresh. A foreign value under our key is no 500."""
    app = limited(valkey, redis_timeout=timedelta(seconds=5)).wrap(pong)
    assert (await call(app)).headers["ratelimit"].startswith('"default";r=3;')
    changed = limited(valkey, rate_limit="9/minute", redis_timeout=timedelta(seconds=5)).wrap(pong)
    assert (await call(changed)).headers["ratelimit"].startswith('"default";r=8;')
    key = KEY_PREFIX + caller_key(Rule("default", 4, 60), "", "127.0.0.1")
    assert await link.call("DEL", key) == 1
    await link.call("LPUSH", key, "x")
    assert (await call(app)).status == 200
    assert app.chassis.rates._store_errors.values[()] == 1
    for chassis in (app.chassis, changed.chassis):
        chassis.stop_background()


async def test_the_script_decides_as_the_arithmetic_in_memory_does(link):
    """Same quota, same answers, call by call, until both refuse; and a refusal costs nothing."""
    rates, memory, rule = RedisRates(link), MemoryStore(), Rule("default", 7, 3600)
    for _ in range(10):
        shared, local = await rates.take(rule, "same"), memory.take(rule, "same", 1000.0)
        assert (shared.allowed, shared.remaining) == (local.allowed, local.remaining)
        assert abs(shared.reset_seconds - local.reset_seconds) <= 5  # the server's clock went on meanwhile


async def test_what_a_caller_owes_is_forgotten_by_the_server_when_it_is_paid(link):
    """No key outlives its debt by more than a second or so."""
    rule = Rule("default", 2, 10)
    await RedisRates(link).take(rule, "k")
    lifetime = await link.call("PTTL", f"{KEY_PREFIX}k")
    assert 4000 < lifetime <= 6001


async def test_commands_of_one_turn_share_one_write_and_answers_keep_their_order(link):
    """A thousand at once, each with its own answer; an error belongs to its own command only."""
    answers = await asyncio.gather(*(link.call("ECHO", number) for number in range(1000)))
    assert answers == [b"%d" % number for number in range(1000)]
    good, bad = await asyncio.gather(link.call("PING"), link.call("NONSENSE"), return_exceptions=True)
    assert (good, type(bad)) == (b"PONG", StoreReplyError)


async def test_a_server_that_is_not_there_is_said_at_once_after_the_first_try():
    """Nobody waits for a refused connection twice."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        link = RedisLink(f"redis://127.0.0.1:{sock.getsockname()[1]}", 5.0)
        for _ in range(50):
            with pytest.raises(StoreAwayError):
                await link.call("PING")
        link.close()


async def test_a_password_that_is_wrong_is_an_absent_store_and_never_in_the_message(valkey):
    """The reason is the server's word for it."""
    link = RedisLink(valkey.url.replace("//", "//ada:hunter2@"), 5.0)
    with pytest.raises(StoreAwayError, match="refused AUTH: WRONGPASS") as caught:
        await link.call("PING")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:6379", "http://h", "redis://", "redis://:hunter2@h:port", "redis://h/db"])
def test_a_url_that_names_no_server_refuses_the_start(url):
    """By its variable, and without what may be a password."""
    with pytest.raises(ConfigError, match="REDIS_URL: expected a URL such as") as caught:
        Chassis.from_env({"REDIS_URL": url})
    assert "hunter2" not in str(caught.value)


async def test_all_limits_of_a_request_are_one_question_and_none_behind_a_refusal_is_counted(call, valkey, link):
    """By address, then by route: what the address may not ask costs the route nothing; nor does who is not let in."""
    key = hashlib.sha256(b"secret").hexdigest()
    chassis = limited(
        valkey, require_auth=True, api_key_hashes=(f"ada:{key}",), redis_timeout=timedelta(seconds=5),
        rate_limit="4/hour",
    )  # fmt: skip
    inner = Starlette()

    @chassis.limit("100/hour", name="of-route")
    async def thing(_request):
        return PlainTextResponse("ok")

    inner.routes.append(Route("/thing", thing))
    app = chassis.wrap(inner)
    known = [(b"x-api-key", b"secret")]
    await link.call("CONFIG", "RESETSTAT")
    answers = [await call(app, path="/thing", headers=headers) for headers in (known, known, [], known, known, [])]
    assert [answer.status for answer in answers] == [200, 200, 401, 200, 429, 429]
    assert [answer.headers["ratelimit"].split(";")[:2] for answer in answers] == [
        ['"of-route"', "r=99"], ['"of-route"', "r=98"], ['"default"', "r=1"], ['"of-route"', "r=97"],
        ['"default"', "r=0"], ['"default"', "r=0"],
    ]  # fmt: skip
    calls = await link.call("INFO", "commandstats")
    asked = sum(int(n) for n in re.findall(rb"cmdstat_eval(?:sha)?:calls=(\d+)", calls))
    assert asked - calls.count(b"cmdstat_eval:") == 6, "one question each, and one more to give the server the script"
    chassis.stop_background()
