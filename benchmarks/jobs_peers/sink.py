"""
Where the no-op jobs of every system report that they ran: a small file per worker process, in shared memory.

Layout, doubles: runs, first run, last run, then the delays of jobs that carry the time they were sent at. The clock is
CLOCK_MONOTONIC, the same for all processes of the machine. A report costs about a microsecond, for all systems alike.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from pathlib import Path

FOLDER = Path(os.environ.get("BENCH_SINK", "."))
DELAYS_MAX = 1000
_SIZE = 8 * (3 + DELAYS_MAX)
_head = struct.Struct("3d")
_mine: dict[int, tuple[mmap.mmap, list[float]]] = {}
_one_at_a_time = threading.Lock()  # some systems run jobs in threads; without it runs went uncounted


def ran(sent_at: float = 0.0) -> None:
    """One run, in this process, of a job sent at *sent_at* (0.0: one of a backlog)."""
    now, process = time.monotonic(), os.getpid()
    with _one_at_a_time:
        if process not in _mine:
            with (FOLDER / f"{process}.runs").open("w+b") as file:
                file.truncate(_SIZE)
                _mine[process] = mmap.mmap(file.fileno(), _SIZE), [0.0, now]
        memory, head = _mine[process]
        if sent_at and head[0] < DELAYS_MAX:
            struct.pack_into("d", memory, 24 + 8 * int(head[0]), now - sent_at)
        head[0] += 1
        _head.pack_into(memory, 0, head[0], head[1], now)


def read() -> tuple[int, float, float, list[float]]:
    """Runs of all processes, the first and the last of them, and the delays."""
    runs, first, last, delays = 0, float("inf"), 0.0, []
    for path in FOLDER.glob("*.runs"):
        data = path.read_bytes()
        if len(data) < _SIZE or not (count := int(_head.unpack_from(data)[0])):
            continue
        _, begin, end = _head.unpack_from(data)
        runs, first, last = runs + count, min(first, begin), max(last, end)
        delays += [delay for delay in struct.unpack_from(f"{min(count, DELAYS_MAX)}d", data, 24) if delay]
    return runs, first, last, delays


def clear() -> None:
    """Forget; only while no worker runs."""
    for path in FOLDER.glob("*.runs"):
        path.unlink()
