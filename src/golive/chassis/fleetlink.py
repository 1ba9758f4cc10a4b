"""
A worker's end of the line to its supervisor: says that it serves, reports what it counted, gets the sum of everybody.

A worker obeys its supervisor and no signal: a terminal and systemd signal every process of a service, and a signal
that came twice would be taken for an impatient second one. When the supervisor is gone the worker stops, for workers
without one would hold the port of the next.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import msgspec

from golive.chassis import fleetwire as wire
from golive.chassis.metrics import Metrics
from golive.chassis.snapshot import take

#: What a kill -9 of a worker may take with it: what it counted since its last report.
REPORT_SECONDS = 2.0
#: How long a scrape waits for the sum; then the worker shows its own numbers.
SCRAPE_SECONDS = 2.0


class FleetLink:
    """
    The line of one worker.

    Args:
        sock: this end of the pair.
        metrics: what is reported.
        stop: called with the number of the signal that the service was sent.

    Attributes:
        may_open: set when the worker may accept connections.
    """

    def __init__(self, sock: socket.socket, metrics: Metrics, stop: Callable[[int], None]) -> None:
        self._sock = sock
        self.metrics = metrics
        self._stop = stop
        self.may_open = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._scrapes: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0

    async def open(self) -> None:
        """Begin to listen to the supervisor. Needs the loop that serves."""
        reader, self._writer = await asyncio.open_connection(sock=self._sock, limit=2**20)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read(reader)), loop.create_task(self._report())]

    def serving(self) -> None:
        """The app has started."""
        self._send(wire.Serving())

    async def close(self) -> None:
        """The last report; what was counted until now is not lost."""
        for task in self._tasks:
            task.cancel()
        if self._writer is not None:
            self._send(wire.Report(take(self.metrics)))
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._writer.drain()
                    self._writer.close()

    async def scrape(self, *, openmetrics: bool) -> bytes | None:
        """The text of all workers together; None when the supervisor does not answer in time."""
        self._number += 1
        number, future = self._number, asyncio.get_running_loop().create_future()
        self._scrapes[number] = future
        try:
            self._send(wire.Scrape(number, openmetrics, take(self.metrics)))
            async with asyncio.timeout(SCRAPE_SECONDS):
                body: bytes = await future
                return body
        except TimeoutError:
            return None
        finally:
            del self._scrapes[number]

    def _send(self, message: wire.FromWorker) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(wire.frame(message))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._send(wire.Report(take(self.metrics)))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = msgspec.msgpack.Decoder(wire.ToWorker)
        while (body := await wire.read(reader)) is not None:
            message = decoder.decode(body)
            if isinstance(message, wire.Ask):
                self._send(wire.Report(take(self.metrics)))
            elif isinstance(message, wire.Open):
                self.may_open.set()
            elif isinstance(message, wire.Stop):
                self._stop(message.number)
            elif (future := self._scrapes.get(message.number)) is not None and not future.done():
                future.set_result(message.body)
        self._stop(signal.SIGINT)  # nobody is left to look away: drain at once
