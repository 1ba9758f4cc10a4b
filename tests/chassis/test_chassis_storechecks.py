"""The health of what the settings name: checks nobody had to write, checks that hold the start, the usual paths."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from golive import Chassis
from golive.chassis import ChassisSettings

NOBODY = "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    ("settings", "ready"),
    [
        ({"rate_limit": "5/minute"}, 200),
        ({"rate_limit": "5/minute", "rate_limit_on_store_error": "closed"}, 503),
        ({"idempotency_store": "redis"}, 503),
    ],
)
async def test_a_server_that_is_away_takes_the_instance_out_only_where_nothing_works_without_it(
    call, wait_until, settings, ready
):
    """``local`` goes on by itself and says ``warn``; ``closed`` and idempotency keys cannot."""
    chassis = Chassis(ChassisSettings(redis_url=NOBODY, **settings))
    [check] = chassis.checks
    check.every = 0.01
    app = chassis.wrap(FastAPI())
    await call(app, path="/livez")
    await wait_until(lambda: check.status, "fail")
    answer = await call(app, path="/health/ready")
    assert answer.status == ready
    assert answer.json()["checks"]["redis"][0]["status"] == ("warn" if ready == 200 else "fail")
    assert b"127.0.0.1" not in answer.body
    chassis.stop_background()


async def test_a_server_that_answers_makes_ready_and_every_server_has_a_check(call, wait_until, valkey):
    """One check for each server, not for each setting."""
    chassis = Chassis(ChassisSettings(redis_url=valkey.url, rate_limit_redis_url=NOBODY, idempotency_store="redis"))
    assert {check.name: check.needed for check in chassis.checks} == {"redis": True, "redis-rate-limit": False}
    for check in chassis.checks:
        check.every = 0.01
    app = chassis.wrap(FastAPI())
    await call(app, path="/livez")

    async def ready() -> int:
        return (await call(app, path="/health/ready")).status

    await wait_until(ready, 200)
    chassis.stop_background()


async def test_a_server_that_may_drop_keys_is_a_warning_once(call, wait_until, valkey, link, keep_log):
    """A dropped key is work that runs again; who uses the server for limits only is not told."""
    await link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        chassis = Chassis(ChassisSettings(redis_url=valkey.url, idempotency_store="redis"))
        lines = keep_log(chassis)
        [check] = chassis.checks
        check.every = 0.01
        await call(chassis.wrap(FastAPI()), path="/livez")
        await wait_until(lambda: chassis.report()["warnings"] != [], True)
        assert await check.run_once() is False
        [warning] = chassis.report()["warnings"]
        assert warning.startswith("idempotency_store: the server drops keys")
        assert [line["message"] for line in lines if line["event"] == "idempotency_store"] == [warning]
        chassis.stop_background()
    finally:
        await link.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    kept = Chassis(ChassisSettings(redis_url=valkey.url, idempotency_store="redis"))
    [check] = kept.checks
    await wait_until(check.run_once, True)
    assert kept.report()["warnings"] == []
    kept.stop_background()


async def test_a_check_of_the_start_holds_startup_and_the_app_until_its_first_pass(call, wait_until):
    """And never again: startup is a latch, readiness follows the check."""
    chassis, passes = Chassis(), False
    chassis.check("migrations", every=0.01, fail=1, startup=True)(lambda: passes)
    app = chassis.wrap(FastAPI())

    async def statuses() -> list[int]:
        return [(await call(app, path=path)).status for path in ("/livez", "/startupz", "/health/ready", "/x")]

    assert await statuses() == [200, 503, 503, 503]
    assert (await call(app, path="/startupz")).json() == {"status": "fail", "phase": "checks"}
    passes = True
    await wait_until(statuses, [200, 200, 200, 404])
    passes = False
    await wait_until(statuses, [200, 200, 503, 404])
    chassis.stop_background()


def test_golive_serve_holds_the_start_too(start, eventually, tmp_path):
    """A real process: probes answer, nothing is served until the check has passed."""
    service = start(
        """
        import os
        from fastapi import FastAPI
        from golive import Chassis
        app, chassis = FastAPI(), Chassis()
        @chassis.check("file", every=0.05, startup=True)
        def file():
            return os.path.exists("migrated")
        @app.get("/x")
        async def x(): return "served"
        app = chassis.wrap(app)
        """
    )
    eventually(lambda: service.status("/startupz") == 503, "probes answer")
    eventually(lambda: service.get("/startupz").json().get("phase") == "checks", "the start waits for its check")
    assert service.status("/x") == 503
    (tmp_path / "migrated").touch()
    eventually(lambda: service.status("/startupz") == 200, "the start is over")
    assert service.get("/x").json() == "served"
    service.terminate()
    assert service.wait() == 0


def test_sigterm_while_a_check_holds_the_start_ends_the_process_cleanly(start, eventually):
    """Nobody was served, so nobody is waited for: neither lame duck nor grace; the app's clean-up runs."""
    service = start(
        """
        from contextlib import asynccontextmanager
        from pathlib import Path
        from golive import Chassis
        from starlette.applications import Starlette
        @asynccontextmanager
        async def life(app):
            yield
            Path("cleaned").touch()
        chassis = Chassis.from_env()
        @chassis.check("never", every=0.05, startup=True)
        def never():
            return False
        app = chassis.wrap(Starlette(lifespan=life))
        """,
        GOLIVE_CHASSIS_LAME_DUCK="20s",
        GOLIVE_CHASSIS_GRACE="60s",
    )
    eventually(lambda: service.status("/startupz") == 503, "probes answer")
    eventually(lambda: service.get("/startupz").json().get("phase") == "checks", "the start waits for its check")
    service.terminate()
    assert service.wait(15) == 0
    assert (service.stdout_path.parent / "cleaned").exists()
    [ended] = service.log("shutdown")
    assert ended["path"] == "closed"
    assert service.log("serving") == []


async def test_the_usual_paths_answer_and_give_way_to_the_app(call, wait_until):
    """The five documents' health paths, without a line of configuration and without a detail."""
    chassis = Chassis(ChassisSettings(version="v7", database_url="postgresql://app:hunter2@db.internal/shop"))
    app = chassis.wrap(FastAPI())
    status = (await call(app, path="/api/status")).json()
    assert (status.pop("uptime_seconds") >= 0, status) == (True, {"ok": True, "mode": "serving", "version": "v7"})
    assert (await call(app, path="/health")).json()["status"] == "pass"
    assert (await call(app, path="/api/db/info")).status == 404
    works = True
    chassis.check("db", every=0.01, fail=1)(lambda: works)

    async def info() -> tuple[int, object]:
        answer = await call(app, path="/api/db/info")
        return answer.status, answer.json()

    await wait_until(info, (200, {"ok": True, "pools": {"db": "pass"}}))
    works = False
    await wait_until(info, (503, {"ok": False, "pools": {"db": "fail"}}))
    chassis.stop_background()
    own = FastAPI()
    for path in ("/health", "/api/status", "/api/db/info"):
        own.get(path)(lambda: "the app's")
    taken = Chassis().wrap(own)
    assert [(await call(taken, path=path)).json() for path in ("/health", "/api/status", "/api/db/info")] == [
        "the app's"
    ] * 3
