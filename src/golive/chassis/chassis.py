"""
The chassis of one service: its settings, its state, and the three lines a team adds.

    chassis = Chassis.from_env()
    app = chassis.wrap(app)

    @chassis.check("db", timeout=1.0)
    async def db() -> None:
        await pool.execute("select 1")
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from golive.chassis.addresses import TrustedProxies
from golive.chassis.auth import Auth
from golive.chassis.breaker import Breaker, BreakerRules, rule_faults
from golive.chassis.capture import Capture, ErrorSink, FileSink, Sinks
from golive.chassis.core import Core
from golive.chassis.cors import Cors
from golive.chassis.health import Check, CheckFunction, Checks
from golive.chassis.httpmetrics import HttpMetrics
from golive.chassis.idempotencycache import ResultCache
from golive.chassis.lifecycle import Lifecycle
from golive.chassis.limits import Limits
from golive.chassis.log import LogSink
from golive.chassis.metrics import Metrics
from golive.chassis.once import Once
from golive.chassis.operations import Operations
from golive.chassis.process import register_process_metrics
from golive.chassis.ratelimit import RateLimits
from golive.chassis.report import report, warnings_of
from golive.chassis.routerules import RouteRules
from golive.chassis.routes import hidden_routes
from golive.chassis.settings import ChassisSettings
from golive.chassis.storechecks import StoreChecks
from golive.chassis.stores.choice import open_store
from golive.chassis.types import ASGIApp, Message, Receive, Scope, Send
from golive.chassis.views import View, Views
from golive.chassis.watchdog import Watchdog
from golive.errors import ConfigError
from golive.timing import parse_duration

if TYPE_CHECKING:
    from golive.chassis.engines import WatchedEngine
    from golive.chassis.fleetlink import FleetLink
    from golive.chassis.pool import Pool
    from golive.chassis.sentry import SentrySink
    from golive.chassis.stores.redisbreakers import RedisBreakers
    from golive.chassis.stores.redislink import RedisLink

EngineT = TypeVar("EngineT")
FunctionT = TypeVar("FunctionT", bound=CheckFunction)


class Chassis(RouteRules):
    """
    What surrounds one ASGI app in production.

    Args:
        settings: checked when constructed; the defaults suit a service behind a balancer.

    Attributes:
        settings: see :class:`ChassisSettings`.
        metrics: the registry that ``/metrics`` renders; register your own families here.
        lifecycle: the phase of the process and the requests in flight.
        checks: the readiness checks; add them with :meth:`check`.
        log: one JSON object per line on standard output.
        booted_by_server: ``golive serve`` decides when serving begins; otherwise the lifespan does, or the first
            request.
        fleet: the line to the supervisor, in one of several workers; metrics are then those of all.
    """

    def __init__(self, settings: ChassisSettings | None = None) -> None:
        self.settings = settings or ChassisSettings()
        self.lifecycle = Lifecycle()
        self.log = LogSink()
        self.booted_by_server = False
        self._began = False
        self.fleet: FleetLink | None = None
        self.metrics = Metrics()
        self._links: dict[str, RedisLink] = {}
        self.breakers: dict[str, Breaker] = {}
        self.pools: dict[str, Pool] = {}
        self.engines: dict[str, WatchedEngine] = {}
        self.ruled: list[Callable[..., object]] = []
        self.http_metrics = HttpMetrics(
            self.metrics, routes_max=self.settings.routes_max, edges_seconds=self.settings.latency_edges_seconds
        )
        self.cors = Cors(self.settings.cors) if self.settings.cors is not None else None
        self.limits = Limits(self)
        self.rates = RateLimits(self)
        self.sentry: SentrySink | None = None
        self.capture = Capture(self._error_sink())
        self.auth = Auth(self)
        near = self.settings.idempotency_store == "memory"
        self.once = Once(self, open_store(self), None if near else ResultCache())
        self.proxies = TrustedProxies(self.settings.trusted_proxies) if self.settings.trusted_proxies else None
        self.watchdog = Watchdog(self.settings.loop_stall_max.total_seconds(), self._stalled)
        self.checks = Checks(self._check_changed)
        self.views = Views(self)
        self.operations = Operations(self)
        self.stores = StoreChecks(self)
        self._register_metrics()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Chassis:
        """
        A chassis with the settings the environment asks for; see ``docs/chassis.md`` for the names.

        Raises: ConfigError with every fault found, each naming its variable.
        """
        return cls(ChassisSettings.from_env(environ))

    def wrap(self, app: ASGIApp) -> Core:
        """*app* inside the chassis. The result is an ASGI app for any server; put nothing around it."""
        if isinstance(app, Core) and app.chassis is self:
            return app
        return Core(self, app)

    def check(
        self,
        name: str,
        *,
        timeout: float = 1.0,
        every: float = 5.0,
        fail: int = 3,
        ok: int = 1,
        startup: bool = False,
        needed: bool = True,
    ) -> Callable[[FunctionT], FunctionT]:
        """
        Register a readiness check; the decorated function is returned unchanged.

        Args:
            name: shown in ``/health/ready``; a second check of the same name replaces the first.
            timeout: seconds one run may take, > 0.
            every: seconds between two runs, > 0.
            fail: failures in a row that make the instance not ready, >= 1.
            ok: passes in a row that make it ready again, >= 1.
            startup: hold the start until it has passed once: ``/startupz`` and the app answer 503 until then.
            needed: without it the instance is not ready; ``False`` shows and measures it, and no more.

        Raises: ConfigError naming every argument that is out of range.
        """
        faults = [f"check {name!r}: {label}: expected a number > 0, got {value!r}."
                  for label, value in (("timeout", timeout), ("every", every)) if not value > 0]  # fmt: skip
        faults += [f"check {name!r}: {label}: expected a whole number >= 1, got {value!r}."
                   for label, value in (("fail", fail), ("ok", ok)) if value < 1]  # fmt: skip
        if faults:
            raise ConfigError(*faults)

        def register(function: FunctionT) -> FunctionT:
            check = Check(
                name, function, timeout=timeout, every=every, fail=fail, ok=ok, startup=startup, needed=needed
            )
            self.checks.add(check)
            return function

        return register

    def breaker(
        self,
        name: str,
        *,
        failure_ratio: float = 0.5,
        calls_min: int = 10,
        window: str = "30s",
        open_for: str = "5s",
        probes: int = 1,
        shared: bool | None = None,
    ) -> Breaker:
        """
        The circuit breaker *name*: ``async with chassis.breaker("payments"): await client.post(...)``.

        See :class:`golive.chassis.breaker.BreakerRules`. The same name is the same breaker everywhere.

        Args:
            shared: one state for all processes, in ``redis_url``; by default when that is set.
        Raises: ConfigError naming every argument that is wrong, or that the name has other rules already.
        """
        try:
            seconds = [parse_duration(text).total_seconds() for text in (window, open_for)]
        except ValueError as error:
            raise ConfigError(f"breaker {name!r}: window, open_for: {error}") from None
        rules = BreakerRules(failure_ratio, calls_min, seconds[0], seconds[1], probes)
        faults = rule_faults(name, rules)
        if shared and not self.settings.redis_url:
            faults.append(f"breaker {name!r}: shared: expected redis_url (REDIS_URL) to be set.")
        held = self.breakers.get(name)
        if held is not None and held.rules != rules:
            faults.append(f"breaker {name!r}: expected the rules it was made with, got others. Make it in one place.")
        if faults:
            raise ConfigError(*faults)
        if held is None:
            held = self.breakers[name] = Breaker(self, name, rules, self._shared_breakers(shared))
        return held

    def _shared_breakers(self, shared: bool | None) -> RedisBreakers | None:
        if shared is False or not self.settings.redis_url:
            return None
        from golive.chassis.stores.redisbreakers import RedisBreakers

        return RedisBreakers(self.link(self.settings.redis_url), self.settings.service)

    def pool(self, url: str = "", *, name: str = "db") -> Pool:
        """
        The service's pool of PostgreSQL connections; see :class:`golive.chassis.pool.Pool` and the ``db_`` settings.

        The same name is the same pool. A readiness check of that name is registered with it.

        Args:
            url: instead of ``database_url``.
        Raises: ConfigError when there is no URL, asyncpg is missing, or an engine has the name.
        """
        from golive.chassis.pool import Pool
        from golive.chassis.stores.choice import plain_url

        if name in self.engines:
            raise ConfigError(
                f"pool: expected a name that no watched engine has, got {name!r}. Give watch(engine, name=...) another."
            )
        if name not in self.pools:
            place = plain_url(url or self.settings.database_url)
            if not place.startswith(("postgres://", "postgresql://")):
                raise ConfigError("pool: expected database_url (DATABASE_URL) to name a PostgreSQL database, got none.")
            pool = self.pools[name] = Pool(self, place, name)
            wait = self.settings.db_connect_timeout.total_seconds()
            self.check(name, timeout=wait + 1.0)(pool.check)
        return self.pools[name]

    def watch(self, engine: EngineT, *, name: str = "db") -> EngineT:
        """
        Measure a SQLAlchemy engine, sync or async, as :meth:`pool` is; see :mod:`golive.chassis.engines`.

        Returns: *engine* itself. A readiness check of that name is registered with it.
        Raises: ConfigError when SQLAlchemy is missing, or the name is taken.
        """
        from golive.chassis.engines import WatchedEngine

        if name in self.pools or name in self.engines:
            raise ConfigError(
                f"watch: expected a name that no pool has, got {name!r}. Say name=... for each of several."
            )
        watched = self.engines[name] = WatchedEngine(self, engine, name)
        self.check(name, timeout=self.settings.db_connect_timeout.total_seconds() + 1.0, every=2.0)(watched.check())
        return engine

    def view(self, name: str, *, every: str = "5m", always: bool = False, blocking: bool = False) -> View:
        """
        Keep the materialised view *name* fresh in the background; see :class:`golive.chassis.views.View`.

        Args:
            every: at most one refresh in this time, by one process of the fleet.
            always: refresh each time; otherwise only after :meth:`View.changed` was called.
            blocking: refresh a view without a unique index too, locking its readers out meanwhile.
        Raises: ConfigError when there is no database, the name is none, or *every* is no duration.
        """
        self.pool()
        try:
            period = parse_duration(every)
        except ValueError as error:
            raise ConfigError(f"view {name!r}: every: {error}") from None
        if period.total_seconds() <= 0:
            raise ConfigError(f"view {name!r}: every: expected a duration > 0s, got {every!r}.")
        return self.views.add(View(name, period, always=always, blocking=blocking))

    def report(self) -> dict[str, Any]:
        """What is switched on, with which numbers, how it is, and what deserves a second look; plain data."""
        return report(self)

    def capture_errors_to(self, sink: ErrorSink) -> None:
        """Deliver unhandled errors to *sink* (a tracker of your choice) instead of ``error_file``."""
        self.capture = Capture(sink)

    async def run_lifespan(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the lifespan on to *app*; serving begins when it has started and the background work ends with it."""

        async def observed(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._look_at_routes(app)
                if not self.booted_by_server:
                    self.begin_serving()  # a server of ours does it when it has its signal handlers back
            elif message["type"] == "lifespan.startup.failed":
                self.lifecycle.fail("lifespan", "startup failed")
            await send(message)

        try:
            await app(scope, receive, observed)
        finally:
            self.stop_background()
            await self.once.close()
            for pool in self.pools.values():
                await pool.close()

    def _look_at_routes(self, app: ASGIApp) -> None:
        """Say what the route table cannot mean: routes that nobody reaches, rules that nothing holds."""
        hidden, unheld = hidden_routes(app), self.unheld(app)
        if hidden:
            self.log.event("routes_shadowed", level="warning", routes=hidden[:20])
        if unheld:
            why = "no route of the app has them, or its route table is not one we can read"
            self.log.event("rules_not_held", level="error", endpoints=unheld[:20], message=f"Rules not held: {why}.")

    def begin_serving(self) -> None:
        """
        The app is ready to take requests: start the checks and the watchdog. Needs a running event loop.

        A check of the start that has not passed yet holds it; serving then begins with its first pass.
        """
        self.checks.start()
        self.once.prepare()
        self._began = True
        if self.checks.holding:
            self.lifecycle.hold("checks")
            return
        self.lifecycle.serve()
        self.views.start()
        self.watchdog.start()
        if self.auth.key_set is not None:
            self.auth.key_set.fetch_ahead()
        warnings = warnings_of(self) if self.settings.environment == "production" else []
        if warnings:
            self.log.event("report", level="warning", warnings=warnings)

    def stop_background(self) -> None:
        """Stop the checks and the watchdog, and leave the shared stores."""
        for link in self._links.values():
            link.close()
        self.checks.stop()
        self.views.stop()
        self.watchdog.stop()

    def link(self, url: str) -> RedisLink:
        """
        The one connection of this process to the server at *url*; everything that uses that server shares it.

        Raises: ConfigError when hiredis is not installed.
        """
        if url not in self._links:
            from golive.chassis.stores.redislink import RedisLink

            self._links[url] = RedisLink(url, self.settings.redis_timeout.total_seconds())
        return self._links[url]

    def join(self, lifecycle: Lifecycle, log: LogSink) -> None:
        """Share the process's *lifecycle* and *log*: the server was answering before this chassis was imported."""
        self.lifecycle, self.log, self.booted_by_server = lifecycle, log, True

    def _error_sink(self) -> ErrorSink | None:
        """The file, Sentry, both or none. A DSN that names no project is said and ends nothing."""
        from golive.chassis.sentry import SentrySink, dsn_fault

        settings = self.settings
        sinks: list[ErrorSink] = []
        if settings.error_file:
            sinks.append(FileSink(settings.error_file))
        fault = dsn_fault(settings.sentry_dsn) if settings.sentry_dsn else ""
        if fault:
            self.log.event("sentry_dsn", level="warning", message=f"sentry_dsn: {fault}. Nothing is sent.")
        elif settings.sentry_dsn:
            release = f"{settings.service}@{settings.version}"
            self.sentry = SentrySink(settings.sentry_dsn, release=release, environment=settings.environment)
            sinks.append(self.sentry)
        return sinks[0] if len(sinks) == 1 else Sinks(*sinks) if sinks else None

    def _check_changed(self, check: Check) -> None:
        level = "info" if check.status == "pass" else "warning"
        self.log.event("check", level=level, check=check.name, status=check.status, output=check.output[:500])
        self._check_status.set(1.0 if check.status == "pass" else 0.0, check.name)
        if check.startup and self._began and not self.lifecycle.started:
            self.begin_serving()

    def _stalled(self, seconds: float, stack: str) -> None:
        self.log.event("event_loop_blocked", level="error", seconds=round(seconds, 3), stack=stack[-8192:])

    def _register_metrics(self) -> None:
        metrics = self.metrics
        metrics.gauge(
            "http_requests_in_flight", "Requests inside the app now.", source=lambda: float(self.lifecycle.in_flight)
        )
        metrics.counter(
            "event_loop_stalls_total",
            "Times the loop was blocked too long.",
            source=lambda: float(self.watchdog.stalls),
        )
        metrics.gauge(
            "event_loop_lag_seconds",
            "How late the last heartbeat was.",
            source=lambda: self.watchdog.lag_seconds,
            across="max",
        )
        metrics.counter(
            "log_lines_dropped_total",
            "Log lines lost because the reader was too slow.",
            source=lambda: float(self.log.dropped),
        )
        for outcome in ("captured", "suppressed", "dropped", "failed"):
            metrics.counter(
                f"errors_{outcome}_total",
                f"Unhandled errors {outcome} on their way to the error sink.",
                source=lambda outcome=outcome: float(getattr(self.capture, outcome)),  # type: ignore[misc]
            )
        metrics.counter(
            "errors_undelivered_total",
            "Captured errors that Sentry did not take.",
            source=lambda: float(self.sentry.lost if self.sentry is not None else 0),
        )
        self._check_status = metrics.gauge("health_check_status", "1 when the check passes.", ("check",), across="min")
        build = metrics.gauge("build_info", "The version that is running.", ("service", "version"), across="max")
        build.set(1.0, self.settings.service, self.settings.version)
        register_process_metrics(metrics, started_at=time.time(), pid=os.getpid())
