"""
What a scrape costs a fleet: four workers with 5,000 series each, after twenty of them were killed.

Every worker is asked for the CPU time of the thread its event loop runs in, before and after some scrapes: that is what
requests have to wait for, whatever else the machine does. Two registries: 5,000 series as Prometheus counts them
(lines), and 5,000 histograms, which are twenty times as many lines. No counter may go back and no file may be left.
Prints what was seen; ``--hold`` ends with 1 when a scrape takes 100 ms or more of any worker's loop.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_SECONDS = 0.1
EDGES = 17  # and the last one, sum and count: twenty lines for each histogram
APP = """
import json, os, sys, time
from golive import Chassis

chassis = Chassis.from_env()
lines, histograms = map(int, os.environ["SHAPE"].split(","))
counter = chassis.metrics.counter("wide_total", "Many.", ("number",), series_max=200_000)
for number in range(lines):
    counter.inc(str(number))
edges = tuple(float(edge) for edge in range(1, 18))
histogram = chassis.metrics.histogram("wide_seconds", "Many.", ("number",), edges=edges, series_max=200_000)
for number in range(histograms):
    histogram.observe(number % 19, f"/route/{number}")
seen = chassis.metrics.counter("seen_total", "Requests for the app.")

async def raw(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    seen.inc()
    body = json.dumps({"pid": os.getpid(), "cpu": time.thread_time()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

app = chassis.wrap(raw)
"""


class Connection:
    """One that is kept open: the same worker answers."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 30)

    def get(self, path: str) -> bytes:
        """The body of the answer. Raises: OSError when the worker is gone."""
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nhost: t\r\n\r\n".encode())
        data = self._until(b"", lambda held: b"\r\n\r\n" in held)
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return self._until(body, lambda held: len(held) >= length)

    def _until(self, held: bytes, done: Callable[[bytearray], bool]) -> bytes:
        data = bytearray(held)
        while not done(data):
            chunk = self.sock.recv(1 << 20)
            if not chunk:
                raise ConnectionError("the worker is gone")
            data += chunk
        return bytes(data)


class Fleet:
    """A `golive serve` of several workers, in a folder of its own."""

    def __init__(self, folder: Path, workers: int, lines: int, histograms: int) -> None:
        (folder / "wide.py").write_text(APP)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.workers = workers
        command = [sys.executable, "-m", "golive", "serve", "wide:app", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--workers", str(workers)],
            cwd=folder,
            env={**os.environ, "SHAPE": f"{lines},{histograms}", "GOLIVE_CHASSIS_LAME_DUCK": "0s"},
            stdout=subprocess.DEVNULL,
        )

    def connections(self) -> dict[int, Connection]:
        """One to each worker, by its process id."""
        found: dict[int, Connection] = {}
        deadline = time.monotonic() + 120
        while len(found) < self.workers:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"only {len(found)} of {self.workers} workers answer")
            try:
                connection = Connection(self.port)
                pid = json.loads(connection.get("/pid"))["pid"]
            except (OSError, ValueError, KeyError):  # not there yet, or still starting
                time.sleep(0.05)
                continue
            if pid in found:
                connection.sock.close()
                time.sleep(0.002)
            else:
                found[pid] = connection
        return found


def total(text: bytes) -> float:
    """The counter that must not go back."""
    return next(float(line[11:]) for line in text.splitlines() if line.startswith(b"seen_total "))


def run(workers: int, restarts: int, scrapes: int, lines: int, histograms: int) -> tuple[float, list[str]]:
    """The most a scrape takes of a worker's loop, in seconds, and what went wrong."""
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fleet-scrape-") as folder:
        fleet = Fleet(Path(folder), workers, lines, histograms)
        try:
            held = fleet.connections()
            shown, files = 0.0, sorted(os.listdir(folder))
            killed = 0
            while killed < restarts:
                shown = total(next(iter(held.values())).get("/metrics"))
                for pid in list(held)[: restarts - killed]:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
                held = fleet.connections()
                now = total(next(iter(held.values())).get("/metrics"))
                if now < shown:
                    faults.append(f"a counter went back from {shown:g} to {now:g}")
            if sorted(os.listdir(folder)) != files:
                faults.append(f"files were left: {sorted(os.listdir(folder))}")
            scraped, text = next(iter(held.values())), b""
            before = {pid: json.loads(each.get("/cpu"))["cpu"] for pid, each in held.items()}
            began = time.monotonic()
            for _ in range(scrapes):
                text = scraped.get("/metrics")
            wall = (time.monotonic() - began) / scrapes
            spent = [(json.loads(each.get("/cpu"))["cpu"] - before[pid]) / scrapes for pid, each in held.items()]
        finally:
            fleet.process.terminate()
            fleet.process.wait(60)
    rows = sum(not line.startswith(b"#") for line in text.splitlines())
    print(
        f"{workers} workers, {killed} killed, {rows:,} lines ({len(text) / 1e6:.1f} MB): "
        f"loop time a scrape {spent[0] * 1000:.1f} ms where it is asked, "
        f"{max(spent[1:], default=0) * 1000:.1f} ms in the others; answered in {wall * 1000:.0f} ms"
    )
    return max(spent), faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--scrapes", type=int, default=20)
    parser.add_argument("--series", type=int, default=5000)
    parser.add_argument("--lines-only", action="store_true", help="without the registry of histograms")
    parser.add_argument("--hold", action="store_true", help="end with 1 when a number is not held")
    options = parser.parse_args()
    shapes = [(options.series // 2, options.series // 2 // (EDGES + 3))]
    shapes += [] if options.lines_only else [(0, options.series)]
    worst, faults = 0.0, []
    for lines, histograms in shapes:
        seconds, wrong = run(options.workers, options.restarts, options.scrapes, lines, histograms)
        worst, faults = max(worst, seconds), faults + wrong
    if worst >= LIMIT_SECONDS:
        faults.append(f"a scrape takes {worst * 1000:.0f} ms of a loop, expected < {LIMIT_SECONDS * 1000:.0f} ms")
    held = f"held: < {LIMIT_SECONDS * 1000:.0f} ms of loop time a scrape, no counter went back, no file was left"
    print("\n".join(faults) or held)
    return 1 if faults and options.hold else 0


if __name__ == "__main__":
    sys.exit(main())
