"""
A service under test: run as it is run in production, and judged by a profile of gates as ``golive check`` judges it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from golive.config import load_settings
from golive.gates import Report, run_gates
from golive.gates.profiles import profile
from golive.targets import gates_of, target_of, waivers_of

START_SECONDS = 60.0
"""A loaded machine takes its time; a process that ends stops the wait at once."""


@contextmanager
def serving(app: str, folder: Path, log: Path, environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """
    ``golive serve APP`` in *folder* on a port of its own, its output in *log*; the URL once it listens. SIGTERM after.

    Raises: AssertionError with the log when it does not come up.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GOLIVE_")}
    command = [sys.executable, "-m", "golive", "serve", app, "--host", "127.0.0.1", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**kept, **(environ or {})}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield f"http://127.0.0.1:{_port(process, log)}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.02)
    raise AssertionError(f"the service does not listen: {log.read_text()}")


async def judged(name: str, folder: Path, url: str, environ: Mapping[str, str] | None = None) -> Report:
    """What ``golive check --profile NAME --url URL`` says in *folder*, with *environ* for golive.toml."""
    chosen = profile(name)
    settings = load_settings(folder, environ=environ or {})
    target = chosen.fit(target_of(settings, url, {}))
    report = await run_gates(chosen.gates, target, waivers=waivers_of(settings), gates=gates_of(settings))
    return replace(report, profile=name)
