"""Gates that start, stop, starve and alarm prove themselves: each defect turns exactly its gate red."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from golive.gates import HealthProbe, ShutdownProbe, SmokeRequest, Target, Verdict, run_gates
from golive.promises.operation import (
    AlarmDrillProbe,
    ConfigRefusalProbe,
    DependencyProbe,
    OldCodeProbe,
    RefusalCase,
    RehearsalProbe,
)
from golive.promises.release import Claim, ClaimsProbe
from golive.timing import format_instant

pytestmark = pytest.mark.process
PROGRAM = str(Path(__file__).with_name("program.py"))
DEFECTS = [
    "config-refusal: it starts all the same",
    "config-refusal: it ends as if all were well",
    "config-refusal: nobody learns which setting",
    "dependency: nobody notices",
    "dependency: liveness follows it",
    "dependency: readiness hangs with it",
    "dependency: it never comes back",
    "drain-health: it calls itself dead",
    "drain-health: it stays ready",
    "old-code: a column it reads was renamed",
    "alarm-drill: the notification is about something else",
    "alarm-drill: nothing arrives",
    "rollback-rehearsal: the old version does not come back",
    "rollback-rehearsal: it takes too long",
    "rollback-rehearsal: the last one was long ago",
    "claims: the improvement is not there",
]
GATES = list(dict.fromkeys(defect.partition(":")[0] for defect in DEFECTS))
_POST = (
    "import sys, urllib.request as r; "
    "r.urlopen(r.Request(sys.argv[1], data=b'{\"alert\": \"' + sys.argv[2].encode() + b'\"}'), timeout=5)"
)


@asynccontextmanager
async def dependency() -> AsyncIterator[str]:
    async def pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(b"pong\n")
        writer.close()

    server = await asyncio.start_server(pong, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


def schema(defect: str) -> str:
    column = "remark" if defect.startswith("old-code") else "note"
    return f"import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('create table orders (id, {column})')"


def rehearsal(defect: str, folder: Path) -> RehearsalProbe:
    marker = folder / "rolled-back"
    run = ("{python}", "-c", f"open({str(marker)!r}, 'w')")
    if defect == "rollback-rehearsal: the old version does not come back":
        return RehearsalProbe(run, SmokeRequest("/version", expect_json={"version": "v1"}), 1.0)
    if defect == "rollback-rehearsal: it takes too long":
        run, within = (), 5.0
        (folder / "drills.jsonl").write_text(
            json.dumps({"at": format_instant(datetime.now(UTC)), "seconds": 6.0}) + "\n"
        )
        return RehearsalProbe(run, within=within, record="drills.jsonl")
    if defect == "rollback-rehearsal: the last one was long ago":
        at = format_instant(datetime.now(UTC) - timedelta(days=40))
        (folder / "drills.jsonl").write_text(json.dumps({"at": at, "seconds": 2.0}) + "\n")
        return RehearsalProbe(record="drills.jsonl")
    return RehearsalProbe(run, SmokeRequest("/version", expect_json={"version": "v0"}), 30.0)


def promises(url: str, upstream: str, defect: str, folder: Path) -> Target:
    start = (sys.executable, PROGRAM, "{port}", defect)
    said = "disk full" if defect == "alarm-drill: the notification is about something else" else "{marker}"
    fire = ("{python}", "-c", "" if defect == "alarm-drill: nothing arrives" else _POST, "{webhook}", said)
    measured = f'print(\'{{"before": 2, "after": {1.9 if defect.startswith("claims") else 0.2}}}\')'
    return Target(
        url,
        root=folder,
        environment="staging",
        health=HealthProbe(live="/livez", ready="/health/ready"),
        shutdown=ShutdownProbe(start, SmokeRequest("/slow"), grace=5.0),
        promises=(
            ConfigRefusalProbe((RefusalCase({"CORS_ORIGINS": "shop.example"}, "CORS_ORIGINS"),), start, 1.5),
            DependencyProbe(upstream, {"UPSTREAM": "{proxy}"}, start, live_max=2.0, notice_max=1.5, recover_max=3.0),
            OldCodeProbe(
                (("{python}", "-c", schema(defect), "{scratch}/orders.db"),),
                start,
                (SmokeRequest("/orders"),),
                {"DATABASE": "{scratch}/orders.db"},
            ),
            AlarmDrillProbe(fire, within=2.0 if defect.startswith("alarm-drill") else 20.0),
            rehearsal(defect, folder),
            ClaimsProbe((Claim("error handling", ("{python}", "-c", measured), 0.8),)),
        ),
    )  # fmt: skip


async def judged(gates: list[str], defect: str, folder: Path) -> Any:
    async def version(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"version": "v0"}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(version, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with dependency() as upstream:
        report = await run_gates(gates, promises(url, upstream, defect, folder))
    server.close()
    return report


async def test_the_healthy_program_is_green_throughout(tmp_path: Path, prove: Callable[..., None]) -> None:
    """Otherwise red would mean nothing."""
    prove(await judged(GATES, "", tmp_path), "")
    assert json.loads((tmp_path / ".golive/rehearsals.jsonl").read_text())["environment"] == "staging"


@pytest.mark.parametrize("gate", GATES)
async def test_each_defect_of_a_process_turns_exactly_its_gate_red(
    tmp_path: Path, prove: Callable[..., None], gate: str
) -> None:
    """Not a neighbour, and not none. The defects of a gate are judged side by side."""
    defects = [defect for defect in DEFECTS if defect.startswith(f"{gate}:")]
    folders = [tmp_path / str(number) for number in range(len(defects))]
    for folder in folders:
        folder.mkdir()
    reports = await asyncio.gather(*(judged([gate, "claims"], *each) for each in zip(defects, folders, strict=True)))
    for defect, report in zip(defects, reports, strict=True):
        prove(report, defect)


async def test_a_copy_that_cannot_be_started_makes_its_gates_unavailable(tmp_path: Path) -> None:
    """Nothing was proven about the service; a missing command is told as such."""
    async with dependency() as upstream:
        target = promises("http://127.0.0.1:1", upstream, "", tmp_path)
    broken = tuple(
        replace(each, command=("no-such-program",)) if hasattr(each, "command") else each for each in target.promises
    )
    report = await run_gates(["config-refusal", "dependency"], replace(target, promises=broken))
    assert {result.outcome.verdict for result in report.results} == {Verdict.UNAVAILABLE}
    assert all("no-such-program: cannot be started" in result.outcome.sentence for result in report.results)
