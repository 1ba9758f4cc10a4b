"""
``[gates]``: which gates run, what each of them is told about the service, and what somebody accepted for a while.

Mirrors the probes of :mod:`golive.gates.target`, where the reasons stand. A table nobody writes promises nothing.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

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

SOURCE = ["**/*.py", "**/*.js", "**/*.ts", "**/*.tsx", "**/*.jsx", "**/*.html"]
EXCLUDE = ["tests/**", "**/tests/**", "test/**", "**/*.test.*", "**/test_*.py", "node_modules/**", "**/node_modules/**",
           ".venv/**", "venv/**", ".git/**", "docs/**", "examples/**", ".golive/**"]  # fmt: skip
FORBIDDEN = ["**/._*", "**/.DS_Store", "**/Thumbs.db", "**/*.pem", "**/*.key", "**/.env"]
METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
Text = Annotated[str, Field(min_length=1)]


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _statuses(value: object) -> list[int | str]:
    wanted: list[Any] = value if isinstance(value, list) else [value]
    if not wanted or not all(re.fullmatch(r"[1-5](\d\d|xx)", str(status)) for status in wanted):
        raise ValueError(f'expected a status such as 200 or "2xx", or a list of them, got {value!r}.')
    return [int(status) if str(status).isdigit() else status for status in wanted]


_STATUS_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"type": "string"}]}
Statuses = Annotated[
    list[int | str],
    PlainValidator(_statuses),
    WithJsonSchema({"anyOf": [*_STATUS_SCHEMA["anyOf"], {"type": "array", "items": _STATUS_SCHEMA, "minItems": 1}]}),
]


class SmokeRequest(Section):
    """One request of the smoke gate: exactly one method with its path, and the statuses that are right."""

    name: str | None = None
    get: UrlPath | None = None
    post: UrlPath | None = None
    put: UrlPath | None = None
    patch: UrlPath | None = None
    delete: UrlPath | None = None
    head: UrlPath | None = None
    options: UrlPath | None = None
    expect: Statuses = Field(default=[200])
    headers: dict[str, str] = Field(default={})
    body: str | None = None
    payload: Any = Field(default=None, alias="json")

    @model_validator(mode="after")
    def _one_method(self) -> SmokeRequest:
        named = [method for method in METHODS if getattr(self, method) is not None]
        if len(named) != 1:
            got = " and ".join(named) or "none"
            raise ValueError(f'expected exactly one method such as get = "/api/status", got {got}.')
        if self.body is not None and self.payload is not None:
            raise ValueError("expected body or json, got both.")
        return self

    @property
    def method(self) -> str:
        """``GET``, ``POST``, ..."""
        return next(method for method in METHODS if getattr(self, method) is not None).upper()

    @property
    def path(self) -> str:
        """The path with its query, from ``/``."""
        path = getattr(self, self.method.lower())
        assert isinstance(path, str), "the validator saw to it"
        return path


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


class Gates(Section):
    """What must hold before a version gets traffic."""

    preflight: list[str] = Field(default=["health", "startup", "stability", "smoke"])
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
