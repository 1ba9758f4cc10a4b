"""
What the load engine holds on this machine, in one run of about 20 s: open-loop rates with their scheduling lag and
CPU, the closed-loop ceiling, and wrk beside it where it is installed.

The server is the smallest that can be written, in a process of its own; on two cores it competes with the generator,
so the figures are pessimistic.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time

from golive.load import LoadPlan, LoadReport, run

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
RATES = (1_000, 5_000, 10_000, 15_000, 20_000)
SECONDS = 3.0
CONNECTIONS = 32


def main() -> None:
    """Print the table."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
        for rate in RATES:
            _print(f"open loop {rate:>6,}/s", *_measured(LoadPlan(url, rate=rate, duration=SECONDS, latency_limit=0.3)))
        closed = LoadPlan(url, concurrency=CONNECTIONS, duration=SECONDS)
        _print(f"closed loop, {CONNECTIONS} users", *_measured(closed))
        print(f"{f'wrk, {CONNECTIONS} connections':26} {_wrk(url)}")
        server.stdin.close()


def _measured(plan: LoadPlan) -> tuple[LoadReport, float]:
    """The report, and the CPU time this process spent on it in seconds."""
    begin = time.process_time()
    report = run(plan)
    return report, time.process_time() - begin


def _print(name: str, report: LoadReport, cpu: float) -> None:
    lag, p50, p99 = (
        (histogram.quantile(q) or 0.0) * 1000
        for histogram, q in ((report.lag, 0.99), (report.latency, 0.5), (report.latency, 0.99))
    )
    print(
        f"{name:26} {report.achieved_rate:9,.0f}/s  CPU {cpu / report.elapsed_seconds:4.0%}"
        f"  {cpu / max(report.requests, 1) * 1e6:5.1f} us/request"
        f"  lag p99 {lag:7.2f} ms  p50 {p50:6.2f}  p99 {p99:7.2f} ms  {'valid' if report.valid else report.why}"
    )


def _wrk(url: str) -> str:
    wrk = shutil.which("wrk")
    if wrk is None:
        return "not installed"
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS:.0f}s", "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = {
        name: re.search(pattern, text)
        for name, pattern in (("rate", r"Requests/sec:\s+(\S+)"), ("p99", r"99%\s+(\S+)"))
    }
    return "  ".join(f"{name} {match[1] if match else '-'}" for name, match in found.items()) + "  (closed loop)"


if __name__ == "__main__":
    main()
