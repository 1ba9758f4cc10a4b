"""
``golive demo``: a service, a gateway and a load on this machine; a good release, a killed controller, a bad release.

Everything is the real thing: the verbs a user would type, run as processes, against the reference service ``blocks``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import golive
from golive.cli.demo_story import shortcomings, story
from golive.cli.inbox import controller_of
from golive.config import Settings, load_settings
from golive.errors import ExitCode, NoGoError, UnavailableError
from golive.project import open_journal
from golive.rollout.journal import Journal
from golive.rollout.lease import Holder
from golive.rollout.machine import Phase, State

ENVIRONMENT = "demo"
WARM_UP_SECONDS = 6.0
"""Of load before the first release, so that the judge knows what is normal."""
SHIP_SECONDS = 90.0
KILL_WITHIN_SECONDS = 60.0
STAGE_OF_THE_KILL = 1


@click.command(short_help="See all of it work in two minutes, on this machine.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path(".golive/demo"), show_default=True)
@click.option("--rate", type=click.FloatRange(20, 2000), default=100.0, show_default=True, help="Requests per second.")
@click.option("--keep", is_flag=True, help="Leave everything running at the end.")
def command(folder: Path, rate: float, keep: bool) -> int:
    """
    Start a service behind the gateway under load, ship a good version (and kill the controller half-way), then ship a
    bad one. Writes summary.json into the folder; exit 0 only when all of it went as it should.
    """
    if importlib.util.find_spec("fastapi") is None:
        raise UnavailableError("demo: expected FastAPI, which its service is written with. pip install 'golive[demo]'.")
    stage = _prepare(folder.resolve())
    _say("1. The service, its gateway and the controller.")
    _golive(stage, "up", "--detach", "--version", "v1")
    try:
        with _load(stage, rate) as windows:
            time.sleep(WARM_UP_SECONDS)
            good = _ship_good(stage, windows)
            bad = _ship_bad(stage, windows)
    finally:
        if not keep:
            _golive(stage, "down")
    return _finish(stage, good, bad)


# ---- the three acts


def _ship_good(stage: Stage, windows: list[dict[str, Any]]) -> dict[str, Any]:
    _say("\n2. A good release, and kill -9 of the controller half-way.")
    _overlay(stage, "v2")
    ship = subprocess.Popen(stage.line("ship", "v2"), cwd=stage.folder, env=stage.environ)
    try:
        _kill_the_controller(stage)
        _golive(stage, "up", "--detach")
        _wait(stage, ship)
    finally:
        ship.kill()
    return _told(stage, "v2", windows)


def _ship_bad(stage: Stage, windows: list[dict[str, Any]]) -> dict[str, Any]:
    _say("\n3. A bad release: half of its requests fail.")
    _overlay(stage, "v3")
    _wait(stage, subprocess.Popen(stage.line("ship", "v3"), cwd=stage.folder, env=stage.environ))
    return _told(stage, "v3", windows)


def _wait(stage: Stage, ship: subprocess.Popen[bytes]) -> None:
    """Until `golive ship` has ended; a machine too slow for the demonstration is told so, with where it stands."""
    try:
        ship.wait(timeout=SHIP_SECONDS)
    except subprocess.TimeoutExpired:
        ship.kill()
        state = stage.newest()
        raise UnavailableError(
            f"demo: expected the release to be decided within {SHIP_SECONDS:g} s, it was not: "
            f"{state.verdict.reason if state and state.verdict else state and state.reason}"
        ) from None


def _kill_the_controller(stage: Stage) -> None:
    """kill -9 once the candidate has more than the first stage's traffic."""
    deadline = time.monotonic() + KILL_WITHIN_SECONDS
    while time.monotonic() < deadline:
        state = stage.newest()
        if state is not None and state.final:
            raise UnavailableError(
                f"demo: expected to kill the controller mid-rollout, it ended before: {state.reason}"
            )
        if state is not None and state.stage >= STAGE_OF_THE_KILL and state.phase is Phase.SOAKING:
            holder = stage.holder()
            if holder is not None:
                os.kill(holder.pid, signal.SIGKILL)
                _say(
                    f"          -- kill -9 {holder.pid}: nobody controls the rollout now; traffic stays where it is --"
                )
                return
        time.sleep(0.05)
    raise UnavailableError(f"demo: expected a second stage within {KILL_WITHIN_SECONDS:g} s, it did not come.")


