"""One GET, for its status alone. Health paths are asked often and must never hold anybody up."""

from __future__ import annotations

import asyncio

import msgspec


class Answer(msgspec.Struct, frozen=True):
    """The status, or None with the reason why there is none."""

    status: int | None
    reason: str = ""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it was 200."""
        return self.status == 200

    def __str__(self) -> str:
        return self.reason if self.status is None else str(self.status)


async def probe(address: str, path: str, timeout_seconds: float = 0.8) -> Answer:
    """``GET http://address/path``. Never raises: what went wrong is the answer."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: golive\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                return Answer(int((await reader.readline()).split(b" ", 2)[1]))
            finally:
                writer.close()
    except TimeoutError:
        return Answer(None, f"no answer within {timeout_seconds:g} s", timed_out=True)
    except ConnectionRefusedError:
        return Answer(None, "connection refused")
    except (OSError, ValueError, IndexError) as error:
        return Answer(None, str(error) or type(error).__name__)
