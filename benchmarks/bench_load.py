"""
What the load engine holds on this machine, and whether what it reports is true, in one run of about a minute.

First against a server of known delays (``tests/load/known_server.py``), which says itself how long each request took
and when each was answered: what golive reports beside that truth, and what wrk reports of the same server. Then the
rates it holds against the smallest server that can be written: scheduling lag, CPU, two generators at once, and wrk.
Without wrk (``apt-get install wrk``) its lines say so.

The servers are processes of their own; on two cores they compete with the generator, so the figures are pessimistic.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from golive.load import LoadPlan, LoadReport, RequestSpec, run, run_several

SERVER = """
import asyncio, sys, uvloop

class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok" * data.count(b"\\r\\n\\r\\n"))

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)

uvloop.run(main())
"""
KNOWN = Path(__file__).parent.parent / "tests" / "load" / "known_server.py"
TRUE_RATES = (200, 500, 1_000, 2_000)
TRUE_SECONDS = 5
STALL_RATE, STALL_SECONDS = 500, 4
STALL = "/stall/1500/800/5"  # after 1.5 s everybody waits for 0.8 s; 5 ms otherwise
MIXED = "/mixed/5/50/20"  # 5 ms, every twentieth 50 ms: p99 is well inside the slow ones
WRK_CONNECTIONS = 8
P50_OFF_MS_MAX, P99_OFF_RATIO_MAX = 1.0, 0.05
RATES = (1_000, 5_000, 10_000, 15_000, 20_000)
SECONDS = 3.0
CONNECTIONS = 32


def main() -> None:
    """Print truth first, then rates."""
    print(f"-- {MIXED[1:]}: 5 ms, every twentieth 50 ms. Truth is what the server timed itself")
    for rate in TRUE_RATES:
        with _serving([str(KNOWN)]) as url:
            report, cpu = _measured(LoadPlan(url + MIXED, rate=rate, duration=TRUE_SECONDS, latency_limit=0.3))
            _compare(f"golive, open loop {rate:,}/s", _reported(report), _truth(url)["took"], report, cpu)
    with _serving([str(KNOWN)]) as url:
        found = _wrk(url + MIXED, WRK_CONNECTIONS, TRUE_SECONDS)
        _compare(f"wrk, {WRK_CONNECTIONS} connections", found, _truth(url)["took"])
    print(f"-- {STALL[1:]}: 5 ms, and one stall of 0.8 s in {STALL_SECONDS} s. Truth is what {STALL_RATE}/s waited")
    with _serving([str(KNOWN)]) as url:
        path = [RequestSpec(path=STALL + "?n={n}")]
        plan = LoadPlan(url, rate=STALL_RATE, duration=STALL_SECONDS, requests=path, latency_limit=0.3)
        report, cpu = _measured(plan)
        since_due = [moment - int(number) / STALL_RATE for number, moment in _truth(url)["replied"].items()]
        origin = min(since_due) - 0.005  # the promptest answer took the 5 ms it is told to take
        waited = [moment - origin for moment in since_due]
        _compare(f"golive, open loop {STALL_RATE}/s", _reported(report), waited, report, cpu)
    with _serving([str(KNOWN)]) as url:
        found = _wrk(url + STALL + "?n=0", WRK_CONNECTIONS, STALL_SECONDS)
        _compare(f"wrk, {WRK_CONNECTIONS} connections", found, waited)
    print("-- rates, against the smallest server")
    with _serving(["-c", SERVER]) as url:
        for rate in RATES:
            _print(f"open loop {rate:>6,}/s", *_measured(LoadPlan(url, rate=rate, duration=SECONDS, latency_limit=0.3)))
        plan = LoadPlan(url, rate=RATES[-1], duration=SECONDS, latency_limit=0.3)
        _print("the same, 2 generators", run_several(plan, 2), None)
        closed = LoadPlan(url, concurrency=CONNECTIONS, duration=SECONDS)
        _print(f"closed loop, {CONNECTIONS} users", *_measured(closed))
        found = _wrk(url, CONNECTIONS, SECONDS)
        figures = "  ".join(f"{name} {value:,.2f}" for name, value in found.items()) if found else "not installed"
        print(f"{f'wrk, {CONNECTIONS} connections':26} {figures}  (closed loop; ms)")


@contextmanager
def _serving(program: Sequence[str]) -> Iterator[str]:
    """A fresh server that prints its port and ends with its input; its URL without a slash."""
    with subprocess.Popen([sys.executable, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.stdin.close()


def _truth(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/truth", timeout=10) as answer:
        truth: dict[str, Any] = json.load(answer)
        return truth


def _reported(report: LoadReport) -> dict[str, float]:
    return {name: (report.latency.quantile(q) or 0.0) * 1000 for name, q in (("p50", 0.5), ("p99", 0.99))}


def _compare(
    name: str,
    found: dict[str, float] | None,
    truth: list[float],
    report: LoadReport | None = None,
    cpu: float = 0.0,
) -> None:
    """What was reported, what was true (seconds), and how far apart: p50 in ms, p99 in per cent."""
    if found is None:
        print(f"{name:26} not installed")
        return
    p50, p99 = (sorted(truth)[math.ceil(q * len(truth)) - 1] * 1000 for q in (0.5, 0.99))
    line = (
        f"{name:26} p50 {found['p50']:7.2f} ms (true {p50:7.2f}, off {found['p50'] - p50:+6.2f} ms)"
        f"  p99 {found['p99']:7.2f} ms (true {p99:7.2f}, off {found['p99'] / p99 - 1:+7.1%})"
    )
    if report is not None:
        holds = abs(found["p50"] - p50) <= P50_OFF_MS_MAX and abs(found["p99"] / p99 - 1) <= P99_OFF_RATIO_MAX
        within = "within" if holds else "NOT within"
        line += f"  {within} 1 ms and 5 %, sent {report.achieved_rate:,.0f}/s, CPU {cpu / report.elapsed_seconds:.0%}"
        lag50, lag99 = ((report.lag.quantile(q) or 0.0) * 1000 for q in (0.5, 0.99))
        line += f", own lag p50 {lag50:.2f} p99 {lag99:.2f} ms"
        line += "" if report.valid else f", {report.why}"
    print(line)


def _measured(plan: LoadPlan) -> tuple[LoadReport, float]:
    """The report, and the CPU time this process spent on it in seconds."""
    begin = time.process_time()
    report = run(plan)
    return report, time.process_time() - begin


def _print(name: str, report: LoadReport, cpu: float | None) -> None:
    lag, p50, p99 = (
        (histogram.quantile(q) or 0.0) * 1000
        for histogram, q in ((report.lag, 0.99), (report.latency, 0.5), (report.latency, 0.99))
    )
    # The CPU time of other processes is not ours to read while they live; a row of several has none.
    cost = ""
    if cpu is not None:
        cost = f"CPU {cpu / report.elapsed_seconds:4.0%}  {cpu / max(report.requests, 1) * 1e6:5.1f} us/request"
    print(
        f"{name:26} {report.achieved_rate:9,.0f}/s  {cost:26}"
        f"  lag p99 {lag:7.2f} ms  p50 {p50:6.2f}  p99 {p99:7.2f} ms  {'valid' if report.valid else report.why}"
    )


def _wrk(url: str, connections: int, seconds: float) -> dict[str, float] | None:
    """Requests per second, and p50 and p99 in milliseconds; None where wrk is not on PATH."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return None
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    figures = {}
    for name, pattern in (("rate", r"Requests/sec:\s+([\d.]+)()"), ("p50", r"50%\s+([\d.]+)(us|ms|s)"),
                          ("p99", r"99%\s+([\d.]+)(us|ms|s)")):  # fmt: skip
        match = re.search(pattern, text)
        if match is None:
            raise RuntimeError(f"wrk: expected a line with {name}, got:\n{text}")
        figures[name] = float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "": 1.0}[match[2]]
    return figures


if __name__ == "__main__":
    main()
