"""Idempotency (cases I1 to I19): over HTTP semantics in process, with both stores, and with two real processes."""

from __future__ import annotations

import asyncio
import collections
import os
import signal
import time

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.idempotency import parse_key
from golive.chassis.stores.memory import MemoryIdempotencyStore
from golive.chassis.stores.sqlite import SqliteIdempotencyStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    return MemoryIdempotencyStore() if request.param == "memory" else SqliteIdempotencyStore(tmp_path / "keys.db")


class Shop:
    """A service whose handler counts how often it really runs."""

    def __init__(self, store, **rules) -> None:
        self.chassis = Chassis(ChassisSettings(access_log=False, body_max_bytes=100_000))
        self.chassis.once.store = store
        self.runs = 0
        self.status = 201
        self.seconds = 0.0
        app = FastAPI()
        tenant = {"scope": lambda scope: dict(scope["headers"]).get(b"x-tenant", b"").decode()}

        @app.post("/orders", status_code=201)
        @self.chassis.idempotent(**{**tenant, **rules})
        async def orders(request: Request, response: Response):
            self.runs += 1
            await asyncio.sleep(self.seconds)
            answer = JSONResponse({"run": self.runs, "got": (await request.body()).decode()}, self.status)
            answer.set_cookie("session", "secret")
            return answer

        @app.post("/other/{item}")
        @self.chassis.idempotent(**{**tenant, **rules})
        async def other(item: str):
            self.runs += 1
            return item

        @app.post("/large")
        @self.chassis.idempotent(**rules)
        async def large():
            self.runs += 1
            return StreamingResponse(iter([b"x" * 400_000] * 3))

        @app.post("/validated")
        @self.chassis.idempotent(**rules)
        async def validated(body: dict[str, int]):
            self.runs += 1
            return body

        self.app = self.chassis.wrap(app)


@pytest.fixture
def post(call):
    async def send(
        shop, key: str | None = '"k"', body: bytes = b"one", path: str = "/orders", query: bytes = b"", **more
    ):
        headers = [(name.encode().replace(b"_", b"-"), value.encode()) for name, value in more.items()]
        headers += [(b"idempotency-key", key.encode())] if key is not None else []
        return await call(shop.app, "POST", path, headers=headers, body=body, query=query)

    return send


async def test_i1_five_at_once_run_the_handler_once_and_the_others_are_told_to_come_back(post, store):
    """Replay mode: one 201, four 409 with Retry-After, one execution."""
    shop = Shop(store)
    shop.seconds = 0.3
    answers = await asyncio.gather(*(post(shop) for _ in range(5)))
    assert collections.Counter(answer.status for answer in answers) == {201: 1, 409: 4}
    assert shop.runs == 1
    refused = next(answer for answer in answers if answer.status == 409)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["content-type"] == "application/problem+json"


async def test_i1_waiting_duplicates_all_get_the_first_answer(post, store):
    """With ``wait`` the five answers are equal and the handler runs once."""
    shop = Shop(store, in_flight="wait")
    shop.seconds = 0.2
    answers = await asyncio.gather(*(post(shop) for _ in range(5)))
    assert {(answer.status, answer.body) for answer in answers} == {(201, b'{"run":1,"got":"one"}')}


async def test_i1_i15_in_204_mode_duplicates_are_204_with_nothing_in_them(post, store):
    """
    The ingest contract: exactly one 201 and four 204 of five parallel, without body, length or type; counted per
    tenant.
    """
    shop = Shop(store, on_duplicate="204", source="feed")
    shop.seconds = 0.2
    answers = await asyncio.gather(*(post(shop, x_tenant="acme") for _ in range(5)))
    assert collections.Counter(answer.status for answer in answers) == {201: 1, 204: 4}
    duplicate = next(answer for answer in answers if answer.status == 204)
    assert duplicate.body == b""
    assert not {"content-length", "content-type"} & duplicate.headers.keys()
    counter = shop.chassis.metrics.counter("ingest_dedup_total", "", ("tenant", "source"))
    assert counter.values == {("acme", "feed"): 4}


async def test_i2_a_later_retry_is_the_same_answer_without_the_handler(post, store):
    """Same status, body and type; its own id; no cookie of the first caller."""
    shop = Shop(store)
    first, again = await post(shop), await post(shop)
    assert (again.status, again.body, again.headers["content-type"]) == (201, first.body, first.headers["content-type"])
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert "set-cookie" in first.headers
    assert "set-cookie" not in again.headers
    assert shop.runs == 1


async def test_i3_the_same_key_for_another_request_is_422(post, store):
    """Another body, query or content type is another request; in 204 mode too."""
    for mode in ("replay", "204"):
        shop = Shop(store, on_duplicate=mode)
        await post(shop, mode)
        others = [
            await post(shop, mode, b"two"),
            await post(shop, mode, query=b"x=1"),
            await post(shop, mode, content_type="a/b"),
        ]
        assert [answer.status for answer in others] == [422, 422, 422]
        assert shop.runs == 1


