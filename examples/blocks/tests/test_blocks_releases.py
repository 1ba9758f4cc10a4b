"""The releases of the demonstration: v2 is good and different, v3 is bad in a way that no check at noon can see."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import processor
from blocks.city import City
from blocks.processor import Driver, rank_blocks
from blocks.travel import Position
from golive.config import load_settings
from golive.load import LoadPlan, LoadReport, RequestSpec, run

ROOT = Path(__file__).parent.parent
Release = Callable[[str], AbstractContextManager[httpx.Client]]


def _scoring(version: str) -> ModuleType:
    """The overlay of *version* as a module of its own."""
    source = (ROOT / "demo" / version / "blocks" / "scoring.py").read_text()
    module = ModuleType(f"scoring_{version}")
    exec(compile(source, version, "exec"), module.__dict__)
    return module


def _load(client: httpx.Client) -> LoadReport:
    """Four hundred requests of the demonstration's mix, four at a time."""
    mix = [RequestSpec(**row) for row in json.loads((ROOT / "demo" / "requests.json").read_text())]
    return run(LoadPlan(str(client.base_url), requests=mix, concurrency=4, requests_max=400, duration=60))


def _smoke_faults(client: httpx.Client) -> list[str]:
    """What the smoke requests of golive.toml find wrong."""
    faults = []
    for request in load_settings(ROOT / "golive.toml").gates.smoke.requests:
        body = {} if request.payload is None else {"json": request.payload}
        status = client.request(request.method, request.path, headers=request.headers, **body).status_code
        if status not in request.expect:
            faults.append(f"{request.name}: expected {request.expect}, got {status}")
    return faults


@pytest.mark.process
@pytest.mark.parametrize(("version", "ranking"), [("v1", "1"), ("v2", "2")])
def test_a_good_version_answers_every_request_of_the_mix(release: Release, version: str, ranking: str) -> None:
    """Stable and the good release: no failure, every smoke request as declared, and the answer names its ranking."""
    with release(version) as client:
        assert _smoke_faults(client) == []
        report = _load(client)
        body = {"userId": "u", "position": {"latitude": 41.2, "longitude": -70.95}, "localTime": "2025-11-07T23:50"}
        answer = client.post("/api/blocks", json=body, headers={"x-snapshot-id": "s"}).json()
    assert report.requests == 400
    assert report.failed == 0
    assert answer["ranking"] == ranking


@pytest.mark.process
def test_the_traffic_of_the_tour_reports_what_drivers_saw(service: httpx.Client) -> None:
    """``demo/traffic.py`` sends sixty requests a second and says which ranking answered."""
    command = [sys.executable, str(ROOT / "demo" / "traffic.py"), str(service.base_url), "1"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert printed.startswith("60 requests, 0 failed, 0 dropped")
    assert re.search(r"^ranking: 1 \d+, __none__ \d+$", printed, re.MULTILINE)


@pytest.mark.process
def test_the_bad_version_passes_the_smoke_test_and_fails_half_of_the_real_requests(release: Release) -> None:
    """That is what a canary is for: green before traffic, 500 for drivers who ask once the first block has shut."""
    with release("v3") as client:
        assert _smoke_faults(client) == []
        report = _load(client)
        health = client.get("/healthz").status_code
    assert 0.4 <= report.failed / report.requests <= 0.6
    assert report.statuses[500] == report.failed
    assert report.dropped == 0
    assert health == 200


def test_the_good_version_sends_somebody_elsewhere(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """The improvement can be seen: near midnight, ranking 2 prefers the first passenger to the largest crowd."""
    driver = Driver(Position(41.2, -70.95), datetime(2025, 11, 7, 23, 20))
    before = [block.name for block in rank_blocks(city, driver)]
    monkeypatch.setattr(processor, "score", _scoring("v2").score)
    after = [block.name for block in rank_blocks(city, driver)]
    assert before[1] == "Arena District"
    assert after[1] == "Cannery Square"


def test_the_bug_is_a_division_by_an_hour_in_which_nobody_leaves(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Genuine and repeatable: it works while every block in reach has pick-ups now, and never otherwise."""
    monkeypatch.setattr(processor, "score", _scoring("v3").score)
    centre = Position(41.2, -70.95)
    assert rank_blocks(city, Driver(centre, datetime(2025, 11, 7, 17, 30)))
    with pytest.raises(ZeroDivisionError):
        rank_blocks(city, Driver(centre, datetime(2025, 11, 7, 20, 40)))


@given(now=st.floats(0, 500), arrival=st.floats(0, 500), minutes=st.floats(2, 25), more=st.floats(0, 100))
def test_the_good_score_is_sound(now: float, arrival: float, minutes: float, more: float) -> None:
    """Zero without people, never above what the drive allows, and no worse with more people or a shorter drive."""
    score = _scoring("v2").score
    assert score(0, 0, minutes) == 0
    assert 0 <= score(now, arrival, minutes) <= 60 / minutes
    assert score(now + more, arrival, minutes) >= score(now, arrival, minutes) - 1e-9
    assert score(now, arrival, minutes) >= score(now, arrival, minutes + more) - 1e-9


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_an_overlay_replaces_files_and_adds_none(version: str) -> None:
    """A version is the same tree with other contents, so that a rollback needs no clean-up."""
    folder = ROOT / "demo" / version
    files = [file.relative_to(folder) for file in folder.rglob("*.py")]
    assert files
    assert all((ROOT / file).is_file() for file in files)
