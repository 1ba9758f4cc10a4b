"""Every gate against what no service should be: whatever comes back, a verdict or UNAVAILABLE, never a trace."""

import asyncio
import dataclasses
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import golive.config
from golive.config import load_settings
from golive.gates import Phase, Report, Target, Verdict, catalogue, run_gates
from golive.gates.builtin import load_test, soak
from golive.promises.behaviour import SoakProbe
from golive.promises.operation import AlarmDrillProbe, DependencyProbe, OldCodeProbe, RehearsalProbe
from golive.promises.state import CloudWatchProbe, InfrastructureProbe
from golive.targets import target_of

pytestmark = pytest.mark.process
EXAMPLE = Path(golive.config.__file__).with_name("example.toml")
#: they start processes, or talk to AWS: hostile answers of the service do not reach them
ELSEWHERE = {
    "shutdown",
    "drain-health",
    "config-refusal",
    "dependency",
    "old-code",
    "claims",
    "infrastructure",
    "cloudwatch",
}
ASKING = [name for name in catalogue() if name not in ELSEWHERE]
HOSTILE = {
    "bytes that are no HTTP": b"\x00\xff\x16\x03\x01 nonsense\r\n\r\n",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "nothing": b"",
    "JSON null": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nnull",
    "a broken page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 35\r\n\r\n"
    b"<script src='http://['></script>[]{}",
    "strange types": b"HTTP/1.1 201 C\r\nConnection: close\r\n\r\n"
    b'{"paths": {"/a": 3}, "id": [], "jobId": 7, "status": {}, "x": 0}',
    "a huge body": b"HTTP/1.1 200 OK\r\n\r\n" + b"# TYPE a counter\na 1\n" * 300_000,
    "deep JSON": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"[" * 100_000,
    "a redirect to itself": b"HTTP/1.1 307 T\r\nLocation: //evil.test/\r\nContent-Length: 0\r\n\r\n",
    "control characters": b"HTTP/1.1 500 \x1b[2J\r\nX-Request-ID: \x1b]0;x\x07\r\nContent-Length: 7\r\n\r\n\x1b[31mre",
}  # fmt: skip


def everything(url: str, root: Path) -> Target:
    """The example's promises, quick ones: nobody waits for 24 hours here."""
    target = target_of(load_settings(EXAMPLE, environ={}), url, {})
    quick = {
        SoakProbe: {"duration": 0.3},
        RehearsalProbe: {"run": ()},
        AlarmDrillProbe: {"fire": ("true",), "within": 0.3},
    }
    promises = tuple(
        dataclasses.replace(each, **{
            **({"quiet": 0.1} if hasattr(each, "quiet") else {}),
            **({"within": 0.3} if hasattr(each, "within") else {}),
            **({"requests": 20} if type(getattr(each, "requests", None)) is int else {}),
            **({"url": "sqlite:///none.db"} if hasattr(each, "url") and "postgres" in str(each.url) else {}),
            **({"url": "redis://127.0.0.1:1"} if "redis" in str(getattr(each, "url", "")) else {}),
            **quick.get(type(each), {}),
        })
        for each in target.promises
        if not isinstance(each, DependencyProbe | OldCodeProbe | InfrastructureProbe | CloudWatchProbe)
    )  # fmt: skip
    steps = tuple(
        dataclasses.replace(each, steps=tuple(dataclasses.replace(step, until=0.2) for step in each.steps))
        if hasattr(each, "steps") else each
        for each in promises
    )  # fmt: skip
    jobs = dataclasses.replace(target.jobs, finish_max=0.3) if target.jobs else None
    load = dataclasses.replace(target.load, requests=20, seconds_max=1.0)
    redaction = (
        dataclasses.replace(target.redaction, logs=(root / "app.log",), settle=0.0) if target.redaction else None
    )
    return dataclasses.replace(
        target, root=root, startup_timeout=0.3, promises=steps, jobs=jobs, load=load, redaction=redaction,
        stability=dataclasses.replace(target.stability, requests=10, seconds_max=2.0),
        health=dataclasses.replace(target.health, live="/livez", ready=None, startup=None),
    )  # fmt: skip


