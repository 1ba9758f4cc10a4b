"""
``alarm-drill``: an alarm is set off on purpose, and the notification arrives. Source: seed 003 ("alarms configured and
tested").

golive listens at a URL of its own for the time of the drill; the notification must come there, so the drill needs a
receiver that posts to it (a webhook of Alertmanager, of SNS, of golive's own notifier).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.process import run_to_end
from golive.gates.target import Target
from golive.promises.operation import AlarmDrillProbe

BODY_BYTES_MAX = 1024 * 1024
MESSAGES_MAX = 1000
_HEAD_SECONDS = 10.0


async def check(target: Target) -> Outcome:
    """PASS when one notification with every expected text arrives in time."""
    probe = target.required(AlarmDrillProbe, "alarm_drill")
    marker = f"golive-drill-{secrets.token_hex(6)}"
    expected = [text.replace("{marker}", marker) for text in probe.expect]
    async with _listening() as (url, came, messages):
        begin = time.monotonic()
        await run_to_end(probe.fire, {}, target.root, probe.within, webhook=url, marker=marker, url=target.url)
        while (left := probe.within - (time.monotonic() - begin)) > 0:
            if any(all(text in message for text in expected) for message in messages):
                seconds = time.monotonic() - begin
                return passed(
                    f"the notification came {seconds:.1f} s after the alarm was set off",
                    arrived_after_seconds=round(seconds, 2),
                )
            came.clear()
            try:
                await asyncio.wait_for(came.wait(), left)
            except TimeoutError:
                break
    if messages:
        missing = next((text for text in expected if text not in messages[-1]), expected[0])
        return failed(f"{len(messages)} notifications within {probe.within:g} s, none of them names {missing}")
    return failed(f"no notification within {probe.within:g} s of the alarm")


@asynccontextmanager
async def _listening() -> AsyncIterator[tuple[str, asyncio.Event, list[str]]]:
    """A place that takes any POST and answers 204: its URL, an event per message, the messages."""
    came, messages = asyncio.Event(), list[str]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lengths = [
                    line.partition(":")[2] for line in head.lower().split("\r\n") if line.startswith("content-length:")
                ]
                length = min(int(lengths[0]) if lengths and lengths[0].strip().isdigit() else 0, BODY_BYTES_MAX)
                message = head + (await reader.readexactly(length)).decode("utf-8", "replace")
            if len(messages) < MESSAGES_MAX:
                messages.append(message)
                came.set()
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/golive-drill", came, messages
    finally:
        server.close()


GATE = Gate(
    "alarm-drill",
    "An alarm that is set off on purpose reaches somebody.",
    Phase.WATCH,
    check,
    timeout=900.0,
)
