"""
Settings from the process environment: ``GOLIVE_ROLLOUT__WATCH=1h``, and the names teams already use, as aliases.

The aliases come from five different documents. When two variables set the same thing and disagree, nobody can know
which was meant: that is a fault. An empty variable counts as not set.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, get_origin

from golive.config.locate import Path
from golive.config.shape import annotation_at, keys_at
from golive.errors import did_you_mean
from golive.slo.units import Unit, format_quantity
from golive.timing import format_duration, parse_duration

PREFIX = "GOLIVE_"
ENVIRONMENT = "GOLIVE_ENV"
"""Chooses the table ``[environments.NAME]``."""


@dataclass(frozen=True, slots=True)
class Override:
    """*value*, as golive.toml would have it, for the setting at *path*, from *variable*."""

    variable: str
    path: Path
    value: Any


def _text(text: str) -> str:
    return text


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _duration(text: str) -> str:
    return format_duration(parse_duration(text))


def _duration_if_it_is_one(text: str) -> str:
    """One spelling, so that 60s and 1m agree; what is no duration is told with all other faults of the settings."""
    try:
        return _duration(text)
    except ValueError:
        return text


def _timed(unit: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            return format_duration(timedelta(**{unit: float(text)}))
        except (ValueError, OverflowError):
            raise ValueError(f"expected a number of {unit}, got {text!r}.") from None

    return read


def _cloud_run(text: str) -> str | None:
    """``1`` says where the service runs; ``0`` says nothing."""
    if text.strip() not in ("0", "1"):
        raise ValueError(f"expected 1 or 0, got {text!r}.")
    return "cloud-run" if text.strip() == "1" else None


def _threshold(unit: Unit, scale: Decimal = Decimal(1)) -> Callable[[str], dict[str, str]]:
    """One number is target and alarm at once: up to it good, beyond it bad."""

    def read(text: str) -> dict[str, str]:
        try:
            value = Decimal(text.strip()) * scale
        except InvalidOperation:
            raise ValueError(f"expected a number, got {text!r}.") from None
        if not value.is_finite() or value < 0 or (unit == "ratio" and value > 1):
            expected = "a share between 0 and 1" if unit == "ratio" else "a number that is not negative"
            raise ValueError(f"expected {expected}, got {text!r}.")
        limit = format_quantity(float(value), unit)
        return {"target": f"<= {limit}", "alert_if": f"> {limit}"}

    return read


Reader = Callable[[str], Any]
_MS, _SECONDS = _timed("milliseconds"), _timed("seconds")

#: the documents' own names -> the setting, and how the text is read. Types are checked with all other values.
ALIASES: dict[str, tuple[Path, Reader]] = {
    "PG_MAX": (("db", "pool_max"), _text),
    "DB_POOL_MAX": (("db", "pool_max"), _text),
    "PG_MIN": (("db", "pool_min"), _text),
    "DB_POOL_MIN": (("db", "pool_min"), _text),
    "PG_IDLE_TIMEOUT_MS": (("db", "idle_timeout"), _MS),
    "PG_CONNECTION_TIMEOUT_MS": (("db", "connect_timeout"), _MS),
    "BLOCKS_CONCURRENCY": (("jobs", "concurrency"), _text),
    "BLOCKS_TIMEOUT_MS": (("jobs", "timeout"), _MS),
    "ENABLE_BACKGROUND_WORKER": (("jobs", "embedded"), _text),
    "CORS_ORIGINS": (("chassis", "cors_origins"), _list),
    "CORS_ALLOW_CREDENTIALS": (("chassis", "cors_credentials"), _text),
    "FAST_BOOT": (("chassis", "fast_boot"), _text),
    "CLOUD_RUN_AUTOSCALE": (("chassis", "platform"), _cloud_run),
    "REQUIRE_AUTH": (("chassis", "require_auth"), _text),
    "JWT_SECRET": (("chassis", "jwt_secret"), _text),
    "SUPABASE_JWT_SECRET": (("chassis", "jwt_secret"), _text),
    "JWKS_URL": (("chassis", "jwks_url"), _text),
    "JWT_ISSUER": (("chassis", "jwt_issuer"), _text),
    "JWT_AUDIENCE": (("chassis", "jwt_audience"), _text),
    "API_KEY_HASHES": (("chassis", "api_key_hashes"), _list),
    "TRUSTED_PROXIES": (("chassis", "trusted_proxies"), _list),
    "DATABASE_URL": (("chassis", "database_url"), _text),
    "DATABASE_SOURCE": (("chassis", "database_source"), _text),
    "REDIS_URL": (("chassis", "redis_url"), _text),
    "RATE_LIMIT_REDIS_URL": (("chassis", "rate_limit_redis_url"), _text),
    "SENTRY_DSN": (("chassis", "sentry_dsn"), _text),
    "SHUTDOWN_GRACE_SECONDS": (("chassis", "grace"), _SECONDS),
    "KEEP_ALIVE_SECONDS": (("chassis", "keep_alive"), _SECONDS),
    "DEPLOY_ERROR_THRESHOLD": (("slo", "error_rate"), _threshold("ratio")),
    "DEPLOY_P99_THRESHOLD": (("slo", "latency_p99"), _threshold("seconds", Decimal("0.001"))),
    "DEPLOY_MEMORY_THRESHOLD": (("slo", "memory_ratio"), _threshold("ratio")),
    "DEPLOY_CPU_THRESHOLD": (("slo", "cpu_ratio"), _threshold("ratio")),
}


def _room_variables() -> Iterator[tuple[str, tuple[Path, Reader]]]:
    """``GOLIVE_JOBS_LEASE``: how the rooms that run inside the service spell their own settings."""
    for room, prefix in (("chassis", "CHASSIS"), ("jobs", "JOBS"), ("db", "CHASSIS_DB")):
        for key in keys_at((room,)):
            kind = annotation_at((room, key))
            if get_origin(kind) is not dict:
                reader = _duration_if_it_is_one if kind is timedelta else _list if get_origin(kind) is list else _text
                yield f"{PREFIX}{prefix}_{key.upper()}", ((room, key), reader)


def overrides(environ: Mapping[str, str]) -> tuple[list[Override], list[str]]:
    """What *environ* sets, tables before what is in them, and the faults in it, each naming its variable."""
    faults: list[str] = []
    found: dict[Path, Override] = {}
    for override in [*_aliases(environ, faults), *_own(environ, faults)]:
        other = found.setdefault(override.path, override)
        if other.value != override.value:
            both = f"disagrees with {other.variable}; both set {_dotted(override.path)}. Set one of them."
            faults.append(f"variable {override.variable}: {both}")
    return sorted(found.values(), key=lambda override: len(override.path)), faults


def _aliases(environ: Mapping[str, str], faults: list[str]) -> Iterator[Override]:
    for variable, (path, read) in {**ALIASES, **dict(_room_variables())}.items():
        text = environ.get(variable, "")
        if not text.strip():
            continue
        try:
            value = read(text)
        except ValueError as error:
            faults.append(f"variable {variable}: {error}")
            continue
        if value is not None:
            yield Override(variable, path, value)


def _own(environ: Mapping[str, str], faults: list[str]) -> Iterator[Override]:
    for variable in sorted(environ):
        segments = variable.removeprefix(PREFIX).split("__")
        text = environ[variable]
        # One segment names a setting only at the top: GOLIVE_VERSION, GOLIVE_DEBUG and the like are golive's own.
        top = len(segments) == 1 and annotation_at((segments[0].lower(),)) is not None and not _is_table(segments)
        if not variable.startswith(PREFIX) or not text.strip() or not (top or len(segments) > 1):
            continue
        try:
            path = _path(segments)
            yield Override(variable, path, _value(text, path))
        except ValueError as error:
            faults.append(f"variable {variable}: {error}")


def _is_table(segments: list[str]) -> bool:
    return bool(keys_at((segments[0].lower(),)))


def _path(segments: list[str]) -> Path:
    """The setting that *segments* name. Raises: ValueError with the nearest name."""
    path: Path = ()
    for segment in segments:
        kind = annotation_at(path)
        if get_origin(kind) is list:
            raise ValueError(f"{_dotted(path)} is a list; set all of it at once, in TOML.")
        known = keys_at(path)
        # Names of other programs' variables keep their case; every key of golive is lower case.
        name = segment if path == ("deploy", "env") else segment.lower()
        if known and name not in known:
            where = f"in {_dotted(path)}" if path else "at the top"
            raise ValueError(f'unknown setting "{name}" {where}{did_you_mean(name, known) or "."}')
        path = (*path, name)
        if annotation_at(path) is None:
            raise ValueError(f"{_dotted(path[:-1])} has nothing below it.")
    return path


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _value(text: str, path: Path) -> Any:
    """*text* as golive.toml would have it: a list or table in TOML, or a list with commas; anything else as it is."""
    kind = annotation_at(path)
    holds_many = get_origin(kind) in (list, dict) or bool(keys_at(path))
    if holds_many and text.strip()[0] in "[{":
        try:
            return tomllib.loads(f"value = {text.strip()}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"expected TOML: {error}.") from None
    if kind is timedelta:
        return _duration_if_it_is_one(text)
    if kind == list[str] and path[-1] not in ("command", "worker_command"):
        return _list(text)
    return text
