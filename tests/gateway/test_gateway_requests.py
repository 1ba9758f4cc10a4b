"""The account of every request: each client counts once and fails once, and nobody is slowed down or stored by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.conftest import EnvoyWorld, eventually, settings

from golive.errors import UnavailableError
from golive.load import LoadPlan, RequestSpec, run
from golive.rollout.evidence import envoy_requests
from golive.rollout.evidence.envoy import EnvoyEvidence
from golive.rollout.evidence.envoy_requests import Account, Clients, RequestTap
from golive.rollout.ports import WEIGHT_MAX, Split
from golive.rollout.routers.envoy_gateway import EnvoyGateway
from golive.rollout.routers.envoy_tap import Request, requests_in


@pytest.fixture
async def tapped(tmp_path: Path) -> AsyncIterator[EnvoyWorld]:
    """All traffic on v2, and a gateway that tells."""
    world = EnvoyWorld(tmp_path / "g", settings(request_tap=True))
    await world.gateway.up()
    try:
        await world.router.ensure([await world.arm("v1"), await world.arm("v2")], fence=1)
        await world.router.apply(Split("v1", "v2", WEIGHT_MAX), fence=1)
        yield world
    finally:
        await world.close()


@pytest.fixture
async def tap(tapped: EnvoyWorld) -> AsyncIterator[RequestTap]:
    """Listening, with two routes."""
    tap = RequestTap(tapped.gateway, routes=["GET /jobs/{id}", "GET /files/{name:path}"])
    await tap.open()
    yield tap
    await tap.close()


async def _heard(tap: RequestTap, requests: int, version: str = "v2") -> Account:
    async def all_of_them() -> bool:
        account = tap.account(version)
        return sum(account.requests.values()) + account.abandoned >= requests

    await eventually(all_of_them)
    return tap.account(version)


def _field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def _batch(*texts: str) -> bytes:
    # Before the body of a record stands its time (fixed64), before the records their scope, as Envoy sends them.
    records = b"".join(_field(2, b"\x09" + b"\0" * 8 + _field(5, _field(1, text.encode()))) for text in texts)
    return _field(1, _field(1, b"") + _field(2, records)) if len(records) < 120 else b""


def test_a_batch_is_read_as_requests():
    """What is unknown is empty or zero; a record of another shape is skipped."""
    line = "app__v2\t200\tDC,UT\t12\tGET\t/a\tu"
    assert list(requests_in(_batch(line, "something else"))) == [
        Request("app__v2", 200, frozenset({"DC", "UT"}), 0.012, "GET", "/a", "u")
    ]
    assert list(requests_in(_batch("-\t0\t-\t0\t-\t-\t-"))) == [Request("", 0, frozenset(), 0.0, "-", "-", "")]
    assert list(requests_in(b"")) == []


@given(st.binary(max_size=200))
def test_nonsense_is_no_request(batch: bytes):
    """Either a ValueError or nothing of ours: never another error, never an endless loop."""
    try:
        list(requests_in(batch))
    except ValueError:
        pass


def test_a_client_that_fails_often_fails_once():
    """A retry loop of one client is one bad unit, also over many looks; a well one counts once in each."""
    account = Account()
    for status in (500, 500, 200, 503):
        account.add(Request("c", status, frozenset(), 0.1, "GET", "/", "loop"), "*")
    account.add(Request("c", 200, frozenset(), 0.1, "GET", "/", "calm"), "*")
    account.add(Request("c", 0, frozenset({"DC"}), 0.1, "GET", "/", "impatient"), "*")
    assert (account.requests, account.errors) == ({"*": 5}, {"*": 3})
    assert (account.units, account.bad_units, account.abandoned) == (2, 1, 1)
    account.look()
    for client in ("loop", "calm", "calm"):
        account.add(Request("c", 200, frozenset(), 0.1, "GET", "/", client), "*")
    assert (account.units, account.bad_units) == (3, 1)


def test_who_failed_on_one_version_is_no_news_on_the_other_until_well_for_long():
    """The first failure counts where it happened, for every version alike; ten minutes without one forgive it."""
    now = [0.0]
    clients = Clients(lambda: now[0])
    stable, candidate = Account(clients), Account(clients)
    failure = Request("c", 500, frozenset(), 0.1, "POST", "/a", "frail")
    for at in (0.0, 300.0, 800.0):
        now[0] = at
        stable.add(failure, "POST /a")
        candidate.add(failure, "POST /a")
    assert (stable.bad_units, candidate.bad_units, candidate.errors) == (1, 0, {})
    now[0] = 1400.0
    candidate.add(failure, "POST /a")
    assert (candidate.units, candidate.bad_units, candidate.errors) == (1, 1, {"POST /a": 1})


def test_a_client_seen_for_long_counts_when_it_fails_at_last():
    """A late regression among clients that come back: never more bad units in a look than units."""
    account = Account()
    for status in (200, 200, 500):
        account.look()
        before = account.units, account.bad_units
        account.add(Request("c", status, frozenset(), 0.1, "GET", "/", "regular"), "*")
        assert account.units - before[0] == 1
    assert (account.units, account.bad_units) == (3, 1)


def test_a_request_of_an_unknown_client_counts_by_itself():
    """Without an identity nobody can be recognised, and nobody is lost."""
    account = Account()
    for status in (200, 500, 500):
        account.add(Request("c", status, frozenset(), 0.1, "GET", "/", ""), "*")
    assert (account.units, account.bad_units) == (3, 2)


def test_clients_are_told_apart_up_to_a_limit(monkeypatch: pytest.MonkeyPatch):
    """Beyond it their requests count and they do not, visibly."""
    monkeypatch.setattr(envoy_requests, "CLIENTS_MAX", 3)
    account = Account()
    for client in ("a", "b", "c", "d", "e", "a"):
        account.add(Request("c", 500, frozenset(), 0.1, "GET", "/", client), "*")
    assert (account.requests["*"], account.units, account.bad_units, account.clients_overflow) == (6, 3, 3, 2)


@pytest.mark.process
async def test_clients_are_known_by_header_by_cookie_and_by_the_id_they_are_given(tapped: EnvoyWorld, tap: RequestTap):
    """The identity by which they are split: a new client and its return with the cookie are one."""
    await tapped.router.apply(Split("v1", "v2", WEIGHT_MAX - 1), fence=1)
    client = tapped.client()
    for _ in range(3):
        await client.get("/fail", {"x-user-id": "anna"})
    while True:
        _, version = await client.get()
        if version == "v2":
            break
    cookie = client.headers["set-cookie"].partition(";")[0]
    before = await _heard(tap, 4)
    assert (before.units, before.bad_units) == (2, 1)
    await client.get("/fail", {"cookie": f"a=b; {cookie}"})
    await client.get("/", {"x-user-id": "bert", "cookie": cookie})  # the header wins: a third client
    after = await _heard(tap, 6)
    assert (after.units, after.bad_units) == (3, 2)


@pytest.mark.process
async def test_requests_are_told_apart_by_route(tapped: EnvoyWorld, tap: RequestTap):
    """By declared template, without the query; what matches none is counted under the star."""
    client = tapped.client()
    for path in ("/jobs/1", "/jobs/2?x=1", "/jobs/1/log", "/files/a/b.txt", "/", "/fail"):
        await client.get(path)
    account = await _heard(tap, 6)
    assert account.requests == {"GET /jobs/{id}": 2, "GET /files/{name:path}": 1, "*": 3}
    assert +account.errors == {"*": 1}


@pytest.mark.process
async def test_forced_requests_are_not_in_the_account(tapped: EnvoyWorld, tap: RequestTap):
    """As they are not in the counters."""
    await tapped.send(5, forced="v1")
    await tapped.send(1)
    await _heard(tap, 1)
    assert sum(tap.account("v1").requests.values()) == 0


@pytest.mark.process
async def test_an_answer_that_breaks_off_is_an_error_and_a_client_that_leaves_is_not(
    tapped: EnvoyWorld, tap: RequestTap
):
    """The two things that counters of status codes do not see."""
    client = tapped.client()
    with pytest.raises(EOFError):
        await client.get("/cut")
    _, writer = await asyncio.open_connection("127.0.0.1", tapped.gateway.port)
    writer.write(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")

    async def waiting() -> bool:
        return await tapped.router.active("v2") == 1

    await eventually(waiting)
    writer.close()
    account = await _heard(tap, 2)
    assert (account.errors["*"], account.requests["*"], account.abandoned) == (1, 1, 1)


@pytest.mark.process
async def test_every_request_under_load_is_in_the_account(tapped: EnvoyWorld, tap: RequestTap):
    """Not one more or less than the client sent, and as many clients as there were."""
    specs = [RequestSpec(headers={"x-user-id": "{n%200}"})]
    plan = LoadPlan(f"http://{tapped.gateway.address}/", rate=1_000, duration=2.0, requests=specs)
    report = await asyncio.to_thread(run, plan)
    account = await _heard(tap, report.requests)
    assert report.failed == 0
    assert (account.requests["*"], account.units, account.bad_units) == (report.requests, 200, 0)
    assert tap.bad_batches == 0


@pytest.mark.process
async def test_the_evidence_has_clients_and_routes_when_it_has_a_tap(tapped: EnvoyWorld, tap: RequestTap):
    """Requests, errors and units from the account; latency, health and requests in flight still from the counters."""
    evidence = EnvoyEvidence(tapped.gateway, tap=tap)
    for client in ("anna", "anna", "bert"):
        await tapped.send(1, client=client)
    await tapped.client().get("/fail", {"x-user-id": "anna"})
    await _heard(tap, 4)
    sample = await evidence.sample()
    arm = sample.arms["v2"]
    assert (arm.requests, arm.errors) == ({"*": 4}, {"*": 1})
    assert (arm.units, arm.bad_units) == (2, 1)
    assert (sample.arms["v1"].requests, sample.arms["v1"].units) == ({}, 0)
    assert arm.healthy is True
    plain = await tapped.evidence.sample()
    assert (plain.arms["v2"].units, plain.arms["v2"].bad_units) == (None, None)
    assert plain.epoch != sample.epoch


@pytest.mark.process
async def test_without_a_listener_nobody_waits_and_the_next_one_begins_anew(tapped: EnvoyWorld, tap: RequestTap):
    """The controller is dead: traffic goes on, nothing is stored; the next controller has another epoch."""
    await tapped.send(3)
    await _heard(tap, 3)
    await tap.close()
    assert await tapped.send(50) == ["v2"] * 50
    later = RequestTap(tapped.gateway)
    await later.open()
    try:
        assert later.epoch != tap.epoch

        async def heard() -> bool:
            await tapped.send(1)
            return later.account("v2").units > 0

        await eventually(heard)
        assert sorted(path.name for path in tapped.gateway.directory.glob("tap*")) == ["tap.sock"]
        assert tapped.gateway.tap_path.stat().st_mode & 0o077 == 0
    finally:
        await later.close()


@pytest.mark.process
async def test_a_deaf_tap_is_not_believed_until_it_hears_again(tapped: EnvoyWorld, tap: RequestTap):
    """Its socket was taken away: plain counters in another epoch, then, opened anew, clients in a third one."""
    evidence = EnvoyEvidence(tapped.gateway, tap=tap)
    await tapped.send(3)
    await _heard(tap, 3)
    epochs = [(await evidence.sample()).epoch]
    tapped.gateway.tap_path.unlink()
    await tapped.send(30)

    async def units() -> int | None:
        sample = await evidence.sample()
        epochs.append(sample.epoch)
        return sample.arms["v2"].units

    async def deaf() -> bool:
        return await units() is None

    async def hears_again() -> bool:
        await tapped.send(1)
        return await units() is not None

    await eventually(deaf)
    await eventually(hears_again)
    assert len(dict.fromkeys(epochs)) == 3


async def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path):
    """Before Envoy is started, with what to do."""
    with pytest.raises(UnavailableError, match="request_tap"):
        await EnvoyGateway(tmp_path / ("x" * 120), settings(request_tap=True)).up()


async def test_whoever_is_not_envoy_does_no_harm(tmp_path: Path):
    """Garbage on the socket is counted and forgotten."""
    tap = RequestTap(EnvoyGateway(tmp_path, settings(request_tap=True)))
    await tap.open()
    try:
        for garbage in (b"GET / HTTP/1.1\r\ncontent-length: 3\r\n\r\n\xff\xff\xff", b"x" * 70_000 + b"\r\n\r\n"):
            _, writer = await asyncio.open_unix_connection(tmp_path / "tap.sock")
            writer.write(garbage)
            writer.write_eof()

        async def counted() -> bool:
            return tap.bad_batches == 2

        await eventually(counted)
        assert tap.accounts == {}
    finally:
        await tap.close()


async def test_the_latency_of_a_declared_route_is_counted_apart(tapped: EnvoyWorld):
    """Into the judge's buckets, for routes that were declared and no other; without bounds nothing is."""
    tap = RequestTap(tapped.gateway, ["GET /sleep", "GET /health"], bounds=(0.05, 0.2, 1.0))
    await tap.open()
    client = tapped.client()
    try:
        for path in ("/sleep?0.1", "/sleep?0.1", "/sleep?0", "/"):
            await client.get(path)
        account = await _heard(tap, 4)
        counts = account.latency["GET /sleep"]
        assert account.latency.keys() == {"GET /sleep"}
        assert (sum(counts), counts[0] <= 1, sum(counts[1:]) >= 2) == (3, True, True)
        sample = await EnvoyEvidence(tapped.gateway, tap=tap).sample()
        assert sample.arms["v2"].latency_by_route == {"GET /sleep": counts}
    finally:
        await client.close()
        await tap.close()
