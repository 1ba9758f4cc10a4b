"""Cases R and B: how often, and when not at all. R3 is in test_chassis_redisrates.py."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import redis

pytestmark = pytest.mark.process


def caller(address: str) -> str:
    return f"x-forwarded-for: {address}\r\n"


@pytest.fixture
def store(valkey_server):
    with redis.Redis(port=valkey_server.port) as client:
        yield client


def test_r1_a_quota_of_five_counts_down_and_the_sixth_is_429(served):
    """With the policy, what is left, and when to return."""
    answers = [served.get("/limited", caller("198.51.100.1")) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:5]] == ["r=4", "r=3", "r=2", "r=1", "r=0"]
    last = answers[5]
    assert last.headers["ratelimit-policy"] == '"five";q=5;w=60'
    assert int(last.headers["retry-after"]) >= int(last.headers["ratelimit"].rpartition("t=")[2])
    assert last.headers["cache-control"] == "no-store"
    told = last.json()
    assert (told["type"].rpartition("#")[2], told["violated-policies"]) == ("quota-exceeded", ["five"])


def test_r2_after_retry_after_exactly_one_passes(served):
    """Two in six seconds: one every three."""
    answers = [served.get("/often", caller("198.51.100.3")) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    time.sleep(int(answers[2].headers["retry-after"]))
    assert [served.get("/often", caller("198.51.100.3")).status for _ in range(2)] == [200, 429]


def test_r4_b5_with_valkey_frozen_answers_come_by_the_declared_policy_and_the_loop_runs_on(
    served, valkey_server, at_once, eventually
):
    """Limits are counted here, a breaker decides for itself, and no request waits for the freeze to end."""
    errors, stalls = served.metric("ratelimit_store_errors_total"), served.metric("event_loop_stalls_total")
    name = uuid.uuid4().hex
    valkey_server.freeze()
    began = time.monotonic()
    try:
        answers = at_once([lambda: served.get("/limited", caller("198.51.100.5"))] * 8)
        failed = [served.get(f"/breaker/{name}/fail") for _ in range(6)]
        waited = time.monotonic() - began
    finally:
        valkey_server.thaw()
    assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 3
    assert [answer.status for answer in failed] == [500] * 4 + [503] * 2
    assert waited < 10, "it would have been frozen for as long as we like"
    assert served.metric("ratelimit_store_errors_total") > errors
    assert served.metric("event_loop_stalls_total") == stalls

    def is_back() -> bool:
        served.get("/limited", caller(f"198.18.0.{int(time.monotonic() * 50) % 250}"))
        return [line["status"] for line in served.log("ratelimit_store")][-1:] == ["back"]

    eventually(is_back, "the shared store is asked again")


def test_r5_a_server_that_forgot_the_script_is_given_it_again(served, store):
    """No error, and no request without an answer."""
    errors = served.metric("ratelimit_store_errors_total")
    assert served.get("/limited", caller("198.51.100.10")).status == 200
    store.script_flush()
    store.flushall()
    assert served.get("/limited", caller("198.51.100.10")).headers["ratelimit"].startswith('"five";r=4')
    assert served.metric("ratelimit_store_errors_total") == errors


def test_r6_a_customers_network_is_one_caller(served):
    """A /64 has as many addresses as its owner likes."""
    left = [
        served.get("/limited", caller(address)).headers["ratelimit"].split(";")[1]
        for address in ("2001:db8::1", "2001:db8::ffff", "[2001:db8::2]:443", "2001:db8:0:1::1")
    ]
    assert left == ["r=4", "r=3", "r=2", "r=4"]
    for one, same in (("1.2.3.4", "::ffff:1.2.3.4"), ("fe80::1%eth0", "fe80::1"), ("5.6.7.8:1234", "5.6.7.8")):
        assert served.get("/limited", caller(one)).headers["ratelimit"].split(";")[1] == "r=4"
        assert served.get("/limited", caller(same)).headers["ratelimit"].split(";")[1] == "r=3"


def test_r7_only_named_hops_are_believed(served, locked):
    """Reading from the right; whoever stands there is the caller. A peer that is not named speaks for nobody."""
    for sent, seen in (
        ("6.6.6.6, 198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 127.0.0.1", "198.51.100.7"),
        ("198.51.100.7, nonsense", "127.0.0.1"),
    ):
        assert served.get("/plain", caller(sent)).json()["address"] == seen
    statuses = [locked.get("/x", caller(f"203.0.113.{number}")).status for number in range(8)]
    assert statuses[-4:] == [429] * 4, "made-up addresses buy no quota"


def test_r9_odd_keys_become_a_hash(served, store):
    """Spaces, quotes and four thousand characters."""
    for odd in ("a b c " * 5, "k" * 4096, 'x"y\\z \t'):
        head = f"x-caller: {odd}\r\n"
        assert [served.get("/by-header", head).status for _ in range(2)] == [200, 429]
    assert all(len(key) < 300 and b" " not in key for key in store.keys("*"))


def test_r11_a_caller_on_a_unix_socket_is_served(start_once, tmp_path, eventually, read_answer):
    """By uvicorn itself, which gives such a caller no address."""
    (tmp_path / "plain.py").write_text(
        "from golive import Chassis\nfrom golive.chassis import ChassisSettings\n"
        "async def raw(scope, receive, send):\n"
        "    if scope['type'] != 'http': raise RuntimeError('no lifespan')\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'2')]})\n"
        "    await send({'type': 'http.response.body', 'body': b'ok'})\n"
        "app = Chassis(ChassisSettings(rate_limit='2/minute')).wrap(raw)\n"
    )
    where = tmp_path / "s"
    command = [str(Path(sys.executable).with_name("uvicorn")), "plain:app", "--uds", str(where)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            eventually(lambda: where.exists() and sock.connect_ex(str(where)) == 0, "uvicorn listens")
            statuses = []
            for _ in range(3):
                sock.sendall(b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n")
                statuses.append(read_answer(sock).status)
        assert statuses == [200, 200, 429]
    finally:
        process.kill()
        process.wait()


def test_r12_what_is_no_rate_refuses_the_start(refused):
    """And is named."""
    for wrong in ("0/second", "5/fortnight"):
        assert "GOLIVE_CHASSIS_RATE_LIMIT: expected a rate such as" in refused(GOLIVE_CHASSIS_RATE_LIMIT=wrong)


def test_r13_another_type_of_key_on_a_live_server_fails_no_request(served, store):
    """What somebody else left under our names."""
    assert served.get("/limited", caller("198.51.100.13")).status == 200
    names = store.keys("*198.51.100.13*")
    assert names
    for name in names:
        store.delete(name)
        store.lpush(name, "not a number")
    assert served.get("/limited", caller("198.51.100.13")).status == 200


def test_b1_b6_an_open_breaker_calls_nothing_and_is_503_and_others_are_closed(served):
    """Four failures of four; another name knows nothing of it."""
    name = uuid.uuid4().hex
    answers = [served.get(f"/breaker/{name}/fail") for _ in range(8)]
    assert [answer.status for answer in answers] == [500] * 4 + [503] * 4
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert answers[-1].json()["status"] == 503
    assert served.get("/runs").json()[f"breaker {name}"] == 4
    assert served.status(f"/breaker/{uuid.uuid4().hex}/ok") == 200


def test_b2_b3_what_one_process_learned_the_other_obeys_and_half_open_admits_one_probe(
    served, twin, at_once, eventually
):
    """The other one was told nothing; when it is time, one call of the whole fleet may try."""
    name = uuid.uuid4().hex
    assert twin.status(f"/breaker/{name}/ok") == 200
    for _ in range(4):
        served.get(f"/breaker/{name}/fail")
    eventually(lambda: twin.status(f"/breaker/{name}/ok") == 503, "the twin obeys")

    def tries() -> int:
        calls = [lambda service=service: service.status(f"/breaker/{name}/probe") for service in (served, twin) * 4]
        return at_once(calls).count(200)

    counts = []
    eventually(lambda: counts.append(tries()) or counts[-1], "the breaker is half open")
    assert counts[-1] == 1, counts


def test_b4_a_4xx_is_no_failure_and_a_time_out_is(served):
    """The other side is alive when it says that we are wrong."""
    polite, slow = uuid.uuid4().hex, uuid.uuid4().hex
    for _ in range(8):
        served.get(f"/breaker/{polite}/refused")
    assert served.status(f"/breaker/{polite}/ok") == 200
    assert [served.status(f"/breaker/{slow}/slow") for _ in range(6)] == [500] * 4 + [503] * 2
