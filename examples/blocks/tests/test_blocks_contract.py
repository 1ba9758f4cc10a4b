"""The HTTP contract: what the waiting and the polling caller are promised, and what wrong requests are answered."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from blocks.snapshots import SMOKE

pytestmark = pytest.mark.process

GOLDEN = Path(__file__).parent / "golden_blocks.json"
TERMINAL = {"succeeded", "failed"}
ORDER = ("pending", "running", "succeeded")


def _ask(client: httpx.Client, body: Any, path: str = "/api/blocks", snapshot: str | None = SMOKE.id) -> httpx.Response:
    headers = {} if snapshot is None else {"x-snapshot-id": snapshot}
    return client.post(path, json=body, headers=headers)


def _wait_for(client: httpx.Client, job: str, seen: list[str] | None = None) -> dict[str, Any]:
    """Polls until *job* has ended; collects the states on the way in *seen*."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = client.get(f"/api/blocks/jobs/{job}").raise_for_status().json()
        if seen is not None:
            seen.append(answer["status"])
        if answer["status"] in TERMINAL:
            return dict(answer)
        time.sleep(0.01)
    raise AssertionError(f"job {job} did not end")


def _is_problem(response: httpx.Response, status: int) -> bool:
    kind = response.headers["content-type"].partition(";")[0]
    return response.status_code == status == response.json()["status"] and kind == "application/problem+json"


def test_the_waiting_contract_is_unchanged(service: httpx.Client) -> None:
    """A recorded request gets its recorded answer: existing clients see what they always saw."""
    response = _ask(service, {"userId": "prod-test"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == json.loads(GOLDEN.read_text())


def test_both_contracts_give_the_same_answer(service: httpx.Client) -> None:
    """One handler: the job's result is the waiting caller's body, for the stored and for a given place and time."""
    here = {"position": {"latitude": 41.1855, "longitude": -70.918}, "localTime": "2025-11-08T02:30"}
    for body in ({"userId": "prod-test"}, {"userId": "driver-1", **here}):
        waited = _ask(service, body).json()
        accepted = _ask(service, body, "/api/blocks/async").json()
        assert _wait_for(service, accepted["jobId"])["result"] == waited


def test_a_job_goes_from_pending_over_running_to_succeeded_and_never_back(service: httpx.Client) -> None:
    """202 with the address to poll; every poll is at the same or a later state."""
    accepted = _ask(service, {"userId": "prod-test"}, "/api/blocks/async")
    assert accepted.status_code == 202
    assert accepted.headers["location"] == f"/api/blocks/jobs/{accepted.json()['jobId']}"
    assert int(accepted.headers["retry-after"]) >= 1
    seen: list[str] = []
    job = _wait_for(service, accepted.json()["jobId"], seen)
    ranks = [ORDER.index(state) for state in seen]
    assert ranks == sorted(ranks)
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert job["attempts"] == 1


def test_an_error_has_the_same_code_for_both_callers(service: httpx.Client) -> None:
    """``BlocksProcessorError`` carries it: the status for who waits, the failed job for who polls."""
    paris = {"userId": "lost", "position": {"latitude": 48.86, "longitude": 2.35}, "localTime": "2025-11-08T02:30"}
    for body, snapshot, code, status in (
        (paris, SMOKE.id, "out_of_reach", 422),
        ({"userId": "late"}, "11111111-2222-4333-8444-555555555555", "snapshot_not_found", 404),
    ):
        waited = _ask(service, body, snapshot=snapshot)
        assert _is_problem(waited, status)
        assert waited.json()["code"] == code
        job = _wait_for(service, _ask(service, body, "/api/blocks/async", snapshot).json()["jobId"])
        assert (job["status"], job["error"]["code"], job["error"]["status"]) == ("failed", code, status)
        assert job["attempts"] == 1


@pytest.mark.parametrize("path", ["/api/blocks", "/api/blocks/async"])
def test_without_a_snapshot_id_there_are_no_blocks(service: httpx.Client, path: str) -> None:
    """The header is required, by both contracts, with a problem document that names it."""
    response = _ask(service, {"userId": "prod-test"}, path, snapshot=None)
    assert _is_problem(response, 400)
    assert "x-snapshot-id" in response.json()["detail"]


@pytest.mark.parametrize("snapshot", ["", "x" * 129])
def test_a_snapshot_id_that_cannot_be_one_is_refused(service: httpx.Client, snapshot: str) -> None:
    """Empty or endless: a 400 before any store is asked."""
    assert _is_problem(_ask(service, {"userId": "prod-test"}, snapshot=snapshot), 400)


@pytest.mark.parametrize("path", ["/api/blocks", "/api/blocks/async"])
@pytest.mark.parametrize(
    "body",
    [
        "", "{", "[]", "null", '"x"', "{}", '{"userId": ""}', '{"userId": 7}',
        '{"userId": "u", "position": {"latitude": 91, "longitude": 0}}',
        '{"userId": "u", "position": {"latitude": NaN, "longitude": 0}}',
        '{"userId": "u", "position": {"latitude": 41.2}}',
        '{"userId": "u", "localTime": "2025-11-08T02:30Z"}',
        '{"userId": "u", "localTime": 1762569000}',
        '{"userId": "u", "localTime": "soon"}',
        '{"userId": "u", "localTime": "9999-12-31T23:59"}',
    ],
)  # fmt: skip
def test_a_wrong_body_is_a_400_and_never_a_500(service: httpx.Client, path: str, body: str) -> None:
    """Nothing is stored of it, and the answer is a problem document."""
    headers = {"x-snapshot-id": SMOKE.id, "content-type": "application/json"}
    assert _is_problem(service.post(path, content=body, headers=headers), 400)


def test_a_given_place_or_time_overrides_the_stored_one(service: httpx.Client) -> None:
    """Each alone: what the request lacks comes from the snapshot."""
    at_night = _ask(service, {"userId": "u", "localTime": "2025-11-08T02:30"}).json()
    at_airport = _ask(service, {"userId": "u", "position": {"latitude": 41.2416, "longitude": -70.857}}).json()
    assert at_night["localTime"] == "2025-11-08T02:30:00"
    assert at_night["blocks"][0]["block"] == "lantern-row"
    assert at_airport["localTime"] == "2025-10-31T17:30:00"
    assert at_airport["blocks"][0]["block"] == "larkin-airport"


def test_a_snapshot_taken_is_a_snapshot_to_ask_with(service: httpx.Client) -> None:
    """``POST /api/snapshots`` answers the id for the header; snake_case from older phones is understood."""
    taken = service.post(
        "/api/snapshots",
        json={"device_id": "phone-1", "latitude": 41.1946, "longitude": -70.999, "local_time": "2025-11-06T20:40"},
    )
    assert taken.status_code == 201
    blocks = _ask(service, {"userId": "u"}, snapshot=taken.json()["snapshotId"]).json()
    assert blocks["localTime"] == "2025-11-06T20:40:00"
    assert blocks["blocks"][0]["block"] == "garden-mall"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"deviceId": None}, "deviceId"),
        ({"deviceId": ""}, "deviceId"),
        ({"latitude": "north"}, "latitude"),
        ({"longitude": 181}, "longitude"),
        ({"localTime": "2025-11-06T20:40+01:00"}, "localTime"),
    ],
)
def test_a_snapshot_needs_its_device_and_a_place_and_a_time(
    service: httpx.Client, change: dict[str, Any], place: str
) -> None:
    """Seed row 000-057: what the table would refuse is a 400 that names the field, not a 500."""
    whole = {"deviceId": "phone-1", "latitude": 41.2, "longitude": -70.95, "localTime": "2025-11-06T20:40"}
    body = {name: value for name, value in {**whole, **change}.items() if value is not None}
    response = service.post("/api/snapshots", json=body)
    assert _is_problem(response, 400)
    assert response.json()["detail"].startswith(f"{place}: ")


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", "nonsense", '{"venue": "Blue Lantern"}', '{"venue": "", "localTime": 1}']
)
def test_reasoning_requires_a_body(service: httpx.Client, body: str) -> None:
    """400, not FastAPI's 422, and not 404: gate E of the seed."""
    response = service.post("/api/closed-venue-reasoning", content=body, headers={"content-type": "application/json"})
    assert _is_problem(response, 400)


