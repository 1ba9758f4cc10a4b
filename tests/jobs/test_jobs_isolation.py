"""Handlers in processes of their own: whatever they do, the worker lives and the job ends with the reason."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golive.errors import ConfigError
from golive.jobs import Jobs, JobsSettings, State
from golive.testing.jobs_running import finished, until, working

pytestmark = pytest.mark.process

HERE = Path(__file__).parent


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> object:
    """The module of handlers, importable here and in the processes."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("handlers_for_processes")


@pytest.fixture
def isolated() -> Jobs:
    """An application in memory; one attempt."""
    return Jobs(JobsSettings(url="memory://", attempts_max=1, version="v7"))


def alive(pid: int) -> bool:
    """True while the process runs; a zombie has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> None:
    """Wait until it is."""

    async def look() -> bool:
        return not alive(pid)

    await until(look)


async def pid_in(path: Path) -> int:
    """What the handler wrote there."""

    async def look() -> int:
        return int(path.read_text()) if path.exists() else 0

    return await until(look)


async def test_a_run_has_its_own_process_and_the_usual_contract(isolated: Jobs, handlers: object) -> None:
    """Typed payload, context, result; from a worker and for a caller who waits."""
    isolated.handler("square", isolation="process")(handlers.square)  # type: ignore[attr-defined]
    async with working(isolated):
        done = await finished(isolated, await isolated.submit("square", 7, tenant="acme"))
        outcome = await isolated.run("square", b"8")
    result = json.loads(done.result or b"")
    assert (result["square"], result["attempt"], result["tenant"]) == (49, 1, "acme")
    assert result["pid"] != os.getpid()
    assert json.loads(outcome.result or b"")["square"] == 64


async def test_progress_comes_through(isolated: Jobs, handlers: object, tmp_path: Path) -> None:
    """While it runs; and a coroutine function runs there as well."""
    isolated.handler("slowly", isolation="process")(handlers.slowly)  # type: ignore[attr-defined]
    async with working(isolated):
        job = await isolated.submit("slowly", str(tmp_path / "go"))

        async def half() -> bool:
            found = await isolated.get(job.id)
            return bool(found and found.progress and found.progress.message == "half")

        await until(half)
        (tmp_path / "go").touch()
        assert (await finished(isolated, job)).result == b'"done"'


EXPECTED = {
    "raises": ("internal_error", "ValueError: secret detail"),
    "refuses": ("venue_unknown", ""),
    "exits": ("internal_error", "SystemExit: 3"),
    "exits_hard": ("process_died", "process died: exit code 7"),
    "exits_hard_and_clean": ("process_died", "process died: exit code 0"),
    "crashes": ("process_died", "process died: SIGSEGV"),
    "kills_itself": ("process_died", "process died: SIGKILL"),
    "eats_memory": ("internal_error", "MemoryError"),
    "recurses": ("internal_error", "RecursionError: maximum recursion depth exceeded"),
    "blocks": ("timeout", ""),
    "never_returns": ("timeout", ""),
    "returns_rubbish": ("internal_error", "TypeError: expected a result JSON can hold, got object"),
    "returns_too_much": ("result_too_large", ""),
    "closes_everything": ("process_died", "process died: exit code 1"),
    "forks_and_returns_twice": (None, ""),
}


@pytest.mark.timeout(180)
async def test_whatever_a_handler_does_its_job_ends_with_the_reason(isolated: Jobs, handlers: object) -> None:
    """All of them at once on one worker, which then still runs an ordinary job; no client learns of exceptions."""
    misdeeds = handlers.MISDEEDS  # type: ignore[attr-defined]
    for name, function in misdeeds.items():
        limits = {"memory_bytes_max": 1 << 30} if name == "eats_memory" else {}
        timeout = "3s" if EXPECTED[name][0] == "timeout" else "100s"
        isolated.handler(name, isolation="process", timeout=timeout, **limits)(function)
    isolated.handler("square", isolation="process")(handlers.square)  # type: ignore[attr-defined]
    async with working(isolated, concurrency=4):
        jobs = {name: await isolated.submit(name) for name in misdeeds}
        done = {name: await finished(isolated, job, 120) for name, job in jobs.items()}
        last = await finished(isolated, await isolated.submit("square", 3), 60)
    said = {name: (job.failure and job.failure.code, job.failure.exception if job.failure else "")
            for name, job in done.items()}  # fmt: skip
    said = {name: (code, why[: len(EXPECTED[name][1])]) for name, (code, why) in said.items()}
    assert said == EXPECTED
    assert done["forks_and_returns_twice"].result == b'"once"'
    assert "secret" not in (done["raises"].failure.message if done["raises"].failure else "secret")
    assert last.state is State.SUCCEEDED


async def test_a_cancelled_run_is_killed(isolated: Jobs, handlers: object, tmp_path: Path) -> None:
    """Even one that only computes, which nothing but a process of its own makes possible."""
    isolated.handler("spin", isolation="process")(handlers.spin)  # type: ignore[attr-defined]
    async with working(isolated):
        job = await isolated.submit("spin", str(tmp_path / "pid"))
        pid = await pid_in(tmp_path / "pid")
        await isolated.cancel(job.id)
        assert (await finished(isolated, job)).state is State.CANCELLED
        await gone(pid)


async def test_what_a_handler_forked_ends_with_it(isolated: Jobs, handlers: object, tmp_path: Path) -> None:
    """A grandchild that spins on holds neither the slot nor the processor."""
    isolated.handler("brood", isolation="process", timeout="60s")(handlers.brood)  # type: ignore[attr-defined]
    async with working(isolated):
        done = await finished(isolated, await isolated.submit("brood", str(tmp_path / "pid")))
        assert done.result == b'"returned"'
        await gone(await pid_in(tmp_path / "pid"))


async def test_a_killed_worker_takes_its_processes_along(tmp_path: Path) -> None:
    """kill -9 of the worker: the run that computes for ever does not outlive it."""
    program = (
        "import asyncio, sys; from golive.jobs import Jobs; from handlers_for_processes import spin\n"
        "jobs = Jobs('memory://'); jobs.handler('spin', isolation='process')(spin)\n"
        f"asyncio.run(jobs.run('spin', b'\"{tmp_path}/pid\"'))"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=HERE)
    try:
        pid = await pid_in(tmp_path / "pid")
        assert alive(pid)
    finally:
        worker.kill()
        worker.wait()
    await gone(pid)


def test_what_another_process_cannot_import_is_refused(isolated: Jobs) -> None:
    """At registration, with what to do."""

    def local() -> None: ...

    with pytest.raises(ConfigError, match="Move it to the top of a module"):
        isolated.handler("local", isolation="process")(local)
    with pytest.raises(ConfigError, match='expected "none" or "process"'):
        isolated.handler("x", isolation="fork")(local)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="memory_bytes_max"):
        isolated.handler("x", memory_bytes_max=1)(local)
    with pytest.raises(ConfigError, match="memory_bytes_max"):
        isolated.handler("x", isolation="process", memory_bytes_max=0)(time.sleep)
