"""Which store the settings ask for: checked when they are read, opened when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golive.chassis.idempotency import IdempotencyStore
from golive.chassis.stores.redisurl import parse_url

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.settings import ChassisSettings

_EXPECTED = (
    'expected "memory", "sqlite:<file>", "redis" (the server of redis_url), "postgres" (the database of database_url), '
    "or the URL of either"
)
_POSTGRES = ("postgres", "postgresql")


def store_kind(settings: ChassisSettings) -> tuple[str, str]:
    """
    ``memory``, ``sqlite``, ``redis`` or ``postgres``, and the file or URL.

    Raises: ValueError saying what was expected, without a password.
    """
    setting = settings.idempotency_store
    kind, colon, rest = setting.partition(":")
    if setting == "memory" or (kind == "sqlite" and rest):
        return kind, rest
    if colon and kind in ("redis", "rediss", "valkey", "valkeys"):
        parse_url(setting)
        return "redis", setting
    if colon and kind.partition("+")[0] in _POSTGRES and rest.startswith("//"):
        return "postgres", plain_url(setting)
    if setting in ("redis", "valkey"):
        if not settings.redis_url:
            raise ValueError("expected redis_url (REDIS_URL) to be set beside it")
        return "redis", settings.redis_url
    if setting in _POSTGRES:
        if settings.database_url.partition("+")[0].partition(":")[0] not in _POSTGRES:
            raise ValueError("expected database_url (DATABASE_URL) to name a PostgreSQL database beside it")
        return "postgres", plain_url(settings.database_url)
    raise ValueError(f"{_EXPECTED}, got {kind!r}")


def open_store(chassis: Chassis) -> IdempotencyStore:
    """The store of *chassis*; connects with its first call. Raises: ConfigError when a client is missing."""
    kind, place = store_kind(chassis.settings)
    if kind == "sqlite":
        from golive.chassis.stores.sqlite import SqliteIdempotencyStore

        return SqliteIdempotencyStore(place)
    if kind == "redis":
        from golive.chassis.stores.redisidempotency import RedisIdempotencyStore

        return RedisIdempotencyStore(chassis.link(place))
    if kind == "postgres":
        from golive.chassis.stores.postgresidempotency import PostgresIdempotencyStore

        return PostgresIdempotencyStore(place)
    from golive.chassis.stores.memory import MemoryIdempotencyStore

    return MemoryIdempotencyStore()


def plain_url(url: str) -> str:
    """*url* without the name of a driver, which SQLAlchemy's URLs have: ``postgresql+asyncpg://`` and the like."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"
