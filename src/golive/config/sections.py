"""
One class per table of golive.toml; ``example.toml`` explains them to users.

``[chassis]``, ``[jobs]`` and ``[load]`` mirror the settings of those rooms, which run inside the user's service and
must not load this one; a test holds the two sides together.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from golive.config.gates import METHODS as METHODS
from golive.config.gates import Gates as Gates
from golive.config.gates import SmokeRequest as SmokeRequest
from golive.config.types import (
    Bytes,
    Command,
    Count,
    Duration,
    HookCommand,
    Keeping,
    Number,
    PositiveDuration,
    Section,
    Switch,
    Token,
    UrlPath,
    Weight,
    table,
)
from golive.errors import ConfigError

EXCLUDED = [".git", ".venv", "venv", "__pycache__", "*.pyc", ".golive", "node_modules", ".mypy_cache", ".ruff_cache",
            ".pytest_cache", ".DS_Store"]  # fmt: skip


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


class Release(Section):
    """Where the files of a version come from."""

    source: Literal["tree", "git", "path"] = "tree"
    path: str = "releases/{version}"
    include: list[str] = Field(default=["**"])
    exclude: list[str] = Field(default=EXCLUDED)


class Deploy(Section):
    """How a version is started, asked how it is, and stopped."""

    command: Command = Field(default=[])
    worker_command: Command | None = None
    env: dict[str, str] = Field(default={})
    env_file: Path | None = None
    startup_path: UrlPath = "/startupz"
    startup_timeout: PositiveDuration = _seconds(120)
    ready_path: UrlPath = "/health/ready"
    ready_timeout: PositiveDuration = _seconds(60)
    live_path: UrlPath = "/livez"
    stop_timeout: PositiveDuration = _seconds(35)
    memory_limit: Bytes | None = None

    def command_for(self, *, port: int, version: str, python: str) -> list[str]:
        """The command of one version, placeholders filled in; empty when there is neither a command nor an app."""
        return [part.format(port=port, version=version, python=python) for part in self.command]

    def worker_command_for(self, *, port: int, version: str, python: str) -> list[str]:
        """The worker's command of one version; empty when there is none. *port* is the version's web port."""
        return [part.format(port=port, version=version, python=python) for part in self.worker_command or ()]


class Sticky(Section):
    """What a user is recognised by, so that who is on the new version stays on it. None: not by this."""

    header: Token = "x-user-id"
    cookie: Token = "golive_sid"


class Gateway(Section):
    """The proxy in front of the versions."""

    host: str = "127.0.0.1"
    port: Count = Field(default=8000, ge=0, le=65535)
    admin_port: Count = Field(default=0, ge=0, le=65535)
    sticky: Sticky = table()
    force_header: Token = "x-golive-version"
    request_timeout: PositiveDuration = _seconds(15)
    idle_timeout: PositiveDuration = _seconds(4)
    connect_timeout: PositiveDuration = _seconds(1)
    request_tap: Switch = True


class Stage(Section):
    """One step: *weight* percent of the traffic for *soak* to *max_soak*, after *approval* by a group."""

    weight: Weight
    soak: Duration = timedelta(0)
    max_soak: Duration | None = None
    approval: Annotated[str, Field(min_length=1)] | None = None


class Fuse(Section):
    """When a candidate counts as dead without any statistics."""

    failed_probes: Count = Field(default=3, ge=1, le=100)
    probe_interval: PositiveDuration = _seconds(0.5)


Moves = Literal["requests", "jobs", "both"]


def _windows(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError('expected a list of windows such as ["Fri 15:00 - Mon 08:00 Europe/Paris"].')
    if not value:
        return value
    from golive.rollout.calendar import parse_window  # most settings have none, and need not load the room

    for text in value:
        try:
            parse_window(text, "")
        except ConfigError as error:
            raise ValueError(str(error).removeprefix(": ")) from None
    return value


Windows = Annotated[list[str], PlainValidator(_windows), WithJsonSchema({"type": "array", "items": {"type": "string"}})]


class Hook(Section):
    """A command at one point of every rollout; the command alone may stand for the table."""

    command: HookCommand
    timeout: PositiveDuration = _seconds(300)
    on_failure: Literal["hold", "rollback", "continue"] = "hold"
    idempotent: Switch = False


def _plain_command(value: Any) -> Any:
    return {"command": value} if isinstance(value, list | str) else value


_COMMAND = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_HOOK = {
    "type": "object",
    "properties": {
        "command": _COMMAND,
        "timeout": {"type": "string"},
        "on_failure": {"enum": ["hold", "rollback", "continue"]},
        "idempotent": {"type": "boolean"},
    },
    "required": ["command"],
    "additionalProperties": False,
}
At = Annotated[Hook, BeforeValidator(_plain_command), WithJsonSchema({"anyOf": [*_COMMAND["anyOf"], _HOOK]})]


class Hooks(Section):
    """The team's own commands, each call of which runs once."""

    before_stage: At | None = None
    after_stage: At | None = None
    before_promote: At | None = None
    after_promote: At | None = None
    on_rollback: At | None = None


