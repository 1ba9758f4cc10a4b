"""
The environment as settings: one table of names, every fault reported at once.

A setting is read from its own name (``GOLIVE_CHASSIS_LAME_DUCK``) or from an alias teams already use
(``SHUTDOWN_GRACE_SECONDS``). Two names that disagree are a fault, because guessing which one the operator meant is how
outages start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from golive.chassis.platforms import PLATFORMS
from golive.chassis.settings import ChassisSettings
from golive.errors import ConfigError, did_you_mean
from golive.timing import parse_duration

_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2, "GB": 1000**3}

PREFIX = "GOLIVE_CHASSIS_"


def _text(value: str) -> str:
    return value.strip()


def _duration(value: str) -> timedelta:
    return parse_duration(value)


def _seconds(value: str) -> timedelta:
    """A duration whose alias has the unit in its name, as a bare number."""
    try:
        return timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        raise ValueError(f"expected a number of seconds, got {value!r}") from None


def _milliseconds(value: str) -> timedelta:
    try:
        return timedelta(milliseconds=float(value))
    except (ValueError, OverflowError):
        raise ValueError(f"expected a number of milliseconds, got {value!r}") from None


def _count(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"expected a whole number, got {value!r}") from None


def _size(value: str) -> int:
    match = re.fullmatch(r"\s*(\d+)\s*(B|KiB|MiB|GiB|kB|MB|GB)?\s*", value)
    if match is None:
        raise ValueError(f'expected a size such as "10MiB" or a number of bytes, got {value!r}')
    return int(match[1]) * _SIZES[match[2] or "B"]


def _flag(value: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if value.strip().lower() not in known:
        raise ValueError(f"expected true or false, got {value!r}")
    return known[value.strip().lower()]


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _numbers(value: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _list(value))
    except ValueError:
        raise ValueError(f'expected numbers such as "0.1,0.5,1", got {value!r}') from None


def _aliases(value: str) -> dict[str, str]:
    """``/health=ready,/api/status=ok`` on top of the defaults; ``/=`` takes a default away."""
    aliases = dict(ChassisSettings().aliases)
    for entry in _list(value):
        path, equals, kind = entry.partition("=")
        if not equals:
            raise ValueError(f'expected entries such as "/health=ready", got {entry!r}')
        if kind:
            aliases[path.strip()] = kind.strip()
        else:
            aliases.pop(path.strip(), None)
    return aliases


def _redirects(value: str) -> dict[str, str]:
    """``/old=/new,/v1/*=/api/v1/*``."""
    entries = [entry.partition("=") for entry in _list(value)]
    for old, equals, new in entries:
        if not equals or not new:
            raise ValueError(f'expected entries such as "/old=/new", got {old!r}')
    return {old.strip(): new.strip() for old, _, new in entries}


def _cloud_run(value: str) -> str | None:
    """``CLOUD_RUN_AUTOSCALE=1`` says where the service runs; 0 says nothing."""
    return "cloud-run" if _flag(value) else None


#: setting -> how its own variable is read.
READERS: dict[str, Callable[[str], Any]] = {
    "service": _text,
    "version": _text,
    "environment": _text,
    "platform": _text,
    "fast_boot": _flag,
    "mode": _text,
    "lame_duck": _duration,
    "grace": _duration,
    "boot_linger": _duration,
    "keep_alive": _duration,
    "retry_after": _duration,
    "loop_stall_max": _duration,
    "aliases": _aliases,
    "redirects": _redirects,
    "metrics_from": _list,
    "drain_allow": _list,
    "routes_max": _count,
    "latency_edges_seconds": _numbers,
    "access_log": _flag,
    "require_auth": _flag,
    "jwt_secret": _text,
    "jwks_url": _text,
    "jwt_issuer": _text,
    "jwt_audience": _text,
    "jwt_leeway": _duration,
    "jwt_tenant_claim": _text,
    "api_key_hashes": _list,
    "error_file": _text,
    "sentry_dsn": _text,
    "trusted_proxies": _list,
    "rate_limit": _text,
    "redis_url": _text,
    "rate_limit_redis_url": _text,
    "redis_timeout": _duration,
    "rate_limit_on_store_error": _text,
    "rate_limit_processes": _count,
    "database_url": _text,
    "database_source": _text,
    "db_pool_min": _count,
    "db_pool_max": _count,
    "db_idle_timeout": _duration,
    "db_connect_timeout": _duration,
    "db_statement_timeout": _duration,
    "db_slow_query": _duration,
    "db_held_max": _duration,
    "db_processes": _count,
    "db_replicas": _count,
    "idempotency_store": _text,
    "problems": _flag,
    "strict_json": _flag,
    "fast_path": _flag,
    "head_max_bytes": _size,
    "body_max_bytes": _size,
    "concurrency_max": _count,
    "request_timeout": _duration,
    "head_timeout": _duration,
    "body_timeout": _duration,
    "cors_origins": _list,
    "cors_subdomains_of": _list,
    "cors_methods": _list,
    "cors_headers": _list,
    "cors_credentials": _flag,
    "cors_max_age": _duration,
}

#: alias -> the setting it feeds and how it is read. The documents teams bring use these names.
ALIASES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "GOLIVE_SERVICE": ("service", _text),
    "GOLIVE_VERSION": ("version", _text),
    "GOLIVE_ENV": ("environment", _text),
    "SHUTDOWN_GRACE_SECONDS": ("grace", _seconds),
    "KEEP_ALIVE_SECONDS": ("keep_alive", _seconds),
    "REQUIRE_AUTH": ("require_auth", _flag),
    "JWT_SECRET": ("jwt_secret", _text),
    "SUPABASE_JWT_SECRET": ("jwt_secret", _text),
    "JWKS_URL": ("jwks_url", _text),
    "JWT_ISSUER": ("jwt_issuer", _text),
    "JWT_AUDIENCE": ("jwt_audience", _text),
    "API_KEY_HASHES": ("api_key_hashes", _list),
    "SENTRY_DSN": ("sentry_dsn", _text),
    "TRUSTED_PROXIES": ("trusted_proxies", _list),
    "REDIS_URL": ("redis_url", _text),
    "DATABASE_URL": ("database_url", _text),
    "DATABASE_SOURCE": ("database_source", _text),
    "CLOUD_RUN_AUTOSCALE": ("platform", _cloud_run),
    "FAST_BOOT": ("fast_boot", _flag),
    "PG_MAX": ("db_pool_max", _count),
    "DB_POOL_MAX": ("db_pool_max", _count),
    "PG_MIN": ("db_pool_min", _count),
    "DB_POOL_MIN": ("db_pool_min", _count),
    "PG_IDLE_TIMEOUT_MS": ("db_idle_timeout", _milliseconds),
    "PG_CONNECTION_TIMEOUT_MS": ("db_connect_timeout", _milliseconds),
    "RATE_LIMIT_REDIS_URL": ("rate_limit_redis_url", _text),
    "CORS_ORIGINS": ("cors_origins", _list),
    "CORS_ALLOW_CREDENTIALS": ("cors_credentials", _flag),
}


def read(environ: Mapping[str, str] | None = None) -> ChassisSettings:
    """See :meth:`ChassisSettings.from_env`."""
    environ = os.environ if environ is None else environ
    faults = _unknown(environ)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for variable, setting, reader in _variables():
        raw = environ.get(variable, "")
        if not raw.strip():
            continue
        try:
            value = reader(raw)
        except ValueError as error:
            faults.append(f"{variable}: {error}")
            continue
        if value is None:
            continue
        if setting in values and values[setting] != value:
            faults.append(f"{variable}: disagrees with {origins[setting]}. Set one of them.")
        values[setting], origins[setting] = value, variable
    if values.get("environment") == "production" and "CORS_ORIGINS" in environ and "cors_origins" not in values:
        faults.append("CORS_ORIGINS: expected at least one origin in production, got none. List them or unset it.")
    return _settings(values, origins, faults)


def _variables() -> list[tuple[str, str, Callable[[str], Any]]]:
    own = [
        (prefix + setting.upper(), setting, reader)
        for prefix in (PREFIX, PREFIX + "_")  # the second as golive.toml's other sections are overridden
        for setting, reader in READERS.items()
    ]
    return own + [(alias, setting, reader) for alias, (setting, reader) in ALIASES.items()]


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = [PREFIX + setting.upper() for setting in READERS]
    return [
        f"{name}: no such setting{did_you_mean(name, known)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and PREFIX + name.removeprefix(PREFIX).removeprefix("_") not in known
    ]


def _settings(values: dict[str, Any], origins: dict[str, str], faults: list[str]) -> ChassisSettings:
    """Construct, so that faults in values join the faults in spelling, each under the variable it came from."""
    platform = PLATFORMS.get(values.get("platform", ""))
    if platform is not None:
        values = {"lame_duck": platform.lame_duck, "grace": platform.grace, **values}
    try:
        settings = ChassisSettings(**values)
    except ConfigError as error:
        faults.extend(_named(fault, origins) for fault in error.faults)
    if faults:
        raise ConfigError(*faults)
    return settings


def _named(fault: str, origins: dict[str, str]) -> str:
    place, colon, rest = fault.partition(":")
    variable = origins.get(place.removeprefix("chassis."))
    return f"{variable}{colon}{rest}" if variable else fault
