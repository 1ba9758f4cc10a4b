"""Where jobs are kept: one technology per file, all behind :class:`golive.jobs.ports.JobStore`."""

from __future__ import annotations

from golive.errors import ConfigError
from golive.jobs.ports import JobStore


def store_for(url: str, table: str) -> JobStore:
    """
    The store *url* names, not opened yet.

    Raises: ConfigError for a URL no store understands.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        from golive.jobs.stores.sqlite import SqliteStore

        return SqliteStore(rest[1:], table)
    if separator and scheme in ("postgres", "postgresql"):
        from golive.jobs.stores.postgres import PostgresStore

        return PostgresStore(url, table)
    if separator and scheme == "dynamodb":
        from golive.jobs.stores.dynamodb import DynamoStore

        return DynamoStore(url)
    if url == "memory://":
        from golive.jobs.stores.memory import MemoryStore

        return MemoryStore()
    shown = f"{scheme}://..." if separator else repr(url)  # what follows may be a password
    raise ConfigError(
        f"jobs.url: expected sqlite:///path, postgresql://host/name, dynamodb://table or memory://, got {shown}."
    )
