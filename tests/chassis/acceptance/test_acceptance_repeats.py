"""Cases I: repeated requests, with the keys in PostgreSQL. I9 and I18 are in test_chassis_idempotency.py."""

from __future__ import annotations

import uuid

import pytest

pytestmark = pytest.mark.process

JSON = "content-type: application/json\r\n"


def key(value: str) -> str:
    return f"idempotency-key: {value}\r\n"


@pytest.fixture
def post(served):
    """``post(path, body, head)``: with a key of the test's own unless one is in *head*."""
    own = key(uuid.uuid4().hex)
    return lambda path, body=b"a", head="": served.request(
        "POST", path, head if "idempotency" in head else own + head, body
    )


def ran(served, name):
    return served.get("/runs").json().get(name, 0)


def test_i1_five_at_once_run_once(served, post, at_once):
    """The others come back later, or wait for the same answer, as the route says."""
    before = ran(served, "orders")
    answers = at_once([lambda: post("/orders", b"slow")] * 5)
    assert sorted(answer.status for answer in answers) == [201] + [409] * 4
    assert all(answer.headers["retry-after"] for answer in answers if answer.status == 409)
    assert ran(served, "orders") == before + 1
    before = ran(served, "waiting")
    waited = at_once([lambda: post("/waiting", b"slow")] * 5)
    assert {(answer.status, answer.body) for answer in waited} == {(201, b'{"run":%d}' % (before + 1))}
    assert ran(served, "waiting") == before + 1


def test_i1_i15_i16_in_204_mode_duplicates_hold_nothing_and_are_counted(served, post, at_once, api_key):
    """One 201 and four 204 without a body, a length or a type; by tenant and source."""
    counter = 'ingest_dedup_total{tenant="acme",source="till"}'
    before = served.metric(counter)
    answers = at_once([lambda: post("/ingest", b"slow", api_key("writer"))] * 5)
    assert sorted(answer.status for answer in answers) == [201] + [204] * 4
    for answer in (answer for answer in answers if answer.status == 204):
        assert answer.body == b""
        assert not {"content-length", "content-type", "transfer-encoding"} & answer.headers.keys()
    assert served.metric(counter) == before + 4


def test_i2_a_retry_is_the_same_answer_without_its_cookies(served, post):
    """Marked as a replay, with an id of its own."""
    first, again = post("/orders"), post("/orders")
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "set-cookie" in first.headers
    assert "set-cookie" not in again.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


def test_i3_the_same_key_for_another_request_is_422(served, post):
    """Body, query or type."""
    assert post("/orders").status == 201
    for answer in (post("/orders", b"b"), post("/orders?more=1"), post("/orders", b"a", JSON)):
        assert (answer.status, answer.json()["status"]) == (422, 422)


def test_i4_a_key_that_is_required_and_missing_is_400_with_a_link(served):
    """Where it is not required nothing is special."""
    missing = served.request("POST", "/required", "", b"a")
    assert (missing.status, missing.json()["status"]) == (400, 400)
    assert 'rel="describedby"' in missing.headers["link"]
    assert served.request("POST", "/orders", "", b"a").status == 201


def test_i5_a_quoted_and_a_bare_key_are_one_and_malformed_ones_are_400(served, post):
    """As structured fields, and as Stripe's clients send it."""
    word = uuid.uuid4().hex
    first = post("/orders", b"a", key(word))
    assert post("/orders", b"a", key(f'"{word}"')).body == first.body
    for bad in ('""', "x" * 256, '"open', "caf\xe9"):
        assert post("/orders", b"a", key(bad)).status == 400, bad
    assert post("/orders", b"a", key("one") + key("two")).status == 400


def test_i6_tenants_routes_and_methods_do_not_share_keys(served, post, api_key):
    """The same key everywhere."""
    word = key(uuid.uuid4().hex)
    answers = [post("/ingest", b"a", word + api_key(name)) for name in ("writer", "rival")]
    answers += [served.request(method, path, word, b"a") for method, path in (("POST", "/orders"), ("POST", "/other"))]
    answers.append(served.request("PATCH", "/orders", word, b"a"))
    assert [answer.status for answer in answers] == [201] * 5


def test_i7_a_server_error_is_not_kept_unless_asked(served, post):
    """The retry may well succeed."""
    assert [post("/flaky").status for _ in range(3)] == [500, 201, 201]
    before = ran(served, "flaky-kept")
    assert [post("/flaky-kept").status for _ in range(2)] == [500, 500]
    assert ran(served, "flaky-kept") == before + 1


