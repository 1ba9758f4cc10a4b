"""
What the chassis can be told, with every default's reason beside it.

A plain frozen dataclass, because this is read before the user's app is imported and must cost nothing. The environment
is read by :mod:`golive.chassis.environment`; both report *all* faults at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from golive.chassis.cors import DEFAULT_HEADERS, DEFAULT_METHODS, CorsRules
from golive.chassis.platforms import PLATFORMS
from golive.errors import ConfigError

#: Upper edges in seconds. 1, 3, 5, 90 and 120 s are the thresholds of the SLO tables golive grew up with, so that
#: "p95 <= 1 s" is read exactly and not interpolated.
LATENCY_EDGES_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 90.0, 120.0,
)  # fmt: skip

#: What an alias may answer with.
ALIAS_KINDS = ("live", "ready", "startup", "ok", "status", "database")

#: The paths of the documents teams bring.
_DEFAULT_ALIASES: Mapping[str, str] = MappingProxyType(
    {"/": "ok", "/healthz": "ok", "/health": "ready", "/api/status": "status", "/api/db/info": "database"}
)


@dataclass(frozen=True, slots=True)
class ChassisSettings:
    """
    Settings of one service. Construction checks them together.

    Attributes:
        service: the name in logs and in ``build_info``.
        version: the version in logs and in ``build_info``; the deployer sets ``GOLIVE_VERSION``.
        environment: ``development`` relaxes, ``production`` insists.
        platform: ``kubernetes``, ``cloud-run``, ``ecs``, ``systemd`` or empty; gives lame_duck and grace their
            defaults in the environment, and refuses a shutdown that does not fit into the platform's patience.
        fast_boot: answer probes before the app is imported; without it nobody listens before the app can serve.
        mode: what ``/healthz`` says the service is (``mono``); the phase of the process when empty.
        lame_duck: how long to go on serving after SIGTERM while readiness says 503. 3 s covers a balancer that asks
            every second and wants two failures.
        grace: how long requests in flight may take to finish after that. With the lame duck it stays below the 30 s
            Kubernetes waits.
        boot_linger: how long a failed start stays up so that a prober can read ``/startupz``.
        keep_alive: idle time before a connection is closed. 75 s, because it must be longer than the gateway's idle
            time-out (60 s is usual) or the gateway writes into a closing connection.
        retry_after: what a refused caller is told to wait.
        loop_stall_max: an event loop blocked for longer makes ``/livez`` fail.
        aliases: path -> what it answers; an alias gives way to a route of the app.
        redirects: old address -> new one, answered 307; both end with ``/*`` for everything below.
        metrics_from: who may read ``/metrics``: ``private`` (an address that is not on the internet, without a proxy
            that nobody named in between), networks, or ``*``. Everybody else is told that there is nothing (404).
        drain_allow: paths of the app that are served even while draining.
        routes_max: route templates that get their own metric series; the others share ``__overflow__``.
        latency_edges_seconds: upper edges of the latency histogram, ascending.
        access_log: write one JSON line per request.
        require_auth: every route needs credentials, except those marked public; probes never do.
        jwt_secret: verifies bearer tokens signed with HS256; at least 32 bytes.
        jwks_url: where an identity provider publishes the keys of bearer tokens signed with RSA, ECDSA or Ed25519.
        jwt_issuer, jwt_audience: what tokens must name; empty for any.
        jwt_leeway: by how much clocks may differ.
        jwt_tenant_claim: the claim that names the tenant; dots lead into objects (``app_metadata.tenant``).
        api_key_hashes: ``name:sha256``, ``name@tenant:sha256`` or ``name:sha256:scope scope`` for each accepted
            ``X-API-Key``.
        error_file: unhandled errors are appended here, one redacted JSON line each; empty for none.
        sentry_dsn: unhandled errors are sent there, redacted, by a thread; empty for none.
        trusted_proxies: addresses and networks whose X-Forwarded-For and -Proto are believed.
        rate_limit: requests one address may make, such as ``"100/minute"``; empty for no limit.
        redis_url: a Redis or Valkey server that all processes share; limits are then counted there.
        rate_limit_redis_url: instead of redis_url, for the rate limit.
        redis_timeout: what one decision may wait for that server. 50 ms, because callers wait for it.
        rate_limit_on_store_error: without the server ``local``: each process allows its share; ``closed``: 503.
        rate_limit_processes: how many processes share a quota; what ``local`` divides it by.
        database_url: the service's PostgreSQL; for ``idempotency_store = "postgres"`` and :meth:`Chassis.pool`.
        database_source: ``postgres`` insists on database_url; ``sqlite`` or empty does not.
        db_pool_min, db_pool_max: connections :meth:`Chassis.pool` keeps and may open, in each process.
        db_idle_timeout: an unused connection is closed after it.
        db_connect_timeout: what a request waits for a connection, then 503.
        db_statement_timeout: what one statement may take, then 503.
        db_slow_query: a statement that takes longer is logged, without its values.
        db_held_max: a connection held for longer is reported with the route that holds it.
        db_processes, db_replicas: how many pools there are: processes of an instance, instances. Their sum is compared
            with what the server allows.
        idempotency_store: ``memory``; ``sqlite:<file>``, which all processes of the machine share; ``redis`` (the
            server of redis_url) or ``postgres`` (the database of database_url), which a fleet shares; or their URL.
        problems: translate the framework's default errors into problem documents (RFC 9457).
        strict_json: refuse JSON that becomes a server error later (NaN, half characters, NUL, no UTF-8) with 400.
        fast_path: serve plain JSON routes of FastAPI without what they do not use; see
            :mod:`golive.chassis.fastpath`.
        head_max_bytes: size of request line and headers together; beyond it 431.
        body_max_bytes: size of a body; beyond it 413.
        concurrency_max: requests in the app at once; beyond it 503 with Retry-After. Probes are not limited.
        request_timeout: time the app has for an answer, then 504; 0s for none, because streams are endless.
        head_timeout: time a client has to send a head (``golive serve`` only).
        body_timeout: time a client has to send a body (``golive serve`` only); longer than the slowest legitimate
            upload.
        cors_origins, cors_subdomains_of, cors_methods, cors_headers, cors_credentials, cors_max_age: see
            :class:`golive.chassis.cors.CorsRules`; no origin at all means no cross-origin rules.

    Raises: ConfigError with every fault found.
    """

    service: str = "app"
    version: str = "unknown"
    environment: str = "development"
    platform: str = ""
    fast_boot: bool = True
    mode: str = ""
    lame_duck: timedelta = timedelta(seconds=3)
    grace: timedelta = timedelta(seconds=25)
    boot_linger: timedelta = timedelta(seconds=2)
    keep_alive: timedelta = timedelta(seconds=75)
    retry_after: timedelta = timedelta(seconds=2)
    loop_stall_max: timedelta = timedelta(seconds=10)
    aliases: Mapping[str, str] = field(default_factory=lambda: _DEFAULT_ALIASES)
    redirects: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    metrics_from: tuple[str, ...] = ("private",)
    drain_allow: tuple[str, ...] = ()
    routes_max: int = 1000
    latency_edges_seconds: tuple[float, ...] = LATENCY_EDGES_SECONDS
    access_log: bool = True
    require_auth: bool = False
    jwt_secret: str = field(default="", repr=False)
    jwks_url: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_leeway: timedelta = timedelta(seconds=30)
    jwt_tenant_claim: str = "tenant"
    api_key_hashes: tuple[str, ...] = field(default=(), repr=False)
    error_file: str = ""
    sentry_dsn: str = field(default="", repr=False)
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    rate_limit: str = ""
    redis_url: str = field(default="", repr=False)
    rate_limit_redis_url: str = field(default="", repr=False)
    redis_timeout: timedelta = timedelta(milliseconds=50)
    rate_limit_on_store_error: str = "local"
    rate_limit_processes: int = 1
    database_url: str = field(default="", repr=False)
    database_source: str = ""
    db_pool_min: int = 0
    db_pool_max: int = 5
    db_idle_timeout: timedelta = timedelta(seconds=30)
    db_connect_timeout: timedelta = timedelta(seconds=3)
    db_statement_timeout: timedelta = timedelta(seconds=30)
    db_slow_query: timedelta = timedelta(milliseconds=500)
    db_held_max: timedelta = timedelta(seconds=30)
    db_processes: int = 1
    db_replicas: int = 1
    idempotency_store: str = field(default="memory", repr=False)
    problems: bool = True
    strict_json: bool = True
    fast_path: bool = True
    head_max_bytes: int = 32 * 1024
    body_max_bytes: int = 10 * 1024 * 1024
    concurrency_max: int = 1000
    request_timeout: timedelta = timedelta(0)
    head_timeout: timedelta = timedelta(seconds=10)
    body_timeout: timedelta = timedelta(seconds=60)
    cors_origins: tuple[str, ...] = ()
    cors_subdomains_of: tuple[str, ...] = ()
    cors_methods: tuple[str, ...] = DEFAULT_METHODS
    cors_headers: tuple[str, ...] = DEFAULT_HEADERS
    cors_credentials: bool = False
    cors_max_age: timedelta = timedelta(minutes=10)

    @property
    def cors(self) -> CorsRules | None:
        """The cross-origin rules, or None when there are none."""
        if not self.cors_origins and not self.cors_subdomains_of:
            return None
        return CorsRules(
            origins=self.cors_origins,
            subdomains_of=self.cors_subdomains_of,
            methods=self.cors_methods,
            headers=self.cors_headers,
            credentials=self.cors_credentials,
            max_age_seconds=round(self.cors_max_age.total_seconds()),
        )

    def __post_init__(self) -> None:
        faults = list(_faults(self))
        if faults:
            raise ConfigError(*faults)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> ChassisSettings:
        """
        The settings the environment asks for (``GOLIVE_CHASSIS_*`` and the names in ``docs/chassis.md``).

        Args:
            environ: instead of ``os.environ``, for tests.
        Raises: ConfigError with every fault found, each naming its variable.
        """
        from golive.chassis.environment import read

        return read(environ)


def _faults(settings: ChassisSettings) -> list[str]:
    return [
        *_duration_faults(settings),
        *_platform_faults(settings),
        *_path_faults(settings),
        *_metric_faults(settings),
        *_name_faults(settings),
        *_cors_faults(settings),
        *_caller_faults(settings),
    ]


def _caller_faults(settings: ChassisSettings) -> list[str]:
    from golive.chassis.addresses import parse_network
    from golive.chassis.auth import auth_faults
    from golive.chassis.ratelimit import parse_rule
    from golive.chassis.stores.choice import store_kind

    faults = [f"chassis.{fault}" for fault in auth_faults(settings)]
    if settings.rate_limit_on_store_error not in ("local", "closed"):
        got = settings.rate_limit_on_store_error
        faults.append(f"chassis.rate_limit_on_store_error: expected local or closed, got {got!r}.")
    faults += [*_redis_faults(settings), *_database_faults(settings)]
    callers = [network for network in settings.metrics_from if network not in ("private", "*")]
    for name, networks in (("trusted_proxies", settings.trusted_proxies), ("metrics_from", callers)):
        for network in networks:
            try:
                parse_network(network)
            except ValueError as error:
                faults.append(f"chassis.{name}: {error}.")
    checks = (
        ("rate_limit", lambda: parse_rule(settings.rate_limit or "1/s")),
        ("idempotency_store", lambda: store_kind(settings)),
    )
    for name, check in checks:
        try:
            check()
        except ValueError as error:
            faults.append(f"chassis.{name}: {error}.")
    return faults


def _redis_faults(settings: ChassisSettings) -> Iterator[str]:
    from golive.chassis.stores.redisurl import parse_url

    for name in ("redis_url", "rate_limit_redis_url"):
        try:
            parse_url(getattr(settings, name) or "redis://unset")
        except ValueError as error:
            yield f"chassis.{name}: {error}."


def _database_faults(settings: ChassisSettings) -> Iterator[str]:
    if not 0 <= settings.db_pool_min <= settings.db_pool_max:
        most = settings.db_pool_max
        yield f"chassis.db_pool_min: expected 0 to db_pool_max ({most}), got {settings.db_pool_min}."
    if settings.database_source not in ("", "postgres", "sqlite"):
        yield f"chassis.database_source: expected postgres or sqlite, got {settings.database_source!r}."
    elif settings.database_source == "postgres" and not settings.database_url.startswith("postgres"):
        yield "chassis.database_url: expected a PostgreSQL URL, because database_source is postgres, got none."


def _cors_faults(settings: ChassisSettings) -> list[str]:
    rules = settings.cors
    if rules is None:
        return []
    return [f"chassis.{fault}" for fault in rules.faults(production=settings.environment == "production")]


def _name_faults(settings: ChassisSettings) -> list[str]:
    faults = []
    if settings.environment not in ("development", "staging", "production"):
        faults.append(
            f"chassis.environment: expected development, staging or production, got {settings.environment!r}."
        )
    for name in ("service", "version", "mode"):
        value = getattr(settings, name)
        if (not value and name != "mode") or len(value) > 128 or not value.isprintable():
            faults.append(f"chassis.{name}: expected 1 to 128 printable characters, got {value[:40]!r}.")
    return faults


_POSITIVE = (
    "keep_alive", "retry_after", "loop_stall_max", "cors_max_age", "head_timeout", "body_timeout", "redis_timeout",
    "db_idle_timeout", "db_connect_timeout", "db_statement_timeout", "db_slow_query", "db_held_max",
)  # fmt: skip


def _duration_faults(settings: ChassisSettings) -> list[str]:
    zero = timedelta(0)
    faults = [
        f"chassis.{name}: expected a duration >= 0s, got {getattr(settings, name)}."
        for name in ("lame_duck", "grace", "boot_linger", "request_timeout", "jwt_leeway")
        if getattr(settings, name) < zero
    ]
    faults += [
        f"chassis.{name}: expected a duration > 0s, got {getattr(settings, name)}."
        for name in _POSITIVE
        if getattr(settings, name) <= zero
    ]
    return faults


def _platform_faults(settings: ChassisSettings) -> list[str]:
    if not settings.platform:
        return []
    known = PLATFORMS.get(settings.platform)
    if known is None:
        return [f"chassis.platform: expected one of {', '.join(PLATFORMS)}, got {settings.platform!r}."]
    needed = settings.lame_duck + settings.grace
    if needed < known.limit:
        return []
    return [
        f"chassis.grace: expected lame_duck + grace below the {known.limit.total_seconds():g} s {settings.platform} "
        f"waits, got {needed.total_seconds():g} s. Requests in flight would be killed."
    ]


def _path_faults(settings: ChassisSettings) -> list[str]:
    from golive.chassis.redirects import redirect_faults

    faults = [f"chassis.{fault}" for fault in redirect_faults(settings.redirects)]
    for path, kind in settings.aliases.items():
        if not path.startswith("/"):
            faults.append(f'chassis.aliases: expected a path that begins with "/", got {path!r}.')
        if kind not in ALIAS_KINDS:
            faults.append(f"chassis.aliases: {path}: expected one of {', '.join(ALIAS_KINDS)}, got {kind!r}.")
    faults += [
        f'chassis.drain_allow: expected a path that begins with "/", got {path!r}.'
        for path in settings.drain_allow
        if not path.startswith("/")
    ]
    return faults


def _metric_faults(settings: ChassisSettings) -> list[str]:
    faults = [
        f"chassis.{name}: expected a number >= 1, got {getattr(settings, name)}."
        for name in (
            "head_max_bytes",
            "body_max_bytes",
            "concurrency_max",
            "rate_limit_processes",
            "db_pool_max",
            "db_processes",
            "db_replicas",
        )
        if getattr(settings, name) < 1
    ]
    if not 1 <= settings.routes_max <= 100_000:
        faults.append(f"chassis.routes_max: expected 1 to 100000, got {settings.routes_max}.")
    edges = settings.latency_edges_seconds
    if not edges or any(not 0 < edge < float("inf") for edge in edges) or list(edges) != sorted(set(edges)):
        faults.append(f"chassis.latency_edges_seconds: expected ascending numbers > 0, got {list(edges)}.")
    return faults