def test_reasoning_explains_in_words(service: httpx.Client) -> None:
    """The reason for people, its one-word form for programs, and the next opening."""
    question = {"venue": "blue lantern", "localTime": "2025-11-03T20:00"}
    answer = service.post("/api/closed-venue-reasoning", json=question)
    assert answer.status_code == 200
    assert answer.json() == {
        "venue": "v016",
        "name": "Blue Lantern",
        "isOpen": False,
        "state": "closed_all_day",
        "reason": "Blue Lantern (Lantern Row) is closed at 20:00 on Monday because it does not open on Mondays; "
        "it opens next at 22:00 on Thursday, in 3 d 2 h.",
        "opensNext": "2025-11-06T22:00:00",
        "opensInMinutes": 4440,
    }
    assert _is_problem(service.post("/api/closed-venue-reasoning", json={**question, "venue": "Atlantis"}), 404)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_legacy_address_redirects_with_method_body_and_query(service: httpx.Client, method: str) -> None:
    """307 keeps the method; the target is relative and carries the query as it came."""
    response = service.request(method, "/closed-venue-reasoning?x=1&y=%20a")
    assert response.status_code == 307
    assert response.headers["location"] == "/api/closed-venue-reasoning?x=1&y=%20a"


def test_a_client_that_follows_the_redirect_gets_its_answer(service: httpx.Client) -> None:
    """Old clients go on working."""
    question = {"venue": "v016", "localTime": "2025-11-03T20:00"}
    followed = service.post("/closed-venue-reasoning", json=question, follow_redirects=True)
    assert followed.json()["state"] == "closed_all_day"


@pytest.mark.parametrize(
    "target",
    [
        "/closed-venue-reasoning?next=//evil.example",
        "/closed-venue-reasoning?//evil.example",
        "/closed-venue-reasoning?%0d%0alocation:%20//evil.example",
        "//evil.example/closed-venue-reasoning",
        "/closed-venue-reasoning//evil.example",
        "/closed-venue-reasoning/..//evil.example",
    ],
)
def test_nobody_can_bend_the_redirect_to_another_host(service: httpx.Client, target: str) -> None:
    """Either it is not redirected, or the target has no host of its own and our path."""
    host, port = service.base_url.host, service.base_url.port
    request = service.build_request("POST", f"http://{host}:{port}/")
    request.url = request.url.copy_with(raw_path=target.encode())
    response = service.send(request)
    if response.status_code == 404:
        return
    location = urlsplit(response.headers["location"])
    assert response.status_code == 307
    assert (location.scheme, location.netloc, location.path) == ("", "", "/api/closed-venue-reasoning")
