"""Cases H: what probes say of a running service. H1, H5, H6, H11 and H12 are in test_chassis_boot.py."""

from __future__ import annotations

import json
import textwrap
import time

import pytest

pytestmark = pytest.mark.process

PROBES = ("/livez", "/startupz", "/health/ready")


@pytest.fixture
def odd(served, eventually):
    """Set what the service's odd check does; it passes again afterwards."""
    yield lambda word: served.request("POST", f"/check/{word}")
    served.request("POST", "/check/pass")
    eventually(lambda: served.status("/health/ready") == 200, "the service is ready again")


def test_h2_the_start_is_a_latch_and_readiness_follows_the_database(served, database, eventually):
    """A restart mends no database: it is not asked for."""
    eventually(lambda: served.status("/health/ready") == 200, "the service is ready")
    database.away()
    try:
        eventually(lambda: served.status("/health/ready") == 503, "readiness sees that the database is away")
        assert [served.status(path) for path in PROBES] == [200, 200, 503]
        assert served.get("/health/ready").json()["checks"]["db"][0]["status"] == "fail"
    finally:
        database.back()
    eventually(lambda: served.status("/health/ready") == 200, "readiness sees that the database is back")


def test_h3_a_check_that_hangs_is_one_run_whatever_the_number_of_probes(served, odd, eventually):
    """Probes are answered from memory; tasks do not grow."""

    def tasks():
        return served.get("/plain").json()["tasks"]

    before = tasks()
    odd("hang")
    eventually(lambda: served.status("/health/ready") == 503, "readiness sees that the check hangs")
    statuses = {served.status("/health/ready") for _ in range(200)}
    assert statuses == {503}
    eventually(lambda: tasks() <= before + 2, "only the check that hangs remains")  # others run at times, and end


def test_h4_a_check_that_fails_once_in_three_leaves_the_instance_ready(served, odd, eventually):
    """It must fail three times in a row."""
    eventually(lambda: served.status("/health/ready") == 200, "the service is ready")
    begun = odd("flap").json()["runs"]
    seen = set()
    while odd("flap").json()["runs"] < begun + 12:
        seen.add(served.status("/health/ready"))
        time.sleep(0.02)
    assert seen == {200}


def test_h7_get_and_head_are_equal_and_nothing_else_is_allowed(served):
    """Not cached; anything but a question is a problem with Allow."""
    for path in PROBES:
        got, head = served.get(path), served.request("HEAD", path)
        assert (head.status, head.headers["content-type"], head.body) == (got.status, got.headers["content-type"], b"")
        assert got.headers["cache-control"] == "no-store"
        posted = served.request("POST", path)
        assert (posted.status, posted.json()["status"], posted.headers["allow"]) == (405, 405, "GET, HEAD")
        assert posted.headers["x-request-id"] == posted.json()["request_id"]


def test_h8_probes_need_no_credentials_are_never_limited_and_tell_no_detail(served, locked, odd, eventually):
    """Of a service that wants credentials and allows three requests an hour; errors of checks stay inside."""
    assert locked.status("/x") in (401, 429)
    assert {locked.status(path) for path in PROBES * 20} == {200}
    odd("fail")
    eventually(lambda: served.status("/health/ready") == 503, "readiness sees the failure")
    told = served.get("/health/ready")
    assert b"hunter2" not in told.body
    assert b"OSError" not in told.body


def test_h9_the_usual_paths_say_ok_unless_the_app_has_them(served, locked):
    """A raw app has every path; this one wants credentials."""
    for path in ("/", "/healthz"):
        assert served.get(path).json() == {"ok": True, "mode": "serving"}
        assert locked.status(path) in (401, 429)
    assert served.get("/api/status").json()["version"] == "v42"
    assert served.get("/api/db/info").json()["details"]["db"]["engine"] == "postgresql"


def test_h10_names_with_quotes_and_newlines_stay_valid_json(served):
    """On the wire and in the metrics."""
    assert 'odd "name"\n' in json.loads(served.get("/health/ready").body)["checks"]
    assert 'health_check_status{check="odd \\"name\\"\\n"}' in served.get("/metrics").body.decode()


@pytest.mark.timed
def test_h13_an_import_that_computes_holds_up_no_probe(start, eventually):
    """Python code that never waits keeps the interpreter busy; probes get their turn all the same."""
    computing = "import time\nend = time.monotonic() + 1.2\nwhile time.monotonic() < end: sum(range(1000))\n"
    service = start(computing + textwrap.dedent("async def app(scope, receive, send): ..."))
    eventually(lambda: service.status("/livez") == 200, "the first probe")
    waits = []
    while True:
        began = time.monotonic()
        if service.get("/startupz").json().get("phase") != "import":
            break
        waits.append(time.monotonic() - began)
    assert len(waits) >= 10, "an import of more than a second has room for many probes"
    assert max(waits) < 1.0, waits
