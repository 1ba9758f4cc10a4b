"""
What the operating system knows about this process, read at scrape time. On systems without ``/proc`` only what the
stdlib has.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from golive.chassis.metrics import Metrics


def register_process_metrics(metrics: Metrics, *, started_at: float, pid: int) -> None:
    """The standard ``process_*`` metrics, with the names every dashboard knows."""
    metrics.gauge("process_start_time_seconds", "Unix time of the start.", source=lambda: started_at, across="max")
    metrics.counter("process_cpu_seconds_total", "User and system time spent.", source=time.process_time)
    if Path(f"/proc/{pid}/statm").exists():
        metrics.gauge("process_resident_memory_bytes", "Memory held.", source=_resident_bytes)
        metrics.gauge("process_open_fds", "Open file descriptors.", source=_open_descriptors)


def _resident_bytes() -> float:
    return float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _open_descriptors() -> float:
    return float(len(os.listdir("/proc/self/fd")))
