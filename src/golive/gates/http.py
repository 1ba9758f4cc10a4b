"""
A small HTTP/1.1 client for probing: one connection per request, everything bounded, and able to send what no client
should.

No redirects, no cookies, no retries, no decompression: a gate wants to see what the service said, not what a friendly
library made of it. Reading is shared with the load engine.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from golive.errors import UnavailableError
from golive.gates.target import SmokeRequest, Target
from golive.load.response import ProtocolError, ResponseReader

BODY_BYTES_MAX = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024


class NoAnswerError(UnavailableError):
    """
    The request was not answered.

    Attributes:
        why: refused, time-out, cut, garbled, too large.
        refused: nobody listens there.
    """

    def __init__(self, what: str, why: str, refused: bool = False) -> None:
        self.why = why
        self.refused = refused
        super().__init__(f"{what}: {why}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; *seconds* from before connecting to the last byte."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float

    def header(self, name: str) -> str | None:
        """The first value of *name*, whatever its case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def every(self, name: str) -> list[str]:
        """All values of *name*, one per line of the head: ``Vary`` may come in several."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """The body as JSON; None when it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Client:
    """Talks to one target. Cheap to make; holds no connection."""

    def __init__(self, target: Target) -> None:
        """Raises: UnavailableError when the target has no usable URL."""
        if not target.url:
            raise UnavailableError("no URL to look at. Give one with --url, or start the service.")
        self.url = target.url.rstrip("/")
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise UnavailableError(f"url: expected http://host[:port], got {target.url!r}.")
        self.host = parts.hostname
        self.port = port or (443 if parts.scheme == "https" else 80)
        self.authority = parts.netloc.rpartition("@")[2]
        self.base = parts.path
        self.headers = dict(target.headers)
        self.tls = _tls(target.tls_verify) if parts.scheme == "https" else None

    async def get(self, path: str, timeout: float = 5.0) -> Answer:
        """``GET`` *path*; see :meth:`request`."""
        return await self.request("GET", path, timeout=timeout)

    async def send(self, request: SmokeRequest, headers: Mapping[str, str] | None = None) -> Answer:
        """A declared request, with its JSON or body, and *headers* on top."""
        body, extra = request.body, {}
        if request.json is not None:
            body, extra = json.dumps(request.json), {"content-type": "application/json"}
        merged = {**extra, **request.headers, **(headers or {})}
        return await self.request(request.method, request.path, merged, body, request.within)

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        timeout: float = 5.0,
    ) -> Answer:
        """
        One request, one answer.

        Args:
            timeout: seconds for all of it.

        Raises: NoAnswerError when there is none within *timeout*, or none that is HTTP.
        """
        data = body.encode() if isinstance(body, str) else body
        lines = {"host": self.authority, "user-agent": "golive-check", "accept": "*/*", "connection": "close"}
        lines |= {name.lower(): value for name, value in {**self.headers, **(headers or {})}.items()}
        if data is not None or method in ("POST", "PUT", "PATCH"):
            lines["content-length"] = str(len(data or b""))
        head = f"{method} {self.base}{path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        if any(not part.isprintable() for part in (method, path, *lines, *lines.values())) or " " in path:
            raise NoAnswerError(f"{method} {path!r}", "not sent: a blank, a line break or a control character in it")
        return await self.raw(head.encode() + b"\r\n" + (data or b""), timeout, f"{method} {path}", method == "HEAD")

    async def raw(self, data: bytes, timeout: float, what: str = "raw request", head_only: bool = False) -> Answer:
        """Send exactly *data* and read one answer; see :meth:`request`."""
        begin = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await self._connect()
                try:
                    writer.write(data)
                    await writer.drain()
                    response = await _read(reader, head_only)
                finally:
                    writer.close()
        except TimeoutError:
            raise NoAnswerError(what, f"no answer within {timeout:g} s") from None
        except ConnectionRefusedError:
            raise NoAnswerError(what, f"connection to {self.host}:{self.port} refused", refused=True) from None
        except ProtocolError as error:
            raise NoAnswerError(what, f"not an HTTP/1.1 answer ({error})") from None
        except ssl.SSLError as error:
            raise NoAnswerError(what, f"TLS failed ({error.reason or error})") from None
        except OSError as error:
            raise NoAnswerError(what, _words(error), refused=isinstance(error, socket.gaierror)) from None
        return Answer(response.status, _headers(response.head), response.body, time.monotonic() - begin)

    async def everything(self, data: bytes, seconds: float) -> bytes:
        """
        Whatever comes back after sending exactly *data*, until the peer closes or *seconds* have passed.

        Raises: NoAnswerError when there is no connection.
        """
        received = bytearray()
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await self._connect()
                try:
                    writer.write(data)
                    while len(received) < BODY_BYTES_MAX and (more := await reader.read(_READ_BYTES)):
                        received += more
                finally:
                    writer.close()
        except TimeoutError:
            pass  # a peer that keeps the connection open is no fault here
        except OSError as error:
            if not received:
                raise NoAnswerError("raw bytes", _words(error)) from None
        return bytes(received)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server_name = self.host if self.tls else None
        return await asyncio.open_connection(
            self.host, self.port, ssl=self.tls, server_hostname=server_name, limit=_READ_BYTES
        )


async def _read(stream: asyncio.StreamReader, head_only: bool) -> ResponseReader:
    response = ResponseReader(body_max=BODY_BYTES_MAX)
    response.begin(head_only)
    size = 0
    while True:
        data = await stream.read(_READ_BYTES)
        if not data:
            if response.ends_with_connection():
                return response
            raise ConnectionResetError("closed before the end of the answer")
        size += len(data)
        if size > BODY_BYTES_MAX:
            raise OSError(f"an answer of more than {BODY_BYTES_MAX // 1024 // 1024} MiB")
        if response.feed(data):
            return response


def _headers(head: bytes) -> tuple[tuple[str, str], ...]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def _words(error: OSError) -> str:
    return str(error.strerror or error) or type(error).__name__


def _tls(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
