"""The health model (cases H2 to H4, H7 to H10)."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from fastapi import FastAPI

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.health import Check


async def echo(scope, receive, send):
    """An app that answers everything."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the app"})


def check_of(fail: int = 3, ok: int = 1) -> Check:
    return Check("db", lambda: None, timeout=1, every=1, fail=fail, ok=ok)


def test_h4_a_check_that_flaps_stays_passed_until_it_fails_n_times_in_a_row():
    """One in three failing does not take an instance out; three in a row do, and one pass brings it back."""
    check = check_of(fail=3, ok=1)
    assert check.status == "unknown"
    changes = [check.observe(passed) for passed in (True, False, True, False, False, True)]
    assert (check.status, changes) == ("pass", [True, False, False, False, False, False])
    assert [check.observe(False) for _ in range(3)] == [False, False, True]
    assert check.status == "fail"
    assert check.observe(True)
    assert check.status == "pass"


def test_a_check_that_wants_two_passes_is_not_satisfied_by_one():
    """``ok`` counts passes in a row."""
    check = check_of(ok=2)
    assert [check.observe(passed) for passed in (True, False, True, True)] == [False, False, False, True]


async def test_h2_startup_is_a_latch_and_readiness_follows_the_check(call, wait_until):
    """The database dies after the start: ready says so within interval x failures, startup and liveness do not care."""
    chassis = Chassis()
    app = chassis.wrap(echo)
    healthy = True

    @chassis.check("db", every=0.02, fail=2)
    async def db():
        if not healthy:
            raise OSError("password=hunter2")

    async def ready() -> int:
        return (await call(app, path="/health/ready")).status

    await wait_until(ready, 200)
    healthy = False
    await wait_until(ready, 503)
    answer = await call(app, path="/health/ready")
    assert answer.json()["checks"]["db"][0]["status"] == "fail"
    assert b"hunter2" not in answer.body
    assert [(await call(app, path=path)).status for path in ("/startupz", "/livez")] == [200, 200]
    chassis.stop_background()


@pytest.mark.timed
async def test_h3_a_check_that_hangs_costs_one_task_and_no_probe_waits_for_it(call, wait_until):
    """A thousand probes of a hung, uncancellable check: answered at once, one pending run, no task growth."""
    chassis = Chassis()
    app = chassis.wrap(echo)
    running = 0

    @chassis.check("db", timeout=0.05, every=0.01, fail=1)
    async def db():
        nonlocal running
        running += 1
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if finish.is_set():
                    raise

    finish = asyncio.Event()
    await call(app, path="/livez")
    await wait_until(lambda: [check.status for check in chassis.checks], ["fail"])
    tasks = len(asyncio.all_tasks())
    began = time.perf_counter()
    answers = [await call(app, path="/health/ready") for _ in range(1000)]
    assert time.perf_counter() - began < 5
    assert {answer.status for answer in answers} == {503}
    assert len(asyncio.all_tasks()) <= tasks + 1
    assert running == 1
    finish.set()
    chassis.stop_background()


@pytest.mark.timed
async def test_h3_a_blocking_check_runs_in_a_thread_and_times_out():
    """A plain function cannot hold the loop."""
    check = Check("disk", lambda: time.sleep(0.3), timeout=0.05, every=1, fail=1, ok=1)
    began = time.perf_counter()
    await check.run_once()
    assert time.perf_counter() - began < 0.25
    assert (check.status, check.output) == ("fail", "no answer within 0.05 s")


async def test_a_check_that_returns_false_fails():
    """The other way to say no."""
    check = Check("flag", lambda: False, timeout=1, every=1, fail=1, ok=1)
    await check.run_once()
    assert check.status == "fail"


@pytest.mark.parametrize("path", ["/livez", "/startupz", "/health/ready", "/metrics", "/healthz"])
async def test_h7_get_and_head_are_equal_and_nothing_else_is_allowed(call, path):
    """Probes are never cached; POST is 405 with Allow as a problem document."""
    app = Chassis(ChassisSettings(aliases={"/healthz": "ok"})).wrap(router_app())
    get, head, post = [await call(app, method, path) for method in ("GET", "HEAD", "POST")]
    assert (get.status, head.status) == (200, 200)
    assert {"content-type", "cache-control", "content-length"} <= get.headers.keys()
    assert get.headers["cache-control"] == head.headers["cache-control"] == "no-store"
    assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")
    assert post.headers["content-type"] == "application/problem+json"
    assert post.json()["status"] == 405


