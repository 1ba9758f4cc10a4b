"""Where a Redis or Valkey server is, as a URL. Read with the settings, so it imports nothing else."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}


class RedisAddress(NamedTuple):
    """Where the server is and who we are to it."""

    host: str
    port: int
    tls: bool
    username: str
    password: str
    database: int


def parse_url(url: str) -> RedisAddress:
    """
    ``redis://[user:password@]host[:port][/database]``; ``rediss`` for TLS, ``valkey`` and ``valkeys`` are the same.

    Raises: ValueError saying what was expected, without the password.
    """
    expected = 'expected a URL such as "redis://:password@host:6379/0" (rediss for TLS)'
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        raise ValueError(f"{expected}, got one whose port or database is no number") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"{expected}, got {parts.scheme or 'no scheme'!r} and {parts.hostname or 'no host'!r}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return RedisAddress(parts.hostname, port, _SCHEMES[parts.scheme], user, password, database)