async def test_i4_a_missing_key_is_400_where_required_and_nothing_special_elsewhere(post, store):
    """A route says which."""
    required, free = Shop(store, required=True), Shop(store)
    assert (await post(required, None)).status == 400
    assert [(await post(free, None)).status for _ in range(2)] == [201, 201]
    assert (required.runs, free.runs) == (0, 2)


async def test_i5_a_quoted_and_a_bare_key_are_the_same(post, store):
    """The draft's string and Stripe's token."""
    shop = Shop(store)
    await post(shop, '"order-1"')
    assert (await post(shop, "order-1")).headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("bad", [b"", b'""', b"x" * 256, b"a\x01b", b'"open', "é".encode()])
async def test_i5_a_malformed_key_is_400(call, store, bad):
    """Said as such, and nothing runs."""
    shop = Shop(store)
    answer = await call(shop.app, "POST", "/orders", headers=[(b"idempotency-key", bad)])
    assert (answer.status, answer.json()["status"], shop.runs) == (400, 400, 0)


async def test_i5_two_keys_are_400(call, store):
    """They contradict each other."""
    headers = [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]
    assert (await call(Shop(store).app, "POST", "/orders", headers=headers)).status == 400


async def test_i6_tenants_and_routes_do_not_share_keys(post, store):
    """Nobody learns, or is blocked by, what others did under the same word."""
    shop = Shop(store)
    statuses = [(await post(shop, x_tenant=tenant)).status for tenant in ("a", "b")]
    statuses.append((await post(shop, path="/other/1")).status)
    assert statuses == [201, 201, 200]
    assert shop.runs == 3
    assert (await post(shop, path="/other/2")).status == 422


async def test_i7_a_server_error_is_not_kept_unless_asked(post, store):
    """The retry may succeed; with ``save_5xx`` it is the same error."""
    shop = Shop(store)
    shop.status = 500
    await post(shop)
    shop.status = 201
    assert (await post(shop)).status == 201
    saving = Shop(store, save_5xx=True)
    saving.status = 500
    await post(saving, "saved")
    saving.status = 201
    assert ((await post(saving, "saved")).status, saving.runs) == (500, 1)


async def test_i8_a_validation_error_is_not_kept(post, store):
    """The corrected request with the same key goes through."""
    shop = Shop(store)
    assert (await post(shop, body=b"{}x", path="/validated", content_type="application/json")).status == 422
    assert (await post(shop, body=b'{"a":1}', path="/validated", content_type="application/json")).status == 200


async def test_i9_a_lease_that_ended_is_taken_over_once_and_the_zombie_is_fenced(store):
    """Its owner died: 409 until the lease ends, one new owner then, and the old one's late result is refused."""
    first = await store.begin("k", b"f", "zombie", 100.0, 30.0)
    assert first.mine
    assert not (await store.begin("k", b"f", "b", 129.0, 30.0)).mine
    takers = [await store.begin("k", b"f", owner, 131.0, 30.0) for owner in ("b", "c")]
    assert [taker.mine for taker in takers] == [True, False]
    assert not await store.finish("k", "zombie", b"late", 999.0)
    assert not await store.renew("k", "zombie", 999.0)
    await store.release("k", "zombie")
    assert await store.finish("k", "b", b"result", 999.0)
    held = await store.begin("k", b"f", "d", 200.0, 30.0)
    assert (held.mine, held.done, held.saved) == (False, True, b"result")


async def test_i13_after_its_time_a_key_is_new(store):
    """Results are remembered for ttl, not for ever."""
    await store.begin("k", b"f", "a", 100.0, 30.0)
    assert await store.finish("k", "a", b"result", 200.0)
    assert not (await store.begin("k", b"f", "b", 199.0, 30.0)).mine
    assert (await store.begin("k", b"f", "b", 201.0, 30.0)).mine


async def test_the_lease_is_renewed_while_the_handler_runs(post, store):
    """A slow handler keeps its key although the lease is shorter."""
    shop = Shop(store, lease="300ms")
    shop.seconds = 1.0
    running = asyncio.create_task(post(shop))
    await asyncio.sleep(0.7)
    assert (await post(shop)).status == 409
    assert (await running).status == 201
    assert shop.runs == 1


async def test_i10_a_caller_that_hangs_up_does_not_stop_the_work(post, store):
    """The handler finishes, its result is kept, and the retry gets it."""
    shop = Shop(store)
    shop.seconds = 0.3
    task = asyncio.create_task(post(shop))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.5)
    assert ((await post(shop)).status, shop.runs) == (201, 1)


async def test_i11_an_answer_too_long_to_keep_is_given_once_and_never_run_twice(post, store):
    """The duplicate learns that it was done."""
    shop = Shop(store)
    first, again = await post(shop, path="/large"), await post(shop, path="/large")
    assert (first.status, len(first.body)) == (200, 1_200_000)
    assert (again.status, again.json()["detail"]) == (409, "This was done; its answer was too long to keep.")
    assert shop.runs == 1


class Away:
    async def begin(self, *_):
        raise OSError("away")


