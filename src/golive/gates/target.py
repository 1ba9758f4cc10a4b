"""
What the gates look at: a URL, a source tree, and what the service promises about itself. Plain data.

Every promise has a default or is None; None means "nothing promised", and a gate about it is UNAVAILABLE, or finds
out by itself where that is possible. Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from golive.errors import UnavailableError
from golive.gates.planlint.facts import PlanFacts
from golive.promises.request import SmokeRequest as SmokeRequest

T = TypeVar("T")
_START_PAGE = SmokeRequest("/")


@dataclass(frozen=True, slots=True)
class HealthProbe:
    """
    Attributes:
        live, startup, ready: paths; None looks for the usual ones and accepts that there is none but *live*.
        aliases: further paths that must answer 200.
        latency_max: of the slowest of *samples* requests in a row, seconds. Source: seed 000, gate A.
        body: fields the liveness answer must hold, e.g. ``{"ok": True}``.
    """

    live: str | None = None
    startup: str | None = None
    ready: str | None = None
    aliases: tuple[str, ...] = ()
    latency_max: float = 0.1
    samples: int = 20
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StabilityProbe:
    """*requests* requests (declared ones and broken ones), *concurrency* at a time."""

    requests: int = 60
    concurrency: int = 10
    seconds_max: float = 20.0


@dataclass(frozen=True, slots=True)
class JobsProbe:
    """
    How a job is submitted and followed.

    Attributes:
        submit: the request that is answered 202.
        status_path: with ``{id}``; None takes the answer's Location.
        id_field: the JSON field of the 202 that holds the id.
        accept_max: seconds until the 202. Source: seed 000, gate B.
        finish_max: seconds until the job has ended.
    """

    submit: SmokeRequest
    status_path: str | None = None
    id_field: str = "jobId"
    accept_max: float = 2.0
    finish_max: float = 45.0


@dataclass(frozen=True, slots=True)
class RoutesProbe:
    """
    Attributes:
        redirects: old path -> new path, answered 307 with the query kept.
        body_required: ``POST`` without a body is answered 400 here, not 404, 422 or 500.
    """

    redirects: Mapping[str, str] = field(default_factory=dict)
    body_required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IdempotencyProbe:
    """
    Attributes:
        request: sent with a fresh key; ``{uuid}`` in its body is filled once per key.
        duplicate: ``"204"`` (one 201, the others 204 without a body) or ``"replay"`` (all the same answer, or 409
            while the first one runs).
        parallel: requests with the same key at once. Source: seed 002, five.
    """

    request: SmokeRequest
    duplicate: Literal["204", "replay"] = "replay"
    header: str = "Idempotency-Key"
    parallel: int = 5


@dataclass(frozen=True, slots=True)
class CorsProbe:
    """*origins* are allowed on *path*; everything that only looks like them is not."""

    origins: tuple[str, ...]
    path: str = "/"
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class LoadProbe:
    """
    Attributes:
        request: sent *requests* times by *concurrency* users, or at *rate* per second in an open loop.
        thresholds: conditions such as ``p95 <= 1s``. Source: seed 002.
    """

    request: SmokeRequest = _START_PAGE
    requests: int = 2000
    concurrency: int | None = 75
    rate: float = 200.0
    seconds_max: float = 30.0
    thresholds: tuple[str, ...] = ("p95 <= 1s", "error_rate <= 1%")


@dataclass(frozen=True, slots=True)
class RedactionProbe:
    """
    *request* carries planted personal data in ``{pii}``; none of it may appear in the files of *logs* or in the
    answer.
    """

    request: SmokeRequest
    logs: tuple[Path, ...]
    settle: float = 1.0


@dataclass(frozen=True, slots=True)
class ShutdownProbe:
    """
    Attributes:
        command: starts the service; ``{port}`` is filled and ``PORT`` set.
        slow: a request that takes a moment and must be answered though SIGTERM comes meanwhile.
        grace: seconds until the process must be gone.
    """

    command: tuple[str, ...]
    slow: SmokeRequest
    env: Mapping[str, str] = field(default_factory=dict)
    grace: float = 30.0
    start_max: float = 30.0


@dataclass(frozen=True, slots=True)
class FilesProbe:
    """
    Attributes:
        source: globs of files that run in production, relative to the tree.
        exclude: globs that are not looked at.
        forbidden: globs of files that must not be in the tree.
        env_example: the file that lists the environment variables the service reads.
    """

    source: tuple[str, ...] = ("**/*.py", "**/*.js", "**/*.ts", "**/*.tsx", "**/*.jsx", "**/*.html")
    exclude: tuple[str, ...] = (
        "tests/**", "**/tests/**", "test/**", "**/*.test.*", "**/test_*.py", "node_modules/**", "**/node_modules/**",
        ".venv/**", "venv/**", ".git/**", "docs/**", "examples/**", ".golive/**",
    )  # fmt: skip
    forbidden: tuple[str, ...] = ("**/._*", "**/.DS_Store", "**/Thumbs.db", "**/*.pem", "**/*.key", "**/.env")
    env_example: str = ".env.example"


@dataclass(frozen=True, slots=True)
class Target:
    """
    What to judge.

    Attributes:
        url: where the service answers; empty for gates on files only.
        root: the source tree; None when there is none at hand.
        headers: sent with every request, e.g. an Authorization of a test account.
        startup_timeout: until ready. Source: seed 002, 120 s.
        protected: paths that must refuse a caller without credentials.
        remote_allowed: a load gate may run against a host that is not this machine.
        promises: what is promised beyond that, at most one of each kind; see :mod:`golive.promises`.
        version: of what is judged, when it is known.
        plan: the settings plan-lint compares.
    """

    url: str = ""
    root: Path | None = None
    environment: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    startup_timeout: float = 120.0
    health: HealthProbe = HealthProbe()
    smoke: tuple[SmokeRequest, ...] = ()
    stability: StabilityProbe = StabilityProbe()
    jobs: JobsProbe | None = None
    routes: RoutesProbe | None = None
    idempotency: IdempotencyProbe | None = None
    cors: CorsProbe | None = None
    load: LoadProbe = LoadProbe()
    redaction: RedactionProbe | None = None
    shutdown: ShutdownProbe | None = None
    metrics_path: str = "/metrics"
    metrics_observed: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    files: FilesProbe = FilesProbe()
    tls_verify: bool = True
    remote_allowed: bool = False
    promises: tuple[Any, ...] = ()
    version: str = ""
    plan: PlanFacts | None = None

    def promise(self, kind: type[T]) -> T | None:
        """The promise of *kind*, or None when nobody made it."""
        return next((made for made in self.promises if isinstance(made, kind)), None)

    def required(self, kind: type[T], table: str) -> T:
        """
        The promise of *kind*.

        Raises: UnavailableError naming the *table* of golive.toml that would make it.
        """
        made = self.promise(kind)
        if made is None:
            raise UnavailableError(f"nothing promised: write [gates.{table}] in golive.toml")
        return made
