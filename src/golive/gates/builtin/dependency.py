"""
``dependency``: a database that hangs makes the service not ready, and nothing worse. The gate starts the service behind
a proxy and lets the proxy go silent: connections stay open, no byte comes back. Source: seed 002 (readiness with a
time-out, and no leak when it hangs).

Judged: ready leaves 200 in time, live stays 200 and fast throughout, ready comes back when the dependency does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from golive.errors import UnavailableError
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.process import ready, started
from golive.gates.target import Target
from golive.promises.operation import DependencyProbe

_POLL_SECONDS = 0.1
_PIECE_BYTES = 64 * 1024


async def check(target: Target) -> Outcome:
    """PASS when readiness follows the dependency and liveness does not."""
    probe = target.required(DependencyProbe, "dependency")
    async with _proxy(probe.upstream) as (address, speaking):
        host, _, port = address.partition(":")
        words = {"proxy": address, "proxy_host": host, "proxy_port": port}
        async with started(probe.command, probe.env, target.root, **words) as running:
            client = Client(replace(target, url=running.url))
            if not await ready(running, client, probe.start_max, (probe.ready,)):
                return unavailable(f"not ready within {probe.start_max:g} s of its start: {running.last_words[-200:]}")
            speaking.clear()
            noticed, problem = await _until(client, probe, probe.notice_max, ready_wanted=False)
            if problem:
                return failed(f"with {probe.upstream} silent, {problem}")
            speaking.set()
            recovered, problem = await _until(client, probe, probe.recover_max, ready_wanted=True)
            if problem:
                return failed(f"after {probe.upstream} came back, {problem}")
    return passed(
        f"not ready {noticed:.1f} s after {probe.upstream} went silent, ready again {recovered:.1f} s after it came "
        f"back, {probe.live} 200 throughout",
        noticed_after_seconds=round(noticed, 2),
        recovered_after_seconds=round(recovered, 2),
    )


async def _until(client: Client, probe: DependencyProbe, limit: float, ready_wanted: bool) -> tuple[float, str | None]:
    """Seconds until ready is as wanted; or what went wrong before."""
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < limit:
        try:
            live = await client.get(probe.live, timeout=probe.live_max)
        except NoAnswerError as error:
            return waited, f"{probe.live}: {error.why}"
        if live.status != 200:
            return waited, f"{probe.live} is {live.status}: the platform would restart a healthy process"
        try:
            is_ready = (await client.get(probe.ready, timeout=limit)).status == 200
        except NoAnswerError as error:
            return waited, f"{probe.ready}: {error.why}"
        if is_ready is ready_wanted:
            return time.monotonic() - begin, None
        await asyncio.sleep(_POLL_SECONDS)
    return limit, f"{probe.ready} is {'not ' if ready_wanted else 'still '}200 after {limit:g} s"


@asynccontextmanager
async def _proxy(upstream: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A TCP proxy in front of *upstream*: its address, and the event that lets it speak while it is set."""
    host, _, port = upstream.rpartition(":")
    if not host or not port.isdigit():
        raise UnavailableError(f"upstream: expected host:port, got {upstream!r}")
    speaking, tasks = asyncio.Event(), set[asyncio.Task[None]]()
    speaking.set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_PIECE_BYTES):
                await speaking.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await speaking.wait()
        try:
            onward = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, onward[1]), (onward[0], writer)):
            task = asyncio.create_task(pump(source, sink))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", speaking
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()


GATE = Gate(
    "dependency",
    "A dependency that hangs makes the service not ready, and nothing worse.",
    Phase.DEPLOY,
    check,
    timeout=180.0,
    exclusive=True,
)
