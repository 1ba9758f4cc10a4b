"""Addresses and rate limits (cases R1, R2, R6 to R12)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.addresses import TrustedProxies, bucket
from golive.chassis.ratelimit import MemoryStore, Rule, caller_key, decide, parse_rule


def limited_app(chassis: Chassis):
    app = FastAPI()

    @app.get("/free")
    async def free():
        return 1

    @app.get("/limited/{item}")
    @chassis.limit("5/minute", name="reports")
    async def limited(item: str):
        return item

    return chassis.wrap(app)


def quiet(**settings) -> Chassis:
    return Chassis(ChassisSettings(access_log=False, **settings))


async def test_r1_a_quota_of_five_counts_down_and_the_sixth_is_429(call):
    """The fields say what is left; the refusal names the policy, when to return, and must not be stored."""
    app = limited_app(quiet())
    answers = [await call(app, path=f"/limited/{number}") for number in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == [
        "r=4",
        "r=3",
        "r=2",
        "r=1",
        "r=0",
        "r=0",
    ]
    assert answers[0].headers["ratelimit-policy"] == '"reports";q=5;w=60'
    refused = answers[-1]
    reset = int(refused.headers["ratelimit"].rpartition("t=")[2])
    assert int(refused.headers["retry-after"]) >= reset >= 1
    assert refused.headers["cache-control"] == "no-store"
    problem = refused.json()
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (problem["status"], problem["violated-policies"]) == (429, ["reports"])
    assert [(await call(app, path="/free")).status for _ in range(10)] == [200] * 10


async def test_the_limit_for_everybody_spares_probes_and_preflights(call):
    """One setting limits every address; the operator is not a caller."""
    chassis = quiet(rate_limit="2/minute", cors_origins=("https://app.example.com",))
    app = limited_app(chassis)
    preflight = [(b"origin", b"https://app.example.com"), (b"access-control-request-method", b"GET")]
    for _ in range(5):
        assert (await call(app, path="/livez")).status == 200
        assert (await call(app, "OPTIONS", "/free", headers=preflight)).status == 204
    statuses = [(await call(app, path="/free")).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await call(app, path="/free", client=("192.0.2.1", 1))).status == 200
    chassis.stop_background()


def test_r2_after_retry_after_exactly_one_request_passes():
    """Waiting as told is enough, and not more than enough."""
    rule, store = Rule("default", 5, 60), MemoryStore()
    decisions = [store.take(rule, "k", 1000.0) for _ in range(6)]
    wait = decisions[-1].reset_seconds
    later = [store.take(rule, "k", 1000.0 + wait) for _ in range(2)]
    assert [decision.allowed for decision in later] == [True, False]


@given(
    st.integers(1, 50),
    st.integers(1, 3600),
    st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=200),
)
def test_no_window_lets_more_than_twice_the_quota_pass_and_a_refusal_never_costs(quota, window, gaps):
    """GCRA's bound: a burst of the quota, plus what refills while the window passes; refusals leave the state alone."""
    rule, arrival, now, passed = Rule("d", quota, window), 0.0, 1000.0, []
    for gap in gaps:
        now += gap
        decision = decide(rule, arrival, now)
        if decision.allowed:
            passed.append(now)
        else:
            assert decision.arrival == arrival
            assert decide(rule, arrival, now + decision.reset_seconds).allowed
        arrival = decision.arrival
    for end in passed:
        assert sum(end - window < moment <= end for moment in passed) <= 2 * quota


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff", "2001:db8::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("[2001:db8:0:1::9]:443", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "not an address"),
    ],
)
def test_r6_an_ipv6_customer_is_one_bucket(address, expected):
    """A /64 is what one customer has; spellings of one address are one."""
    assert bucket(address) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.7"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["garbage"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, garbage"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ],
)
def test_r7_only_trusted_hops_are_believed(peer, forwarded, expected):
    """The right-most hop that is not ours is the caller; what it wrote itself counts for nothing."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {
        "type": "http",
        "client": (peer, 1),
        "headers": [*headers, (b"x-forwarded-proto", b"https")],
        "scheme": "http",
    }
    TrustedProxies(("10.0.0.0/8",)).apply(scope)
    assert scope["client"][0] == expected
    assert scope["scheme"] == ("http" if peer.startswith("203") else "https")


async def test_r7_a_spoofed_header_does_not_buy_a_new_quota(call):
    """From a stranger it is ignored, so rotating it changes nothing."""
    app = limited_app(quiet(rate_limit="3/minute"))
    statuses = []
    for number in range(5):
        headers = [(b"x-forwarded-for", f"198.51.100.{number}".encode())]
        statuses.append((await call(app, path="/free", headers=headers, client=("203.0.113.9", 1))).status)
    assert statuses == [200, 200, 200, 429, 429]


def test_r8_a_million_callers_do_not_fill_the_memory():
    """The longest silent are forgotten; who keeps calling stays known."""
    store, rule = MemoryStore(keys_max=1000), Rule("d", 2, 60)
    for number in range(20_000):
        store.take(rule, f"caller-{number}", 0.0)
        store.take(rule, "regular", 0.0)
    assert len(store) == 1000
    assert not store.take(rule, "regular", 0.0).allowed


def test_r9_odd_callers_become_a_hash():
    """Spaces, newlines and four kilobytes do not reach a store's key."""
    for caller in ("a b", "a\nb", "x" * 4096, "\ud800"):
        key = caller_key(Rule("d", 1, 1), "", caller)
        assert len(key) < 100
        assert key.isprintable()


