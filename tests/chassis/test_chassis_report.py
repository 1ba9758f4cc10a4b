"""What the chassis says about itself."""

from __future__ import annotations

import json

from fastapi import FastAPI

from golive import Chassis
from golive.chassis import ChassisSettings
from golive.chassis.core import ORDER
from golive.chassis.report import rules_of

SECRET = "a-secret-of-at-least-thirty-two-bytes"


def test_everything_that_is_on_is_in_the_report_and_no_secret():
    """Plain data; what a support ticket needs and nothing it must not have."""
    chassis = Chassis(
        ChassisSettings(
            service="shop",
            version="v7",
            platform="kubernetes",
            rate_limit="5/minute",
            require_auth=True,
            jwt_secret=SECRET,
            redis_url="redis://:hunter2@cache",
            database_url="postgresql://app:hunter2@db/shop",
            idempotency_store="postgres",
            cors_origins=("https://shop.example",),
            sentry_dsn="https://key@errors.example/1",
        )
    )
    chassis.breaker("payments")
    chassis.pool()
    chassis.view("daily", every="5m")
    said = chassis.report()
    text = json.dumps(said)
    assert not [secret for secret in (SECRET, "hunter2", "key@") if secret in text]
    assert said["order"] == list(ORDER)
    assert (said["service"], said["version"], said["phase"]) == ("shop", "v7", "starting")
    assert said["shutdown"] == {
        "platform": "kubernetes", "lame_duck_seconds": 3.0, "grace_seconds": 25.0, "platform_seconds": 30.0,
    }  # fmt: skip
    assert said["rate_limit"] == {"everywhere": "5/minute", "shared": True, "on_store_error": "local"}
    assert said["authentication"] == {"required": True, "shared_secret": True, "public_keys": None, "api_keys": 0}
    assert said["idempotency"] == {"store": "postgres"}
    assert (said["breakers"], said["views"], said["checks"]) == (
        {"payments": "closed"},
        {"daily": 300.0},
        {"redis": "unknown", "db": "unknown"},
    )
    assert said["errors"] == {"file": False, "sentry": True}
    assert said["warnings"] == []


def test_what_is_allowed_and_probably_not_meant_is_named_with_its_setting():
    """In production more than on a laptop; each warning can be acted on."""
    several = Chassis(ChassisSettings(rate_limit="5/minute", rate_limit_processes=4)).report()["warnings"]
    assert [warning.partition(":")[0] for warning in several] == ["rate_limit", "idempotency_store"]
    live = Chassis(ChassisSettings(environment="production", redis_url="redis://localhost:6379")).report()["warnings"]
    assert [warning.partition(":")[0] for warning in live] == [
        "require_auth", "redis_url", "sentry_dsn, error_file", "platform",
    ]  # fmt: skip
    assert Chassis().report()["warnings"] == []


async def test_in_production_the_warnings_are_one_line_when_serving_begins(keep_log):
    """So that they are read without being asked for; elsewhere nothing is said."""
    for environment, expected in (("production", 1), ("development", 0)):
        chassis = Chassis(ChassisSettings(environment=environment))
        lines = keep_log(chassis)
        chassis.begin_serving()
        chassis.stop_background()
        assert len([line for line in lines if line["event"] == "report"]) == expected


def test_the_rules_of_the_routes_can_be_listed():
    """By method and template, as they are enforced."""
    chassis, app = Chassis(ChassisSettings(jwt_secret=SECRET)), FastAPI()

    @app.post("/orders/{number}")
    @chassis.requires("write")
    @chassis.limit("5/minute")
    @chassis.idempotent(on_duplicate="204")
    async def orders(number: int):
        return number

    assert rules_of(app) == {
        "POST /orders/{number}": {"limits": ["5/60s"], "idempotent": "204", "scopes": ["write"], "public": False}
    }
