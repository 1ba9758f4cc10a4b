"""
The gates room: readiness is executed, not ticked.

``run_gates(["health", "smoke"], Target(url="http://127.0.0.1:8000"))`` probes a service from outside and answers GO or
NO-GO. Nothing here knows how the service was built: the gates work against any URL.
"""

from __future__ import annotations

from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, Verdict, failed, passed, unavailable
from golive.gates.registry import catalogue
from golive.gates.report import Report, Result
from golive.gates.runner import run_gates
from golive.gates.target import (
    CorsProbe,
    FilesProbe,
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
from golive.gates.waiver import Waiver

__all__ = [
    "CorsProbe",
    "FilesProbe",
    "Gate",
    "HealthProbe",
    "IdempotencyProbe",
    "JobsProbe",
    "LoadProbe",
    "Outcome",
    "Phase",
    "RedactionProbe",
    "Report",
    "Result",
    "RoutesProbe",
    "ShutdownProbe",
    "SmokeRequest",
    "StabilityProbe",
    "Target",
    "Verdict",
    "Waiver",
    "catalogue",
    "failed",
    "passed",
    "run_gates",
    "unavailable",
]