async def test_r10_a_clock_that_steps_back_locks_nobody_out(call, monkeypatch):
    """The limits run on the monotonic clock."""
    app = limited_app(quiet(rate_limit="2/minute"))
    await call(app, path="/free")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert (await call(app, path="/free")).status == 200


async def test_r11_a_unix_socket_peer_has_no_address_and_is_served(call):
    """They share one bucket, and nothing crashes."""
    app = limited_app(quiet(rate_limit="2/minute"))
    assert [(await call(app, path="/free", client=None)).status for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("bad", ["0/second", "-1/second", "5/fortnight", "5", "/s", "5/0s", "five/s"])
def test_r12_what_is_no_rate_refuses_the_start(bad):
    """In the environment and in the decorator."""
    with pytest.raises(ConfigError, match="GOLIVE_CHASSIS_RATE_LIMIT: expected a rate"):
        Chassis.from_env({"GOLIVE_CHASSIS_RATE_LIMIT": bad})
    with pytest.raises(ConfigError, match="limit: expected a rate"):
        Chassis().limit(bad)


def test_r12_rates_are_read_in_the_ways_people_write_them():
    """Units, multiples and words."""
    assert [parse_rule(text)[1:] for text in ("100/minute", "5/10s", "1000 per hour", "7/2 days", "1/s")] == [
        (100, 60),
        (5, 10),
        (1000, 3600),
        (7, 172_800),
        (1, 1),
    ]


def test_a_proxy_that_is_no_network_refuses_the_start():
    """``*`` would believe everybody."""
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES: expected an address or network"):
        Chassis.from_env({"TRUSTED_PROXIES": "*"})


async def test_a_key_function_that_raises_is_a_500_with_an_id_and_takes_no_place(call, keep_log):
    """A mistake of the application before its handler is answered like one inside it."""
    chassis = Chassis(ChassisSettings(access_log=False))
    lines = keep_log(chassis)
    app = FastAPI()

    @app.get("/x")
    @chassis.limit("5/minute", by=lambda scope: scope["no such member"])
    async def limited():
        return 1

    answer = await call(chassis.wrap(app), path="/x")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert chassis.lifecycle.in_flight == 0
    assert [line["error"] for line in lines if line["event"] == "unhandled_exception"] == ["KeyError"]
    chassis.stop_background()


@pytest.mark.parametrize("everywhere", [True, False], ids=["rate_limit", "limit"])
async def test_a_websocket_over_its_quota_does_not_open(everywhere: bool):
    """The handshake is counted: by address for the whole service, and by the rule on the route."""
    chassis = Chassis(ChassisSettings(access_log=False, rate_limit="1/minute" if everywhere else ""))

    async def talk(socket: Any) -> None:
        await socket.accept()
        await socket.close()

    route = talk if everywhere else chassis.limit("1/minute")(talk)
    app = chassis.wrap(Starlette(routes=[WebSocketRoute("/ws", route)]))
    chassis.lifecycle.serve()

    async def connect(address: str) -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "root_path": ""}
        await app({**scope, "client": (address, 1), "scheme": "ws", "subprotocols": []}, receive, send)
        return sent

    assert (await connect("192.0.2.1"))[0]["type"] == "websocket.accept"
    (refused,) = await connect("192.0.2.1")
    assert (refused["type"], refused["code"]) == ("websocket.close", 1013)
    assert (await connect("192.0.2.2"))[0]["type"] == "websocket.accept"
