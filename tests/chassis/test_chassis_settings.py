"""Settings and the environment: every fault at once, each under the name the operator wrote."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.environment import ALIASES, READERS
from golive.chassis.platforms import PLATFORMS


def test_the_environment_is_read_under_its_own_names_and_its_aliases():
    """Own names take durations with units; an alias with the unit in its name takes a number."""
    settings = ChassisSettings.from_env(
        {
            "GOLIVE_SERVICE": "orders",
            "GOLIVE_VERSION": "v42",
            "GOLIVE_CHASSIS_LAME_DUCK": "250ms",
            "SHUTDOWN_GRACE_SECONDS": "12.5",
            "GOLIVE_CHASSIS_DRAIN_ALLOW": "/status, /api/db/info",
            "GOLIVE_CHASSIS_ACCESS_LOG": "off",
            "GOLIVE_CHASSIS_LATENCY_EDGES_SECONDS": "0.1,1",
            "UNRELATED": "x",
            "GOLIVE_CHASSIS_GRACE": "",
        }
    )
    assert (settings.service, settings.version) == ("orders", "v42")
    assert (settings.lame_duck, settings.grace) == (timedelta(milliseconds=250), timedelta(seconds=12.5))
    assert settings.drain_allow == ("/status", "/api/db/info")
    assert settings.access_log is False
    assert settings.latency_edges_seconds == (0.1, 1.0)


def test_the_names_of_the_first_document_say_where_the_service_runs_and_when_it_listens():
    """Cloud Run's patience gives the shutdown its numbers; 0 says nothing, and anything else refuses the start."""
    settings = ChassisSettings.from_env({"CLOUD_RUN_AUTOSCALE": "1", "FAST_BOOT": "1"})
    assert (settings.platform, settings.grace, settings.fast_boot) == ("cloud-run", timedelta(seconds=7), True)
    other = {"CLOUD_RUN_AUTOSCALE": "0", "FAST_BOOT": "0", "GOLIVE_CHASSIS_PLATFORM": "ecs"}
    assert ChassisSettings.from_env(other).platform == "ecs"
    assert ChassisSettings.from_env(other).fast_boot is False
    with pytest.raises(ConfigError) as caught:
        ChassisSettings.from_env({"CLOUD_RUN_AUTOSCALE": "maybe", "FAST_BOOT": "2"})
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["CLOUD_RUN_AUTOSCALE", "FAST_BOOT"]
    with pytest.raises(ConfigError, match="CLOUD_RUN_AUTOSCALE: disagrees with GOLIVE_CHASSIS_PLATFORM"):
        ChassisSettings.from_env({"CLOUD_RUN_AUTOSCALE": "1", "GOLIVE_CHASSIS_PLATFORM": "ecs"})
    with pytest.raises(ConfigError, match=r"SHUTDOWN_GRACE_SECONDS: expected lame_duck \+ grace below the 10 s"):
        ChassisSettings.from_env({"CLOUD_RUN_AUTOSCALE": "1", "SHUTDOWN_GRACE_SECONDS": "25"})


def test_every_setting_and_every_other_name_for_one_is_in_the_table_of_the_page():
    """docs/chassis.md, with the alias in the row of its setting; durations there have their unit."""
    page = (Path(__file__).parents[2] / "docs" / "chassis.md").read_text()
    table = page[page.index("## Settings") :]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert [name for name in READERS if not any(f"`{name}`" in row.split("|")[1] for row in rows)] == []
    told = {alias: setting for alias, (setting, _) in ALIASES.items()}
    wrong = [alias for alias, name in told.items() if not any(f"`{alias}" in row and f"`{name}" in row for row in rows)]
    assert wrong == []


def test_the_spelling_of_golive_toml_overrides_is_read_too_and_must_agree():
    """``GOLIVE_CHASSIS__GRACE`` is how the other sections are overridden; two values for one setting are a fault."""
    assert ChassisSettings.from_env({"GOLIVE_CHASSIS__GRACE": "4s"}).grace == timedelta(seconds=4)
    with pytest.raises(ConfigError, match="GOLIVE_CHASSIS__GRACE: disagrees with GOLIVE_CHASSIS_GRACE"):
        ChassisSettings.from_env({"GOLIVE_CHASSIS__GRACE": "4s", "GOLIVE_CHASSIS_GRACE": "5s"})


