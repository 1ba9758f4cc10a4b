"""Whether the cache answers: one PING over a fresh connection, with a limit of its own."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit


async def answers() -> None:
    """Raises: OSError or TimeoutError when it does not."""
    url = os.environ.get("PORTFOLIO_CACHE", "")
    if not url:
        return
    parts = urlsplit(url)
    async with asyncio.timeout(0.5):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(b"PING\r\n")
            if await reader.readline() != b"+PONG\r\n":
                raise OSError("the cache answers something else than PONG")
        finally:
            writer.close()
