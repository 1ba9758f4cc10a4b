"""
What a worker process and its supervisor say to each other: length-prefixed MessagePack over a socket pair.

    worker  -> Serving, Report, Scrape          supervisor -> Open, Ask, Text, Stop

The pair is also the sign of life: whoever reads its end knows that the other side is gone, however it died.
"""

from __future__ import annotations

import asyncio

import msgspec

from golive.chassis.snapshot import FamilyShot

#: A frame this long is no message of ours; 50,000 histogram series are about 10 MB.
FRAME_BYTES_MAX = 64 * 1024 * 1024


class Serving(msgspec.Struct, tag="serving"):
    """The worker's app has started."""


class Report(msgspec.Struct, tag="report"):
    """What the worker has counted so far."""

    shots: list[FamilyShot]


class Scrape(msgspec.Struct, tag="scrape"):
    """Somebody scrapes this worker: what it has counted, and a wish for the whole text."""

    number: int
    openmetrics: bool
    shots: list[FamilyShot]


class Open(msgspec.Struct, tag="open"):
    """Accept connections as soon as the app has started: there is no doubt that it can."""


class Ask(msgspec.Struct, tag="ask"):
    """Report now."""


class Text(msgspec.Struct, tag="text"):
    """The whole exposition, for the scrape *number*."""

    number: int
    body: bytes


class Stop(msgspec.Struct, tag="stop"):
    """The service was sent the signal *number*."""

    number: int


FromWorker = Serving | Report | Scrape
ToWorker = Open | Ask | Text | Stop


def frame(message: FromWorker | ToWorker) -> bytes:
    """*message* as bytes for the wire."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


async def read(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame's body; None when the other side is gone, or is not ours."""
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        return await reader.readexactly(length) if length <= FRAME_BYTES_MAX else None
    except (asyncio.IncompleteReadError, OSError):
        return None
