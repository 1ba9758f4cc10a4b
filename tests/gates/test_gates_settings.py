"""golive.toml reaches every gate: what a table says is what the gate looks for."""

import dataclasses
import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

import golive.config
from golive import targets
from golive.config import Settings, load_settings
from golive.errors import ConfigError
from golive.gates import (
    FilesProbe,
    HealthProbe,
    IdempotencyProbe,
    JobsProbe,
    LoadProbe,
    RedactionProbe,
    ShutdownProbe,
    SmokeRequest,
    StabilityProbe,
    Target,
)
from golive.promises import PROMISES
from golive.targets import target_of

EXAMPLE = Path(golive.config.__file__).with_name("example.toml")
BASE = 'service = "shop"\n[deploy]\ncommand = ["{python}", "-m", "shop", "--port", "{port}"]\n'


def settings_with(tmp_path: Path, toml: str) -> Settings:
    (tmp_path / "golive.toml").write_text(BASE + toml)
    return load_settings(tmp_path / "golive.toml", environ={})


def test_the_example_promises_something_to_every_gate() -> None:
    """No part of a target is out of reach of golive.toml."""
    target = target_of(load_settings(EXAMPLE, environ={}), "http://127.0.0.1:1", {})
    out_of_reach = {"environment", "headers", "tls_verify", "remote_allowed", "version"}  # options of the command line
    silent = {field.name for field in dataclasses.fields(Target) if not getattr(target, field.name)}
    assert silent <= out_of_reach
    assert {type(promise) for promise in target.promises} == set(PROMISES.values())


def test_a_table_that_nobody_wrote_is_no_promise(tmp_path: Path) -> None:
    """Its gate is UNAVAILABLE then; what has a default has the one of the gate."""
    target = target_of(settings_with(tmp_path, ""), "", {})
    assert (target.jobs, target.routes, target.idempotency, target.redaction, target.shutdown) == (None,) * 5
    assert target.files == FilesProbe()
    assert target.stability == StabilityProbe()
    own = ("aliases", "latency_max", "samples", "body")
    assert [getattr(target.health, name) for name in own] == [getattr(HealthProbe(), name) for name in own]
    assert dataclasses.replace(target.load, thresholds=()) == dataclasses.replace(LoadProbe(), thresholds=())
    assert target_of(Settings(), "", {}).load == LoadProbe()


def test_defaults_of_a_table_are_those_of_its_gate(tmp_path: Path) -> None:
    """Only the request has to be written."""
    request = SmokeRequest("/orders", "POST")
    settings = settings_with(
        tmp_path,
        '[gates.jobs]\nsubmit = { post = "/orders" }\n[gates.idempotency]\nrequest = { post = "/orders" }\n'
        '[gates.redaction]\nrequest = { post = "/orders" }\nlogs = ["app.log"]\n',
    )
    target = target_of(settings, "", {})
    assert target.jobs == JobsProbe(request)
    assert target.idempotency == IdempotencyProbe(request)
    assert target.redaction == RedactionProbe(request, (tmp_path / "app.log",))


def test_the_service_is_stopped_as_it_is_deployed(tmp_path: Path) -> None:
    """The command of [deploy] with its interpreter filled in; the gate fills in the port."""
    target = target_of(settings_with(tmp_path, '[gates.shutdown]\nslow = { get = "/slow" }\n'), "", {})
    assert target.shutdown is not None
    assert re.search(r"python[\d.]*$", target.shutdown.command[0])
    assert target.shutdown.command[1:] == ("-m", "shop", "--port", "{port}")
    assert target.shutdown.grace == ShutdownProbe((), SmokeRequest("/")).grace


def test_an_open_loop_is_a_concurrency_of_zero(tmp_path: Path) -> None:
    """With thresholds of its own in place of [slo]."""
    toml = (
        '[gates.load]\nconcurrency = 0\nrate = 50\nthresholds = ["p99 <= 2s"]\nrequest = { post = "/a", body = "x" }\n'
    )
    load = targets.load_probe(settings_with(tmp_path, toml))
    assert (load.concurrency, load.rate, load.thresholds) == (None, 50.0, ("p99 <= 2s",))
    assert load.request == SmokeRequest("/a", "POST", body="x")


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("[gates.jobs]\nid_field = 'x'\n", 'gates.jobs: "submit" is missing'),
        ("[gates.idempotency]\nrequest = { post = '/a' }\nparallel = 1\n", "gates.idempotency.parallel"),
        ("[gates.redaction]\nrequest = { post = '/a' }\nlogs = []\n", "gates.redaction.logs"),
        ("[gates.routes]\nredirects = { old = '/new' }\n", 'expected a path such as "/health/ready"'),
        ("[gates.cors]\norigns = []\n", 'did you mean "origins"?'),
        ("[[gates.waivers]]\ngate = 'cors'\nowner = ''\nreason = 'r'\nexpires = 2030-01-01\n", "owner"),
        (
            "[[gates.waivers]]\ngate = 'cors'\nowner = 'a'\nreason = 'r'\nexpires = 'soon'\n",
            "expected a day such as 2026-05-31, got 'soon'",
        ),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(tmp_path: Path, toml: str, sentence: str) -> None:
    """Before anything is probed."""
    with pytest.raises(ConfigError) as caught:
        settings_with(tmp_path, toml)
    assert sentence in str(caught.value)


def test_waivers_keep_their_day(tmp_path: Path) -> None:
    """As TOML writes days."""
    toml = "[[gates.waivers]]\ngate = 'cors'\nowner = 'ana'\nreason = 'moving'\nexpires = 2030-01-31\n"
    (waiver,) = targets.waivers_of(settings_with(tmp_path, toml))
    assert (waiver.gate, waiver.owner, waiver.reason, waiver.expires) == ("cors", "ana", "moving", date(2030, 1, 31))


@pytest.mark.process
@pytest.mark.parametrize(("days", "verdict", "code"), [(1, "WAIVED", 0), (-1, "FAIL", 3)])
def test_a_waiver_of_the_project_counts_until_its_day(
    golive, tmp_path: Path, days: int, verdict: str, code: int
) -> None:  # type: ignore[no-untyped-def]
    """Without --waivers; expired, it is a failure that names it."""
    day = datetime.now(UTC).date() + timedelta(days=days)
    settings_with(
        tmp_path, f"[[gates.waivers]]\ngate = 'no-localhost'\nowner = 'ana'\nreason = 'moving'\nexpires = {day}\n"
    )
    (tmp_path / "app.py").write_text("API = 'http://localhost:8000'\n")
    done = golive("check", "no-localhost", "-o", "json", cwd=tmp_path)
    assert [gate["verdict"] for gate in json.loads(done.stdout)["gates"]] == [verdict]
    assert done.returncode == code