def test_every_fault_is_reported_at_once_and_by_its_variable():
    """Spelling, syntax, range and contradiction in one message."""
    with pytest.raises(ConfigError) as caught:
        Chassis.from_env(
            {
                "GOLIVE_CHASSIS_LAMEDUCK": "3s",
                "GOLIVE_CHASSIS_ROUTES_MAX": "many",
                "GOLIVE_CHASSIS_KEEP_ALIVE": "0s",
                "GOLIVE_CHASSIS_GRACE": "10s",
                "SHUTDOWN_GRACE_SECONDS": "20",
                "GOLIVE_ENV": "prod",
                "GOLIVE_CHASSIS_ALIASES": "/health=maybe,status=ok",
                "GOLIVE_CHASSIS_ACCESS_LOG": "perhaps",
            }
        )
    assert list(caught.value.faults) == [
        'GOLIVE_CHASSIS_LAMEDUCK: no such setting, did you mean "GOLIVE_CHASSIS_LAME_DUCK"?',
        "GOLIVE_CHASSIS_ROUTES_MAX: expected a whole number, got 'many'",
        "GOLIVE_CHASSIS_ACCESS_LOG: expected true or false, got 'perhaps'",
        "SHUTDOWN_GRACE_SECONDS: disagrees with GOLIVE_CHASSIS_GRACE. Set one of them.",
        "GOLIVE_CHASSIS_KEEP_ALIVE: expected a duration > 0s, got 0:00:00.",
        "GOLIVE_CHASSIS_ALIASES: /health: expected one of live, ready, startup, ok, status, database, got 'maybe'.",
        "GOLIVE_CHASSIS_ALIASES: expected a path that begins with \"/\", got 'status'.",
        "GOLIVE_ENV: expected development, staging or production, got 'prod'.",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"lame_duck": timedelta(seconds=-1)}, "chassis.lame_duck: expected a duration >= 0s"),
        ({"routes_max": 0}, "chassis.routes_max: expected 1 to 100000, got 0."),
        ({"latency_edges_seconds": (1.0, 0.5)}, "chassis.latency_edges_seconds: expected ascending numbers > 0"),
        ({"latency_edges_seconds": (float("inf"),)}, "chassis.latency_edges_seconds: expected ascending numbers > 0"),
        ({"service": ""}, "chassis.service: expected 1 to 128 printable characters"),
        ({"version": "a\nb"}, "chassis.version: expected 1 to 128 printable characters"),
        ({"drain_allow": ("x",)}, 'chassis.drain_allow: expected a path that begins with "/"'),
    ],
)
def test_settings_made_in_code_are_checked_too(change, fault):
    """The dataclass and the environment share one set of rules."""
    with pytest.raises(ConfigError) as caught:
        ChassisSettings(**change)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize("platform", ["kubernetes", "cloud-run", "ecs", "systemd"])
def test_a_platform_gives_a_shutdown_that_fits_and_explicit_settings_win(platform):
    """At least two seconds before the platform kills; what the operator says counts more."""
    settings = ChassisSettings.from_env({"GOLIVE_CHASSIS_PLATFORM": platform})
    assert settings.lame_duck + settings.grace + timedelta(seconds=2) <= PLATFORMS[platform].limit
    given = ChassisSettings.from_env({"GOLIVE_CHASSIS_PLATFORM": platform, "GOLIVE_CHASSIS_GRACE": "1s"})
    assert given.grace == timedelta(seconds=1)


def test_d11_a_shutdown_longer_than_the_platforms_patience_refuses_the_start():
    """Otherwise the last requests of every deployment would be killed."""
    with pytest.raises(ConfigError, match=r"GOLIVE_CHASSIS_GRACE: expected lame_duck \+ grace below the 10 s"):
        Chassis.from_env({"GOLIVE_CHASSIS_PLATFORM": "cloud-run", "GOLIVE_CHASSIS_GRACE": "9s"})
    with pytest.raises(ConfigError, match="GOLIVE_CHASSIS_PLATFORM: expected one of kubernetes"):
        Chassis.from_env({"GOLIVE_CHASSIS_PLATFORM": "heroku"})