def test_i8_a_validation_error_is_not_kept(served, post):
    """The corrected request is another one, with its own key or not; the same mistake is told again."""
    assert [post("/typed", b"{}", JSON).status for _ in range(2)] == [422, 422]
    assert post("/typed", b'{"amount": 1}', JSON).status == 201


def test_i10_a_caller_that_hangs_up_does_not_stop_the_work(served, eventually):
    """Its retry gets the result."""
    word, before = key(uuid.uuid4().hex), ran(served, "orders")
    with served.connect() as sock:
        sock.sendall(f"POST /orders HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n{word}\r\nslow".encode())
        eventually(lambda: ran(served, "orders") == before + 1, "the handler runs")
    answer = eventually(
        lambda: next((a for a in [served.request("POST", "/orders", word, b"slow")] if a.status == 201), None),
        "the result is there",
    )
    assert (answer.headers["idempotency-replayed"], ran(served, "orders")) == ("true", before + 1)


def test_i11_an_answer_too_long_to_keep_is_given_once_and_never_run_twice(served, post):
    """The duplicate is told so."""
    before = ran(served, "big")
    assert len(post("/big").body) == 1_100_000
    again = post("/big")
    assert (again.status, "not kept" in again.json()["detail"]) == (409, True)
    assert ran(served, "big") == before + 1


def test_i12_a_store_that_is_away_is_503_and_counted(served, post, database, eventually):
    """Nobody knows whether it was done; the work does not run."""
    before, errors = ran(served, "orders"), served.metric("idempotency_store_errors_total")
    database.away()
    try:
        answer = post("/orders")
        assert (answer.status, answer.json()["status"]) == (503, 503)
        assert answer.headers["retry-after"]
    finally:
        database.back()
    assert ran(served, "orders") == before
    assert served.metric("idempotency_store_errors_total") > errors
    eventually(lambda: post("/orders").status == 201, "the store is back")
    eventually(lambda: served.status("/health/ready") == 200, "the service is ready again")


def test_i13_after_its_time_a_key_is_new(served, post, eventually):
    """Three seconds, here."""
    before = ran(served, "forgotten")
    assert [post("/forgotten").status for _ in range(2)] == [201, 201]
    assert ran(served, "forgotten") == before + 1
    eventually(lambda: post("/forgotten").json()["run"] == before + 2, "the key is new")


def test_i14_put_ignores_the_key(served):
    """It is idempotent by itself."""
    word, before = key(uuid.uuid4().hex), ran(served, "put")
    assert [served.request("PUT", "/orders", word, b"a").status for _ in range(2)] == [201, 201]
    assert ran(served, "put") == before + 2


def test_i17_without_a_key_the_same_json_is_the_same_request(served):
    """Whatever its spacing and the order of its members."""
    mark = uuid.uuid4().hex.encode()
    bodies = [b'{"a": 1, "id": "%b"}' % mark, b'{"id":"%b","a":1}' % mark, b'{"a": 2, "id": "%b"}' % mark]
    assert [served.request("POST", "/derived", JSON, body).status for body in bodies] == [201, 204, 201]


def test_i19_a_body_too_large_never_reaches_the_store(served, post):
    """Refused by its head."""
    before = served.metric("idempotency_lookups_total")
    answer = served.request("POST", "/orders", key("large") + "content-length: 99999999\r\n")
    assert answer.status == 413
    assert served.metric("idempotency_lookups_total") == before


def test_i20_a_record_rolls_back_with_the_transaction(served, post):
    """What failed is done again, what was committed never is."""
    before = served.get("/bookings").json()
    assert post("/bookings?fail=1").status == 500
    assert served.get("/bookings").json() == before
    assert [post("/bookings?fail=1").status for _ in range(2)] == [201, 201]
    assert served.get("/bookings").json() == before + 1


def test_i21_what_is_not_let_in_leaves_no_record(served, post, api_key):
    """401, 403 and 429 come first."""
    before = served.metric("idempotency_lookups_total")
    assert post("/guarded").status == 401
    assert post("/guarded", b"a", api_key("reader")).status == 403
    assert served.metric("idempotency_lookups_total") == before
    statuses = [post("/guarded", b"a", key(uuid.uuid4().hex) + api_key("writer")).status for _ in range(3)]
    assert statuses == [201, 201, 429]
    assert served.metric("idempotency_lookups_total") == before + 2