async def judged(url: str, root: Path) -> Report:
    """Every gate by itself: what it needs is taken for granted, so that each of them meets the hostile answers."""
    known = {name: dataclasses.replace(gate, depends_on=(), timeout=40.0) for name, gate in catalogue().items()}
    return await run_gates(ASKING, everything(url, root), gates=known)


def check(report: Report) -> None:
    for result in report.results:
        assert "the gate itself failed" not in result.outcome.sentence, f"{result.gate}: {result.outcome.sentence}"
        assert "did not finish within" not in result.outcome.sentence, f"{result.gate}: {result.outcome.sentence}"
        assert result.outcome.sentence.isprintable(), result.gate
        assert "Traceback" not in result.outcome.sentence
        json.dumps(dict(result.outcome.evidence), default=str)
    assert not report.go


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
async def test_no_gate_fails_over_a_hostile_answer(serve: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    """Every gate, ten kinds of answers: each ends in a verdict with a sentence one can print."""
    (tmp_path / "app.log").write_text("")
    check(await judged(await serve(HOSTILE[kind]), tmp_path))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://no-such-host.invalid", "http://[::1"]
)
async def test_no_gate_fails_over_nobody(tmp_path: Path, url: str) -> None:
    """Refused, not resolved, not an address: UNAVAILABLE for all that need an answer, at once."""
    (tmp_path / "app.log").write_text("")
    begin = time.monotonic()
    report = await judged(url, tmp_path)
    check(report)
    asking = {"startup", "smoke", "auth", "cors", "contract", "pages", "tenants", "idempotency", "async-accept"}
    verdicts = {result.gate: result.outcome.verdict for result in report.results}
    assert all(verdicts[gate] in (Verdict.UNAVAILABLE, Verdict.FAIL) for gate in asking)
    assert time.monotonic() - begin < 60


async def test_a_server_that_takes_connections_and_says_nothing_ends_every_gate(tmp_path: Path) -> None:
    """By each request's own limit."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(512)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        known = {
            name: dataclasses.replace(catalogue()[name], depends_on=(), timeout=0.5) for name in ("health", "auth")
        }
        report = await run_gates(list(known), everything(url, tmp_path), gates=known)
    assert {result.outcome.verdict for result in report.results} == {Verdict.UNAVAILABLE}


async def test_files_that_cannot_be_read_are_no_trace(tmp_path: Path) -> None:
    """A link to nowhere, a link in a circle, a pipe, binary, invalid UTF-8, and a name with a line break."""
    (tmp_path / "nowhere.py").symlink_to("gone.py")
    (tmp_path / "circle.py").symlink_to("circle.py")
    (tmp_path / "binary.py").write_bytes(b"\0" * 100)
    (tmp_path / "latin.py").write_bytes(b"X = '\xe9'\n")
    (tmp_path / "two\nlines.py").write_text("X = 1\n")
    (tmp_path / "nul.json").write_bytes(b"[" * 50_000)
    preflight = [name for name, gate in catalogue().items() if gate.phase is Phase.PREFLIGHT and name not in ELSEWHERE]
    report = await run_gates(preflight, everything("", tmp_path))
    for result in report.results:
        assert "the gate itself failed" not in result.outcome.sentence, f"{result.gate}: {result.outcome.sentence}"


def test_a_gate_waits_for_no_pipe(tmp_path: Path) -> None:
    """A named pipe in the tree has no end."""
    os.mkfifo(tmp_path / "pipe.py")
    target = everything("", tmp_path)
    report = asyncio.run(asyncio.wait_for(run_gates(["syntax", "secrets", "no-localhost"], target), 20))
    assert report.results


def test_long_gates_have_limits_of_their_own() -> None:
    """Nothing in the catalogue can run for ever."""
    assert all(0 < gate.timeout <= soak.TIMEOUT_MAX for gate in catalogue().values())
    assert load_test.GATE.timeout <= 120
