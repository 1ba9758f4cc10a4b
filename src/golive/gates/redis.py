"""Just enough RESP to ask a Redis or Valkey server how it is set up: a few commands, one connection, bounded."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import unquote, urlsplit

from golive.errors import UnavailableError

_REPLY_BYTES_MAX = 1024 * 1024
_TIMEOUT_SECONDS = 5.0


async def ask(url: str, *commands: tuple[str, ...]) -> list[str | list[str]]:
    """
    The replies of the server at ``redis://[user:password@]host:port`` (or ``rediss://``) to *commands*.

    Raises: UnavailableError when it does not answer, or answers with an error.
    """
    try:
        parts = urlsplit(url)
        where = f"{parts.hostname}:{parts.port or 6379}"
    except ValueError:
        parts, where = urlsplit(""), ""
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise UnavailableError("expected redis://host:port, got another URL")
    secure = ssl.create_default_context() if parts.scheme == "rediss" else None
    login = [unquote(part) for part in (parts.username, parts.password) if part]
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 6379, ssl=secure)
            try:
                replies = []
                for command in ([("AUTH", *login)] if login else []) + list(commands):
                    writer.write(_encode(command))
                    replies.append(await _reply(reader))
            finally:
                writer.close()
    except TimeoutError:
        raise UnavailableError(f"{where}: no answer within {_TIMEOUT_SECONDS:g} s") from None
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        raise UnavailableError(f"{where}: {getattr(error, 'strerror', None) or error}") from None
    return replies[1:] if login else replies


def _encode(command: tuple[str, ...]) -> bytes:
    parts = [part.encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


async def _reply(reader: asyncio.StreamReader) -> str | list[str]:
    line = (await reader.readline()).rstrip(b"\r\n")
    kind, text = line[:1], line[1:].decode("utf-8", "replace")
    if kind == b"-":
        raise ValueError(text)
    if kind == b"$":
        length = int(text)
        if length > _REPLY_BYTES_MAX:
            raise ValueError(f"a reply of {length} bytes")
        return (await reader.readexactly(length + 2))[:-2].decode("utf-8", "replace") if length >= 0 else ""
    if kind in (b"*", b"%"):
        count = int(text) * (2 if kind == b"%" else 1)
        return [str(await _reply(reader)) for _ in range(min(count, 10_000))]
    if kind not in (b"+", b":"):
        raise ValueError("not a Redis server")
    return text
