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
StartService = Callable[[str], Target]


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Starts the service with a defect ("" for none) and returns it as a target with everything declared."""
    started: list[subprocess.Popen[str]] = []

    def start(defect: str) -> Target:
        log = tmp_path / "service.log"
        log.touch()
        command = [sys.executable, str(SERVICE), "0", str(log), defect]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return promises(f"http://127.0.0.1:{int(process.stdout.readline())}", log, defect)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def promises(url: str, log: Path, defect: str) -> Target:
    job = SmokeRequest("/jobs", "POST", json={"userId": "prod-test"}, expect=(200, 202))
    price = SmokeRequest(
        "/price", expect_json={"price": {"cents": 120}}, expect_headers={"x-snapshot-id": ""}, name="the price"
    )
    return Target(
        url=url,
        startup_timeout=1.0,
        health=HealthProbe(live="/healthz", ready="/health/ready", body={"ok": True}),
        smoke=(price, SmokeRequest("/jobs", "POST", json={"a": 1}, expect=("2xx",))),
        stability=StabilityProbe(requests=30, concurrency=10),
        jobs=JobsProbe(job, status_path="/jobs/{id}", finish_max=3.0),
        routes=RoutesProbe(redirects={"/reasoning": "/api/reasoning"}, body_required=("/api/reasoning",)),
        idempotency=IdempotencyProbe(SmokeRequest("/orders", "POST", json={"order": "{uuid}"}), duplicate="204"),
        cors=CorsProbe(("https://shop.example",), path="/api"),
        load=LoadProbe(
            SmokeRequest("/report"), requests=200, concurrency=10, thresholds=("p95 <= 300ms", "error_rate <= 1%")
        ),
        redaction=RedactionProbe(SmokeRequest("/jobs", "POST"), logs=(log,), settle=0.2),
        shutdown=ShutdownProbe(
            (sys.executable, str(SERVICE), "{port}", str(log), defect if defect.startswith("shutdown") else ""),
            SmokeRequest("/slow"),
            grace=5.0,
        ),
        metrics_observed=("db_query_seconds",),
        protected=("/private",),
    )
