"""
``soak``: hours change nothing. Errors stay rare; memory and open files stay where they were. Source: seed 003 (24 h).

The process is measured by its own metrics page (``process_resident_memory_bytes``, ``process_open_fds``).
"""

from __future__ import annotations

import asyncio
import itertools
import re
import statistics
import time

from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import SmokeRequest, Target
from golive.promises.behaviour import SoakProbe

_MEMORY = re.compile(rb"^process_resident_memory_bytes(?:\{[^}]*\})? (\S+)", re.MULTILINE)
_HANDLES = re.compile(rb"^process_open_fds(?:\{[^}]*\})? (\S+)", re.MULTILINE)
_SCRAPES = 200  # over the whole soak, and not more often than every 50 ms
TIMEOUT_MAX = 7 * 86400.0


async def check(target: Target) -> Outcome:
    """PASS when errors, memory and handles stay within what was declared over the whole time."""
    probe = target.required(SoakProbe, "soak")
    client = Client(target)
    requests = itertools.cycle(target.smoke or (SmokeRequest("/"),))
    begin, sent, wrong = time.monotonic(), 0, list[str]()
    memory, handles = list[float](), list[float]()
    interval, next_scrape = 1 / max(probe.rate, 0.001), begin
    while (now := time.monotonic()) - begin < probe.duration:
        request = next(requests)
        try:
            found = difference(await client.send(request), request)
        except NoAnswerError as error:
            found = error.why
        sent += 1
        wrong += [f"{request.path}: {found}"] if found else []
        if now >= next_scrape:
            next_scrape = now + max(probe.duration / _SCRAPES, 0.05)
            await _scrape(client, target.metrics_path, memory, handles)
        await asyncio.sleep(max(0.0, begin + sent * interval - time.monotonic()))
    return _judge(probe, sent, wrong, memory, handles)


def _judge(probe: SoakProbe, sent: int, wrong: list[str], memory: list[float], handles: list[float]) -> Outcome:
    evidence: dict[str, float] = {"requests": sent, "failed": len(wrong), "samples": len(memory)}
    if len(wrong) > probe.errors_max * sent:
        return failed(f"{len(wrong)} of {sent} requests failed, first: {wrong[0]}", **evidence)
    if len(memory) < 8:
        return unavailable("the metrics page tells no process_resident_memory_bytes often enough to judge", **evidence)
    settled, late = _quarters(memory)
    evidence |= {"memory_settled_bytes": settled, "memory_late_bytes": late}
    if late > settled * (1 + probe.memory_growth_max):
        grown = f"{settled / 2**20:.1f} MiB to {late / 2**20:.1f} MiB"
        return failed(f"memory grew from {grown} in {probe.duration:g} s", **evidence)
    if handles:
        first, last = _quarters(handles)
        evidence |= {"handles_settled": first, "handles_late": last}
        if last - first > probe.handles_growth_max:
            return failed(f"open files grew from {first:g} to {last:g} in {probe.duration:g} s", **evidence)
    return passed(
        f"{sent} requests in {probe.duration:g} s, {len(wrong)} failed, memory {late / settled - 1:+.1%}", **evidence
    )


def _quarters(samples: list[float]) -> tuple[float, float]:
    """The medians of the second and of the last quarter: the first one is warm-up."""
    quarter = len(samples) // 4
    return statistics.median(samples[quarter : 2 * quarter]), statistics.median(samples[-quarter:])


async def _scrape(client: Client, path: str, memory: list[float], handles: list[float]) -> None:
    try:
        page = (await client.get(path)).body
    except NoAnswerError:
        return
    for pattern, samples in ((_MEMORY, memory), (_HANDLES, handles)):
        match = pattern.search(page)
        if match:
            samples.append(float(match[1]))


GATE = Gate(
    "soak",
    "Over hours, errors stay rare and memory stays where it was.",
    Phase.WATCH,
    check,
    depends_on=("startup",),
    timeout=TIMEOUT_MAX,
    exclusive=True,
)
