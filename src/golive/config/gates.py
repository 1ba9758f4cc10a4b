"""
``[gates]``: which gates run, what each of them is told about the service, and what somebody accepted for a while.

Mirrors the probes of :mod:`golive.gates.target`, where the reasons stand. A table nobody writes promises nothing.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, create_model

from golive.config.promises import written
from golive.config.requests import METHODS, SmokeRequest
from golive.config.types import (
    Command,
    Count,
    Duration,
    Number,
    PositiveDuration,
    Section,
    UrlPath,
    table,
)
from golive.promises import PROMISES
from golive.promises.release import AttestationProbe

SOURCE = ["**/*.py", "**/*.js", "**/*.ts", "**/*.tsx", "**/*.jsx", "**/*.html"]
EXCLUDE = ["tests/**", "**/tests/**", "test/**", "**/*.test.*", "**/test_*.py", "node_modules/**", "**/node_modules/**",
           ".venv/**", "venv/**", ".git/**", "docs/**", "examples/**", ".golive/**"]  # fmt: skip
FORBIDDEN = ["**/._*", "**/.DS_Store", "**/Thumbs.db", "**/*.pem", "**/*.key", "**/.env"]
Text = Annotated[str, Field(min_length=1)]


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


class Smoke(Section):
    """The requests of the smoke gate."""

    requests: list[SmokeRequest] = Field(default=[])


class HealthGate(Section):
    """What the health answers must hold beside their status."""

    aliases: list[UrlPath] = Field(default=[])
    latency_max: PositiveDuration = _seconds(0.1)
    samples: Count = Field(default=20, ge=1, le=1000)
    body: dict[str, Any] = Field(default={})


class StabilityGate(Section):
    """How much disturbance the process must survive."""

    requests: Count = Field(default=60, ge=1, le=100_000)
    concurrency: Count = Field(default=10, ge=1, le=1000)


class JobsGate(Section):
    """How a job is submitted and followed; for the gates async-accept and job-lifecycle."""

    submit: SmokeRequest
    status_path: UrlPath | None = None
    id_field: Text = "jobId"
    accept_max: PositiveDuration = _seconds(2)
    finish_max: PositiveDuration = _seconds(45)


class RoutesGate(Section):
    """Old addresses, and routes that refuse an empty request."""

    redirects: dict[UrlPath, UrlPath] = Field(default={})
    body_required: list[UrlPath] = Field(default=[])


class IdempotencyGate(Section):
    """A request that may have one effect only."""

    request: SmokeRequest
    duplicate: Literal["204", "replay"] = "replay"
    header: Text = "Idempotency-Key"
    parallel: Count = Field(default=5, ge=2, le=100)


class AuthGate(Section):
    """Paths that must refuse a caller without credentials."""

    protected: list[UrlPath] = Field(default=[])


class CorsGate(Section):
    """Origins that are allowed; none: those of ``[chassis] cors_origins``."""

    origins: list[Text] = Field(default=[])
    path: UrlPath = "/"
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"


class MetricsGate(Section):
    """The metrics page, and metrics that must have counted something by the time it is read."""

    path: UrlPath = "/metrics"
    observed: list[Text] = Field(default=[])


class LoadGate(Section):
    """The load of the load gate; thresholds left out are those of ``[slo]``."""

    request: SmokeRequest | None = None
    requests: Count = Field(default=2000, ge=1, le=10_000_000)
    concurrency: Count | None = Field(default=75, ge=0, le=10_000)
    rate: Number = Field(default=200.0, gt=0, le=1_000_000)
    duration_max: PositiveDuration = _seconds(30)
    thresholds: list[Text] = Field(default=[])


class RedactionGate(Section):
    """A request with ``{pii}`` in it, and the log files in which that must not appear."""

    request: SmokeRequest
    logs: Annotated[list[Text], Field(min_length=1)]
    settle: Duration = _seconds(1)


class ShutdownGate(Section):
    """A request that takes a moment, and the command that starts the service; none: that of ``[deploy]``."""

    slow: SmokeRequest
    command: Command = Field(default=[])
    env: dict[str, str] = Field(default={})
    grace: PositiveDuration = _seconds(30)
    start_max: PositiveDuration = _seconds(30)


class FilesGates(Section):
    """What the gates on files look at, as globs relative to the project."""

    source: list[Text] = Field(default=SOURCE)
    exclude: list[Text] = Field(default=EXCLUDE)
    forbidden: list[Text] = Field(default=FORBIDDEN)
    env_example: Text = ".env.example"


class CommandGate(Section):
    """A command of the project as a gate: exit code 0 is a PASS. No shell."""

    run: Annotated[list[Text], Field(min_length=1)]
    env: dict[str, str] = Field(default={})
    timeout: PositiveDuration = _seconds(60)
    proves: str = ""


def _day(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)  # type: ignore[arg-type]  # anything but a string is a TypeError
    except (TypeError, ValueError):
        raise ValueError(f"expected a day such as 2026-05-31, got {value!r}.") from None


Day = Annotated[
    date,
    PlainValidator(_day),
    PlainSerializer(date.isoformat, return_type=str),
    WithJsonSchema({"description": "a day of TOML such as 2026-05-31, which JSON has no type for"}),
]


class Waiver(Section):
    """*owner* accepts that *gate* does not pass, because of *reason*, up to and including *expires*."""

    gate: Text
    owner: Text
    reason: Text
    expires: Day


class WrittenGates(Section):
    """What must hold before a version gets traffic: the tables that are spelt here."""

    preflight: list[str] = Field(default=["plan-lint", "health", "startup", "stability", "smoke"])
    smoke: Smoke = table()
    health: HealthGate = table()
    stability: StabilityGate = table()
    routes: RoutesGate = table()
    auth: AuthGate = table()
    cors: CorsGate = table()
    metrics: MetricsGate = table()
    load: LoadGate = table()
    files: FilesGates = table()
    jobs: JobsGate | None = None
    idempotency: IdempotencyGate | None = None
    redaction: RedactionGate | None = None
    shutdown: ShutdownGate | None = None
    commands: dict[str, CommandGate] = Field(default={})
    waivers: list[Waiver] = Field(default=[])


if TYPE_CHECKING:

    class Gates(WrittenGates):
        attestations: dict[str, Section] = {}  # noqa: RUF012 - for the type checker only
else:
    Gates = create_model(
        "Gates",
        __base__=WrittenGates,
        __doc__="What must hold before a version gets traffic.",
        attestations=(dict[str, written(AttestationProbe)], Field(default={})),
        **{name: (written(promise) | None, None) for name, promise in PROMISES.items()},
    )
"""All of ``[gates]``: the tables above and one for each promise of the gates room."""

__all__ = ["METHODS", "Gates", "SmokeRequest"]
