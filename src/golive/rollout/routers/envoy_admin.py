"""
A client for Envoy's admin interface: HTTP/1.1 over one kept connection, nothing more.

It exists so that the core needs no HTTP library. It speaks to one trusted peer on loopback; do not use it for
anything else.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import msgspec

from golive.errors import UnavailableError

BODY_MAX = 64 * 1024 * 1024
"""The longest answer accepted, in bytes. A full config dump with a hundred versions is about 1 MiB."""

_BROKEN = (OSError, EOFError, TimeoutError, ValueError, IndexError, asyncio.LimitOverrunError)
"""What a peer that goes away, or is not an Envoy at all, looks like from here."""

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AdminClient:
    """Asks the Envoy whose admin interface listens on *host*:*port*. One request at a time; calls queue."""

    def __init__(self, host: str, port: int, timeout_seconds: float = 2.0) -> None:
        self.address = f"{host}:{port}"
        self._host, self._port, self._timeout = host, port, timeout_seconds
        self._lock = asyncio.Lock()
        self._connection: _Connection | None = None

    async def get(self, path: str) -> bytes:
        """
        The body of ``GET path``.

        Raises: UnavailableError when there is no answer in time or its status is not 200.
        """
        return await self._ask("GET", path)

    async def post(self, path: str) -> bytes:
        """The body of ``POST path``; same errors as :meth:`get`."""
        return await self._ask("POST", path)

    async def stats(self, pattern: str, *, detailed: bool = False) -> dict[str, Any]:
        """
        Counters, gauges and texts whose name matches the regular expression *pattern*, by name.

        With *detailed* the histograms are under ``"histograms"`` as Envoy gives them: name, totals, intervals.
        """
        buckets = "&histogram_buckets=detailed" if detailed else ""
        answer = msgspec.json.decode(await self.get(f"/stats?format=json{buckets}&filter={quote(pattern, safe='')}"))
        found: dict[str, Any] = {}
        for entry in answer["stats"]:
            if "histograms" in entry:
                found["histograms"] = entry["histograms"].get("details", [])
            else:
                found[entry["name"]] = entry["value"]
        return found

    async def close(self) -> None:
        """Give the connection back. The client can be used again."""
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None

    async def _ask(self, method: str, path: str) -> bytes:
        async with self._lock:
            kept = self._connection is not None
            try:
                return await self._once(method, path)
            except _BROKEN as error:
                await self.close()
                if not kept or isinstance(error, TimeoutError):
                    raise self._unavailable(path, error) from error
            try:  # the kept connection was stale: once more on a fresh one
                return await self._once(method, path)
            except _BROKEN as error:
                await self.close()
                raise self._unavailable(path, error) from error

    async def _once(self, method: str, path: str) -> bytes:
        async with asyncio.timeout(self._timeout):
            if self._connection is None:
                self._connection = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._connection
            length = "Content-Length: 0\r\n" if method == "POST" else ""
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: admin\r\n{length}\r\n".encode())
            try:
                status, headers = _head(await reader.readuntil(b"\r\n\r\n"))
                body = await _body(reader, headers)
            except BaseException:
                await self.close()  # half an answer would be read as the next one
                raise
        if status != 200:
            raise UnavailableError(
                f"gateway admin {self.address}{path.partition('?')[0]}: expected 200, got {status} "
                f"{body[:200].decode(errors='replace').strip()!r}. See envoy.log."
            )
        return body

    def _unavailable(self, path: str, error: Exception) -> UnavailableError:
        why = str(error) or type(error).__name__
        return UnavailableError(
            f"gateway admin {self.address}{path.partition('?')[0]}: expected an answer, got {why}. "
            "Start the gateway with `golive up`."
        )


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ", 2)[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader)
    length = int(headers.get("content-length", "0"))
    if length > BODY_MAX:
        raise OSError(f"an answer of {length} bytes, more than {BODY_MAX}")
    return await reader.readexactly(length)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
        if len(body) > BODY_MAX:
            raise OSError(f"an answer of more than {BODY_MAX} bytes")
    await reader.readuntil(b"\r\n")
    return bytes(body)