def router_app():
    from fastapi import FastAPI

    return FastAPI()


async def test_h9_the_aliases_answer_ok_unless_the_app_has_a_route_there(call):
    """``/`` and ``/healthz`` are ours until the app wants them."""
    free = Chassis().wrap(router_app())
    assert (await call(free, path="/")).json() == {"ok": True, "mode": "serving"}
    assert (await call(free, path="/healthz")).json() == {"ok": True, "mode": "serving"}
    own = router_app()

    @own.get("/")
    async def home():
        return "the app's"

    taken = Chassis().wrap(own)
    assert (await call(taken, path="/")).json() == "the app's"
    assert (await call(taken, path="/healthz")).json() == {"ok": True, "mode": "serving"}
    assert (await call(Chassis().wrap(echo), path="/")).body == b"the app"


async def test_aliases_of_other_documents_are_a_setting(call):
    """``/health`` as readiness, ``/api/status`` as a sign of life, and a default taken away."""
    settings = ChassisSettings.from_env({"GOLIVE_CHASSIS_ALIASES": "/health=ready,/api/status=ok,/healthz="})
    app = Chassis(settings).wrap(router_app())
    assert (await call(app, path="/health")).json()["status"] == "pass"
    assert (await call(app, path="/api/status")).json()["ok"] is True
    assert (await call(app, path="/healthz")).status == 404


async def test_h10_check_names_with_quotes_and_newlines_stay_valid_json(call):
    """Names are data, also in metrics."""
    chassis = Chassis()
    name = 'a "quoted"\nname\\'
    chassis.check(name)(lambda: None)
    app = chassis.wrap(echo)
    assert list(json.loads((await call(app, path="/health/ready")).body)["checks"]) == [name]
    chassis.stop_background()


async def test_probes_work_under_a_root_path(call):
    """A server that strips nothing (``root_path`` in front of the path) is understood."""
    app = Chassis().wrap(echo)
    assert (await call(app, path="/prefix/livez", root_path="/prefix")).json() == {"status": "pass"}
    assert (await call(app, path="/livezzz")).body == b"the app"


async def test_what_a_check_counts_is_in_the_status_for_people(call, wait_until):
    """The summary of a queue, say: plain numbers and short texts, few of them, and nothing else of what it returns."""
    chassis = Chassis(ChassisSettings(version="v7"))
    app = chassis.wrap(FastAPI())

    @chassis.check("queue", needed=False)
    async def queue():
        return {"waiting": 3, "oldest": "2s", "job": object(), "long": "x" * 100, **{f"n{n}": n for n in range(100)}}

    chassis.begin_serving()

    async def waiting():
        return (await call(app, path="/api/status")).json().get("checks", {}).get("queue", {}).get("waiting")

    await wait_until(waiting, 3)
    told = (await call(app, path="/api/status")).json()
    assert (told["ok"], told["version"], "uptime_seconds" in told) == (True, "v7", True)
    shown = told["checks"]["queue"]
    assert (shown["oldest"], "job" in shown, len(shown["long"]), len(shown)) == ("2s", False, 64, 32)
    chassis.stop_background()


def test_a_check_with_impossible_numbers_names_them_all():
    """Faults are reported together."""
    with pytest.raises(ConfigError) as caught:
        Chassis().check("db", timeout=0, every=-1, fail=0, ok=0)
    assert len(caught.value.faults) == 4


@pytest.mark.timed
async def test_a_stalled_event_loop_is_named_with_its_stack_and_shows_in_livez(call, wait_until, keep_log):
    """Whoever blocks the loop is in the log by name, and liveness fails for as long again as the limit."""
    from datetime import timedelta

    chassis = Chassis(ChassisSettings(loop_stall_max=timedelta(seconds=0.4)))
    lines = keep_log(chassis)
    app = chassis.wrap(echo)
    assert (await call(app, path="/livez")).status == 200
    await asyncio.sleep(0.3)  # one heartbeat, so that the stall has something to be late for

    def the_culprit():
        time.sleep(1.2)

    the_culprit()
    await wait_until(lambda: chassis.watchdog.stalled_seconds(time.monotonic()) > 0, True)
    assert (await call(app, path="/livez")).status == 503
    [line] = [line for line in lines if line["event"] == "event_loop_blocked"]
    assert "the_culprit" in line["stack"]
    assert chassis.watchdog.stalls == 1
    await wait_until(lambda: chassis.watchdog.stalled_seconds(time.monotonic()), 0.0)
    assert (await call(app, path="/livez")).status == 200
    chassis.stop_background()
