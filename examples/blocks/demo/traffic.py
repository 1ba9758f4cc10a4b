"""
A day of drivers against the gateway, in a minute: ``python demo/traffic.py http://127.0.0.1:8000 60``.

Prints what they saw, by the ranking that answered them; jobs and explanations have none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from golive.load import Histogram, LoadPlan, RequestSpec, run

RATE = 60.0
DRIVERS = 500


def main(url: str, seconds: float) -> None:
    """Send the mix of ``requests.json`` to *url*, open loop, for *seconds*."""
    rows = json.loads(Path(__file__).with_name("requests.json").read_text(encoding="utf-8"))
    mix = [RequestSpec(**row) for row in rows]
    report = run(LoadPlan(url, rate=RATE, duration=seconds, requests=mix, users=DRIVERS, tally_json="ranking"))
    print(f"{report.requests} requests, {report.failed} failed, {report.dropped} dropped; p95 {_p95(report.latency)}")
    print("ranking: " + ", ".join(f"{name} {count}" for name, count in sorted(report.tally.items())))


def _p95(latency: Histogram) -> str:
    seconds = latency.quantile(0.95)
    return "unknown" if seconds is None else f"{seconds * 1000:.0f} ms"


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