class Prometheus(Section):
    """Evidence from a Prometheus server; mirrors :class:`golive.rollout.evidence.prometheus.PrometheusSettings`."""

    url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    requests: str | None = None
    errors: str | None = None
    latency: str | None = None
    label: str = Field(default="version", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")
    lookback: PositiveDuration = _seconds(60)
    timeout: PositiveDuration = _seconds(5)
    headers: dict[str, str] = Field(default={})


class Rollout(Section):
    """The stages of a release, and how carefully they are judged."""

    strategy: Literal["canary", "blue-green"] = "canary"
    preset: str = "progressive"
    stages: list[Stage] | None = None
    tick: PositiveDuration = _seconds(5)
    pace: Literal["careful", "fast", "demo"] = "careful"
    semantics: Literal["golive", "argo", "flagger", "kayenta"] = "golive"
    moves: Moves | None = None
    on_inconclusive: Literal["ask", "extend", "rollback"] = "ask"
    watch: Duration = timedelta(hours=24)
    when_busy: Literal["refuse", "queue", "supersede"] = "refuse"
    freeze: Windows = Field(default=[])
    window: Windows = Field(default=[])
    prometheus: Prometheus = table()
    judge: dict[str, Number] = Field(default={})
    fuse: Fuse = table()
    hooks: Hooks = table()


class Group(Section):
    """People, and how many different ones of them must agree."""

    people: list[str]
    needed: Count = Field(default=1, ge=1, le=100)

    @model_validator(mode="before")
    @classmethod
    def _plain_list(cls, value: Any) -> Any:
        return {"people": value} if isinstance(value, list) else value


_PEOPLE = {"type": "array", "items": {"type": "string"}}
_GROUP = {
    "type": "object",
    "properties": {"people": _PEOPLE, "needed": {"type": "integer", "minimum": 1, "maximum": 100}},
    "required": ["people"],
    "additionalProperties": False,
}


class Approvals(Section):
    """Who may let a stage go on."""

    prevent_self_review: Switch = True
    expires: PositiveDuration | None = None
    groups: dict[str, Annotated[Group, WithJsonSchema({"anyOf": [_PEOPLE, _GROUP]})]] = Field(default={})


class Jobs(Section):
    """Mirrors :class:`golive.jobs.settings.JobsSettings`, where the reasons stand."""

    url: str = "sqlite:///.golive/jobs.db"
    table: str = Field(default="block_jobs", pattern=r"^[a-z_][a-z0-9_]{0,47}$")
    concurrency: Count = Field(default=4, ge=1, le=10_000)
    timeout: PositiveDuration = _seconds(300)
    attempts_max: Count = Field(default=3, ge=1, le=1000)
    lease: PositiveDuration = _seconds(15)
    drain: Duration = _seconds(25)
    result_bytes_max: Count = Field(default=1024 * 1024, ge=1)
    results: str = Field(default="inline", min_length=1)
    result_inline_bytes_max: Count = Field(default=64 * 1024, ge=1)
    results_keep: PositiveDuration = _seconds(7 * 86_400)
    transport: str = Field(default="store", min_length=1)
    patience: PositiveDuration = _seconds(10)
    app: str | None = Field(default=None, min_length=1)
    embedded: Switch = False
    keep_succeeded: Keeping = _seconds(7 * 86_400)
    keep_failed: Keeping = _seconds(90 * 86_400)
    keep_cancelled: Keeping = _seconds(7 * 86_400)
    hold: PositiveDuration = _seconds(86_400)


class Chassis(Section):
    """Mirrors :class:`golive.chassis.settings.ChassisSettings`, where the reasons stand."""

    platform: Literal["", "kubernetes", "cloud-run", "ecs", "systemd"] = ""
    fast_boot: Switch = True
    mode: str = ""
    lame_duck: Duration = _seconds(3)
    grace: Duration = _seconds(25)
    boot_linger: Duration = _seconds(2)
    keep_alive: PositiveDuration = _seconds(75)
    retry_after: PositiveDuration = _seconds(2)
    loop_stall_max: PositiveDuration = _seconds(10)
    aliases: dict[UrlPath, Literal["live", "ready", "startup", "ok", "status", "database"]] = Field(
        default={
            "/": "ok",
            "/healthz": "ok",
            "/health": "ready",
            "/api/status": "status",
            "/api/db/info": "database",
        }
    )
    redirects: dict[UrlPath, UrlPath] = Field(default={})
    metrics_from: list[str] = Field(default=["private"])
    drain_allow: list[UrlPath] = Field(default=[])
    routes_max: Count = Field(default=1000, ge=1, le=100_000)
    access_log: Switch = True
    problems: Switch = True
    strict_json: Switch = True
    fast_path: Switch = True
    head_max_bytes: Count = Field(default=32 * 1024, ge=1)
    body_max_bytes: Count = Field(default=10 * 1024 * 1024, ge=1)
    concurrency_max: Count = Field(default=1000, ge=1)
    request_timeout: Duration = timedelta(0)
    head_timeout: PositiveDuration = _seconds(10)
    body_timeout: PositiveDuration = _seconds(60)
    cors_origins: list[str] = Field(default=[])
    cors_subdomains_of: list[str] = Field(default=[])
    cors_methods: list[str] = Field(default=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    cors_headers: list[str] = Field(
        default=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID", "traceparent"]
    )
    cors_credentials: Switch = False
    cors_max_age: PositiveDuration = _seconds(600)
    require_auth: Switch = False
    jwt_secret: str = ""
    jwks_url: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_leeway: Duration = _seconds(30)
    jwt_tenant_claim: str = "tenant"
    api_key_hashes: list[str] = Field(default=[])
    error_file: str = ""
    trusted_proxies: list[str] = Field(default=["127.0.0.1", "::1"])
    rate_limit: str = ""
    database_url: str = ""
    database_source: Literal["", "postgres", "sqlite"] = ""
    idempotency_store: str = "memory"
    redis_url: str = ""
    rate_limit_redis_url: str = ""
    redis_timeout: PositiveDuration = _seconds(0.05)
    rate_limit_on_store_error: Literal["local", "closed"] = "local"
    rate_limit_processes: Count = Field(default=1, ge=1, le=100_000)
    sentry_dsn: str = ""


class Database(Section):
    """Mirrors the ``db_`` settings of :class:`golive.chassis.settings.ChassisSettings`, where the reasons stand."""

    pool_min: Count = Field(default=0, ge=0, le=10_000)
    pool_max: Count = Field(default=5, ge=1, le=10_000)
    idle_timeout: PositiveDuration = _seconds(30)
    connect_timeout: PositiveDuration = _seconds(3)
    statement_timeout: PositiveDuration = _seconds(30)
    slow_query: PositiveDuration = _seconds(0.5)
    held_max: PositiveDuration = _seconds(30)
    processes: Count = Field(default=1, ge=1, le=10_000)
    replicas: Count = Field(default=1, ge=1, le=10_000)


class Load(Section):
    """Defaults of ``golive load`` and the load gate; mirrors :class:`golive.load.plan.LoadPlan`."""

    rate: Number = Field(default=200.0, gt=0, le=1_000_000)
    duration: PositiveDuration = _seconds(10)
    arrivals: Literal["constant", "poisson"] = "constant"
    connections_max: Count = Field(default=512, ge=1, le=65_536)
    timeout: PositiveDuration = _seconds(10)
    users: Count = Field(default=100, ge=1)