@pytest.mark.parametrize(("policy", "status", "runs"), [("closed", 503, 0), ("open", 201, 1)])
async def test_i12_a_store_that_is_away_is_a_declared_policy_and_counted(post, policy, status, runs):
    """Fail closed by default; open if the route prefers duplicates to refusals."""
    shop = Shop(Away(), on_store_error=policy)
    assert ((await post(shop)).status, shop.runs) == (status, runs)
    assert shop.chassis.metrics.counter("idempotency_store_errors_total", "").values[()] == 1


async def test_i19_a_body_that_is_too_large_never_reaches_the_store(post):
    """413 comes first."""
    shop = Shop(Away())
    assert (await post(shop, body=b"x" * 100_001, content_length="100001")).status == 413


def test_wrong_arguments_are_refused_together():
    """At import, not at the first duplicate."""
    with pytest.raises(ConfigError) as caught:
        Chassis().idempotent(on_duplicate="200", in_flight="maybe", ttl="1", on_store_error="")
    assert len(caught.value.faults) == 4
    with pytest.raises(ConfigError, match="GOLIVE_CHASSIS_IDEMPOTENCY_STORE: expected"):
        Chassis.from_env({"GOLIVE_CHASSIS_IDEMPOTENCY_STORE": "redis"})


def test_keys_are_read_as_structured_strings():
    """Escapes inside quotes are part of the grammar."""
    assert parse_key([rb'"a\"b\\c"']) == 'a"b\\c'


def test_a_memory_store_that_is_full_of_live_keys_refuses_rather_than_forgets():
    """Forgetting a live key would run a request twice."""

    async def fill():
        store = MemoryIdempotencyStore(keys_max=2)
        await store.begin("a", b"", "o", 0.0, 10.0)
        await store.begin("b", b"", "o", 5.0, 10.0)
        with pytest.raises(MemoryError):
            await store.begin("c", b"", "o", 6.0, 10.0)
        assert (await store.begin("c", b"", "o", 11.0, 10.0)).mine

    asyncio.run(fill())


INGEST = """
    import os, asyncio
    from fastapi import FastAPI
    from golive import Chassis
    inner = FastAPI()
    chassis = Chassis.from_env()
    @inner.post("/ingest", status_code=201)
    @chassis.idempotent(on_duplicate="204", lease="1s")
    async def ingest(slow: float = 0):
        with open("runs", "a") as runs:
            runs.write("x")
        await asyncio.sleep(slow)
        return {"pid": os.getpid()}
    app = chassis.wrap(inner)
"""


async def ask(port: int, key: str, query: str = "") -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /ingest{query} HTTP/1.1\r\nhost: t\r\nidempotency-key: {key}\r\n"
    head += "content-length: 2\r\nconnection: close\r\n"
    writer.write(head.encode() + b"\r\n{}")
    answer = await reader.read()
    writer.close()
    return int(answer[9:12])


@pytest.mark.process
async def test_i18_two_processes_over_one_file_run_each_key_once(start, tmp_path):
    """2,000 requests, 400 keys, 75 at once: 400 times 201, the rest 204, no error, 95 of 100 within a second."""
    env = {"GOLIVE_CHASSIS_IDEMPOTENCY_STORE": f"sqlite:{tmp_path}/keys.db", "GOLIVE_CHASSIS_ACCESS_LOG": "false"}
    services = [start(INGEST, **env) for _ in range(2)]
    for service in services:
        service.wait_started()
    slots, took, statuses = asyncio.Semaphore(75), [], collections.Counter()

    async def one(number: int) -> None:
        async with slots:
            began = time.perf_counter()
            statuses[await ask(services[number % 2].port, f"key-{number % 400}")] += 1
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(one(number) for number in range(2000)))
    assert statuses == {201: 400, 204: 1600}
    assert (tmp_path / "runs").read_text() == "x" * 400
    assert sorted(took)[1900] <= 1.0


@pytest.mark.process
async def test_i9_after_kill_9_the_key_is_blocked_for_the_lease_and_then_runs_once(start, tmp_path, wait_until):
    """The first process dies in its handler; nobody runs beside it, one takes over."""
    env = {"GOLIVE_CHASSIS_IDEMPOTENCY_STORE": f"sqlite:{tmp_path}/keys.db"}
    doomed, heir = services = [start(INGEST, **env) for _ in range(2)]
    for service in services:
        service.wait_started()
    dying = asyncio.create_task(ask(doomed.port, "k", "?slow=0"))
    assert await dying == 201
    hanging = asyncio.create_task(ask(doomed.port, "k2", "?slow=30"))
    await wait_until((tmp_path / "runs").read_text, "xx")
    os.kill(doomed.process.pid, signal.SIGKILL)
    with pytest.raises((ValueError, OSError)):
        await hanging
    assert await ask(heir.port, "k") == 422  # another query: the result of the dead process is still known
    task = asyncio.create_task(ask(heir.port, "k2", "?slow=30"))
    await wait_until((tmp_path / "runs").read_text, "xxx")
    task.cancel()
