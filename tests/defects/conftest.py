"""Starting the defective service, and what it promises about itself."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from golive.gates import (
    CorsProbe,
    HealthProbe,
    IdempotencyProbe,
    JobsProbe,
    LoadProbe,
    RedactionProbe,
    RoutesProbe,
    ShutdownProbe,
    SmokeRequest,
    StabilityProbe,
    Target,
)

SERVICE = Path(__file__).parent / "service.py"
StartServices = Callable[..., list[Target]]


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
