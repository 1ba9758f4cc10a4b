"""Starting the defective service, what it promises about itself, and the list of proofs for ``make prove-gates``."""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golive.gates import (
    CorsProbe,
    HealthProbe,
    IdempotencyProbe,
    JobsProbe,
    LoadProbe,
    RedactionProbe,
    Report,
    RoutesProbe,
    ShutdownProbe,
    SmokeRequest,
    StabilityProbe,
    Target,
    Verdict,
    catalogue,
)

SERVICE = Path(__file__).parent / "service.py"
StartServices = Callable[..., list[Target]]
Prove = Callable[[Report, str], None]


@pytest.fixture
def prove(record_property: Callable[[str, object], None]) -> Prove:
    """
    ``prove(report, defect)``: the gate before the colon is red, all others are green or need a red one. With
    ``defect=""``: all are green. What was proven is kept for the list.
    """

    def judge(report: Report, defect: str) -> None:
        gate, _, what = defect.partition(":")
        story = f"{defect or 'healthy'}: {report.sentence}"
        outcomes = {result.gate: result.outcome for result in report.results}
        red = [name for name, outcome in outcomes.items() if outcome.verdict is Verdict.FAIL]
        assert red == ([gate] if gate else []), story
        known = catalogue()
        blocked = {name for name in outcomes if gate in known[name].depends_on}
        for name, outcome in outcomes.items():
            if name != gate:
                assert outcome.verdict is (Verdict.UNAVAILABLE if name in blocked else Verdict.PASS), story
        for name in [gate] if gate else outcomes:
            record_property("proof", (name, what.strip(), outcomes[name].sentence))

    return judge


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """``make prove-gates`` sets GOLIVE_PROVE=1: each gate with its planted defects and what it said about them."""
    if not os.environ.get("GOLIVE_PROVE"):
        return
    proofs: dict[str, dict[str, str]] = defaultdict(dict)
    for report in terminalreporter.stats.get("passed", []):
        for key, value in report.user_properties:
            if key == "proof":
                proofs[value[0]][value[1]] = value[2]
    for name in catalogue():
        found = proofs.get(name, {})
        terminalreporter.write_line(
            f"{name:20} {'green on the healthy service' if '' in found else 'NOT PROVEN GREEN'}"
        )
        for what, sentence in found.items():
            if what:
                terminalreporter.write_line(f"    red: {what:45} {sentence[:100]}")
        if not any(found):
            terminalreporter.write_line("    NOT PROVEN RED")
    red = sum(1 for found in proofs.values() for what in found if what)
    unproven = [name for name in catalogue() if not any(proofs.get(name, {})) or "" not in proofs.get(name, {})]
    terminalreporter.write_line(
        f"{len(catalogue())} gates, {red} planted defects, each turned exactly its gate red; "
        + (f"NOT PROVEN: {', '.join(unproven)}" if unproven else "every gate is proven both ways")
    )


@pytest.fixture
def start_services(tmp_path: Path) -> Iterator[StartServices]:
    """Starts one service per defect ("" for none) and returns them as targets with everything declared."""
    started: list[subprocess.Popen[str]] = []

    def launch(defect: str) -> tuple[Path, subprocess.Popen[str]]:
        log = tmp_path / f"service-{len(started)}.log"
        log.touch()
        command = [sys.executable, str(SERVICE), "0", str(log), defect]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return log, process

    def start(*defects: str) -> list[Target]:
        running = [(defect, *launch(defect)) for defect in defects]  # all of them boot at the same time
        return [promises(_url(process), log, defect) for defect, log, process in running]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return f"http://127.0.0.1:{int(process.stdout.readline())}"


def promises(url: str, log: Path, defect: str) -> Target:
    job = SmokeRequest("/jobs", "POST", json={"userId": "prod-test"}, expect=(200, 202))
    price = SmokeRequest(
        "/price", expect_json={"price": {"cents": 120}}, expect_headers={"x-snapshot-id": ""}, name="the price"
    )
    return Target(
        url=url,
        startup_timeout=1.0,
        health=HealthProbe(live="/healthz", ready="/health/ready", body={"ok": True}, samples=2, latency_max=0.3),
        smoke=(price, SmokeRequest("/jobs", "POST", json={"a": 1}, expect=("2xx",))),
        stability=StabilityProbe(requests=30, concurrency=10),
        jobs=JobsProbe(job, status_path="/jobs/{id}", accept_max=1.0, finish_max=2.0),
        routes=RoutesProbe(redirects={"/reasoning": "/api/reasoning"}, body_required=("/api/reasoning",)),
        idempotency=IdempotencyProbe(SmokeRequest("/orders", "POST", json={"order": "{uuid}"}), duplicate="204"),
        cors=CorsProbe(("https://shop.example",), path="/api"),
        load=LoadProbe(
            SmokeRequest("/report"), requests=60, concurrency=10, thresholds=("p95 <= 300ms", "error_rate <= 1%")
        ),
        redaction=RedactionProbe(SmokeRequest("/jobs", "POST"), logs=(log,), settle=0.2),
        shutdown=ShutdownProbe(
            (sys.executable, str(SERVICE), "{port}", str(log), defect if defect.startswith("shutdown") else ""),
            SmokeRequest("/slow"),
            grace=3.0,
        ),
        metrics_observed=("db_query_seconds",),
        protected=("/private",),
    )
