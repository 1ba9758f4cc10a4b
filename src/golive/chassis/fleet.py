"""
Several worker processes behind one port: started, watched, stopped together, and counted as one.

    golive serve --workers 4
      |- worker 1 --+
      |- worker 2 --+-- accept from the one listening socket the supervisor holds
      |- ...

The supervisor imports neither the app nor the server. It binds first, and the first worker answers probes while it
imports, so that the port answers as early as with one process; the others accept connections when they can serve and
the first one does, so that nobody who was told "ready" is told "starting" next. A worker that dies is replaced, and
what it had counted stays in the sum. Workers stop as a single server does (lame duck, drain), all at the same time. A
worker whose supervisor is gone stops by itself; a socket pair tells it.

How it fails: a worker that cannot start before any has served ends the service with its exit code, because the next one
would fail the same way. Later on a worker that keeps dying is started again more and more slowly.

Left out: replacing workers one by one for a new version, which is what a rollout does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from golive.chassis import fleetwire as wire
from golive.chassis.exposition import render
from golive.chassis.fleetvariable import VARIABLE
from golive.chassis.log import LogSink
from golive.chassis.metrics import Metrics
from golive.chassis.snapshot import FamilyShot, Totals, take

WORKERS_MAX = 256
#: How long the workers that are not asked by the scraper may take to report; a stuck one is shown as it was.
REPORT_SECONDS = 0.5
#: A worker that lived this long has started well: the next death is a first one again.
SETTLED_SECONDS = 30.0
BACKOFF_SECONDS, BACKOFF_MAX_SECONDS = 0.1, 5.0
#: Beyond what the workers give themselves, before they are killed.
MARGIN_SECONDS = 3.0


@dataclass(eq=False, slots=True)
class Worker:
    """
    One process in one of the places; a replacement is another object.

    Attributes:
        place: 1 to the number of workers.
        serving: its app has started.
        reported: set when a report has come since it was asked.
    """

    place: int
    process: asyncio.subprocess.Process
    writer: asyncio.StreamWriter
    began: float
    serving: bool = False
    reported: asyncio.Event | None = None

    def send(self, message: wire.ToWorker) -> None:
        """Say something to it; one that is gone hears nothing."""
        if not self.writer.is_closing():
            self.writer.write(wire.frame(message))


class Fleet:
    """
    The supervisor.

    Args:
        command: what starts a worker.
        workers: how many, 1 to :data:`WORKERS_MAX`.
        sock: the listening socket they share.
        stop_seconds: what a worker needs at most to stop.
        log: where the supervisor's own lines go.
        environ: of the workers.
    """

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        sock: socket.socket,
        *,
        stop_seconds: float,
        log: LogSink,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        assert 1 <= workers <= WORKERS_MAX
        self._command, self._count, self._sock = list(command), workers, sock
        self._stop_seconds, self._log = stop_seconds, log
        self._environ = dict(os.environ if environ is None else environ)
        self._workers: dict[int, Worker] = {}
        self._totals = Totals()
        self._stopping = asyncio.Event()
        self._signals = 0
        self._ever_served = False
        self._code = 0
        self._scrapes: set[asyncio.Task[None]] = set()
        self._metrics = Metrics()
        self._metrics.gauge("worker_processes", "Workers that serve.", source=self._serving)
        self._restarts = self._metrics.counter("worker_restarts_total", "Workers replaced because they ended.")

    async def run(self) -> int:
        """Run until stopped; the exit code of the service."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        host, port = self._sock.getsockname()[:2]
        self._log.event("fleet", workers=self._count, address=f"http://{host}:{port}", port=port, pid=os.getpid())
        places = [loop.create_task(self._tend(place)) for place in range(1, self._count + 1)]
        await self._stopping.wait()
        _, late = await asyncio.wait(places, timeout=self._stop_seconds + MARGIN_SECONDS)
        for worker in list(self._workers.values()) if late else []:
            worker.process.kill()
        await asyncio.gather(*places)
        self._log.event("fleet_stopped", code=self._code, killed=len(late))
        return self._code

    def _serving(self) -> float:
        return float(sum(worker.serving for worker in self._workers.values()))

    # ---- one place ----------------------------------------------------------------------------------------------

    async def _tend(self, place: int) -> None:
        """Keep a worker in *place* until the service stops."""
        pause = BACKOFF_SECONDS
        while not self._stopping.is_set():
            worker, reader = await self._start(place)
            await self._listen(worker, reader)
            code = await worker.process.wait()
            del self._workers[place]
            self._totals.end(worker)
            if self._stopping.is_set():
                self._code = self._code or max(0, code)
                return
            lived = time.monotonic() - worker.began
            self._log.event("worker_ended", level="error", worker=place, code=code, seconds=round(lived, 1))
            if not self._ever_served:
                self._give_up(code)
                return
            self._restarts.inc()
            pause = BACKOFF_SECONDS if lived >= SETTLED_SECONDS else min(pause * 2, BACKOFF_MAX_SECONDS)
            await self._sleep(pause)

    async def _start(self, place: int) -> tuple[Worker, asyncio.StreamReader]:
        ours, theirs = socket.socketpair()
        listening, line = self._sock.fileno(), theirs.fileno()
        early = place == 1 and not self._ever_served
        process = await asyncio.create_subprocess_exec(
            *self._command,
            pass_fds=(listening, line),
            env={**self._environ, VARIABLE: f"{listening}:{line}:{'early' if early else 'late'}"},
            stdin=asyncio.subprocess.DEVNULL,
        )
        theirs.close()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours, limit=2**20)
        worker = Worker(place, process, writer, time.monotonic())
        self._workers[place] = worker
        if self._ever_served:
            worker.send(wire.Open())
        if self._stopping.is_set():  # the signal came while it was being started
            worker.send(wire.Stop(signal.SIGTERM))
        return worker, reader

    async def _listen(self, worker: Worker, reader: asyncio.StreamReader) -> None:
        decoder = msgspec.msgpack.Decoder(wire.FromWorker)
        while (body := await wire.read(reader)) is not None:
            message = decoder.decode(body)
            if isinstance(message, wire.Serving):
                worker.serving = True
                if worker.place == 1 or self._ever_served:
                    self._open_all()
                continue
            self._totals.report(worker, message.shots)
            if worker.reported is not None:
                worker.reported.set()
            if isinstance(message, wire.Scrape):
                task = asyncio.get_running_loop().create_task(self._answer(worker, message))
                self._scrapes.add(task)
                task.add_done_callback(self._scrapes.discard)
        worker.writer.close()

    def _open_all(self) -> None:
        self._ever_served = True
        for worker in self._workers.values():
            worker.send(wire.Open())

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    # ---- the end ------------------------------------------------------------------------------------------------

    def _signalled(self, number: signal.Signals) -> None:
        """Every signal is passed on: a second one ends the workers' waiting, as it does with one process."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.send(wire.Stop(number))

    def _give_up(self, code: int) -> None:
        self._code = code if code > 0 else 1
        self._signalled(signal.SIGTERM)

    # ---- metrics ------------------------------------------------------------------------------------------------

    async def _answer(self, asking: Worker, scrape: wire.Scrape) -> None:
        """Gather what everybody has counted by now, and give the worker that is scraped the whole text."""
        others = [worker for worker in self._workers.values() if worker is not asking and worker.serving]
        for worker in others:
            worker.reported = asyncio.Event()
            worker.send(wire.Ask())
        waiting = [asyncio.ensure_future(each.reported.wait()) for each in others if each.reported is not None]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=REPORT_SECONDS)
            for task in late:
                task.cancel()
        own: list[FamilyShot] = take(self._metrics)
        text = "".join(render(self._totals.sum(own), openmetrics=scrape.openmetrics))
        asking.send(wire.Text(scrape.number, text.encode()))