def _told(stage: Stage, version: str, windows: list[dict[str, Any]]) -> dict[str, Any]:
    """The story of the rollout of *version*, once it is over to the last process."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = stage.newest()
        if state is not None and state.candidate == version and state.final:
            time.sleep(1.1)  # the load reports once a second
            entries = list(stage.journal.entries(state.id))
            return story(state, entries, list(windows))
        time.sleep(0.1)
    raise UnavailableError(f"demo: expected the rollout of {version} to end within a minute; it did not.")


def _finish(stage: Stage, good: dict[str, Any], bad: dict[str, Any]) -> int:
    faults = shortcomings(good, bad)
    summary = {"schema": "golive/demo/v1", "ok": not faults, "rollouts": [good, bad], "faults": faults}
    target = stage.folder.parent / "summary.json"
    target.write_text(json.dumps(summary, indent=2) + "\n")
    stage.journal.close()
    _say("")
    for rollout in (good, bad):
        weights = " ".join(f"{step['weight_percent']:g}" for step in rollout["stages"])
        _say(
            f"{rollout['version']}: {rollout['outcome']}, stages {weights} %, {rollout['requests']} requests, "
            f"{rollout['failed_requests_seen_by_clients']} failed, {rollout['requests_dropped']} dropped"
            + (f", found after {rollout['detection_seconds']} s" if rollout["detection_seconds"] else "")
            + (f", taken back in {rollout['rollback_seconds']} s" if rollout["rollback_seconds"] else "")
        )
    _say(f"summary: {target}")
    if faults:
        raise NoGoError("demo: " + "; ".join(faults))
    return ExitCode.OK


# ---- the stage they are played on


class Stage:
    """A copy of the reference service, and how to call golive there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "GOLIVE_GATEWAY__PORT": "0", "NO_COLOR": "1"}
        self.settings: Settings = load_settings(folder, environment=ENVIRONMENT, environ=self.environ)
        self.journal: Journal = open_journal(self.settings)

    def line(self, *words: str) -> list[str]:
        """The command line of a verb, in this project's demo environment."""
        return [sys.executable, "-m", "golive", *words, "--env", ENVIRONMENT]

    def newest(self) -> State | None:
        """The latest rollout."""
        rollouts = self.journal.rollouts(self.settings.service, limit=1)
        return rollouts[0] if rollouts else None

    def holder(self) -> Holder | None:
        """The controller."""
        return controller_of(self.journal, self.settings)

    def address(self) -> str:
        """Where the gateway listens."""
        record = json.loads((self.settings.state_dir / "gateway" / "gateway.json").read_text())
        return f"http://{record['host']}:{record['port']}"


def _prepare(folder: Path) -> Stage:
    """A fresh copy of the reference service under *folder*; what an earlier demonstration left running is stopped."""
    project = folder / "blocks"
    if (project / "golive.toml").exists():
        subprocess.run(
            [sys.executable, "-m", "golive", "down", "--env", ENVIRONMENT],
            cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(reference_service(), project, ignore=shutil.ignore_patterns("__pycache__", ".golive"))
    return Stage(project)


def reference_service() -> Path:
    """
    The folder of the service ``blocks``: part of the installed package, or of the repository beside it.

    Raises: UnavailableError when golive was installed without it.
    """
    package = Path(golive.__file__).parent
    for candidate in (package / "examples" / "blocks", package.parents[1] / "examples" / "blocks"):
        if (candidate / "golive.toml").exists():
            return candidate
    raise UnavailableError("demo: expected the example service in the installation, found none. Install golive again.")


def _overlay(stage: Stage, version: str) -> None:
    """Change the working tree into *version*, as a developer would."""
    shutil.copytree(stage.folder / "demo" / version, stage.folder, dirs_exist_ok=True)


def _golive(stage: Stage, *words: str) -> None:
    done = subprocess.run(stage.line(*words), cwd=stage.folder, env=stage.environ, timeout=180, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"demo: expected `golive {' '.join(words)}` to work, it ended with {done.returncode}.")


@contextmanager
def _load(stage: Stage, rate: float) -> Iterator[list[dict[str, Any]]]:
    """Clients, in a process of their own; yields the seconds they report as they report them."""
    words = ["load", stage.address(), "--rate", f"{rate:g}", "--duration", "10m", "--users", "2000", "-o", "ndjson"]
    words += ["--mix", str(stage.folder / "demo" / "requests.json")]
    with (stage.folder / ".golive" / "load.log").open(
        "w"
    ) as log:  # its verdict on its own timing is not the point here
        process = subprocess.Popen(
            [sys.executable, "-m", "golive", *words], cwd=stage.folder, stdout=subprocess.PIPE, stderr=log, text=True
        )
    windows: list[dict[str, Any]] = []
    reader = threading.Thread(target=_read, args=(process, windows), daemon=True)
    reader.start()
    try:
        yield windows
    finally:
        process.terminate()
        process.wait(timeout=20)
        reader.join(timeout=5)


def _read(process: subprocess.Popen[str], windows: list[dict[str, Any]]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        window = json.loads(line)
        if window.get("event") == "second":
            windows.append({**window, "at": time.time()})


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()
