"""
``schemathesis``: requests made from the service's own OpenAPI document are answered as it says, judged by schemathesis.

It runs in an empty folder, so that it leaves nothing in the tree, and with one seed, so that two runs ask the same.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from golive.gates import tool
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.tools import SchemathesisProbe

_INSTALL = "schemathesis (pip)"
_SEED = 1
_SHOWN = 5


async def check(target: Target) -> Outcome:
    """PASS when schemathesis has asked every operation and nothing it checks was wrong."""
    probe = target.required(SchemathesisProbe, "schemathesis")
    url = Client(target).url.rstrip("/") + probe.path
    options = ["--checks", ",".join(probe.checks), "--max-examples", str(max(probe.examples, 1)), "--workers=1",
               "--phases=examples,coverage,fuzzing", f"--seed={_SEED}", "--warnings=off", "--report=json",
               "--report-json-path=report.json"]  # fmt: skip
    options += [word for pattern in probe.exclude for word in ("--exclude-path-regex", pattern)]
    options += [] if target.tls_verify else ["--tls-verify=false"]
    with tempfile.TemporaryDirectory(prefix="golive-schemathesis-") as scratch:
        # headers are credentials: in the environment, not on a command line that everybody can read
        env = {f"GOLIVE_HEADER_{number}": value for number, value in enumerate(target.headers.values())}
        lines = [
            f'{json.dumps(name)} = "${{{variable}}}"\n' for name, variable in zip(target.headers, env, strict=True)
        ]
        await asyncio.to_thread(Path(scratch, "schemathesis.toml").write_text, "".join(["[headers]\n", *lines]))
        ran = await tool.run_tool(
            "schemathesis", ["run", url, *options], install=_INSTALL, root=Path(scratch), timeout=probe.timeout, env=env
        )
        report = _report(Path(scratch, "report.json"))
    said = _without(ran.tail, target)
    if ran.code not in (0, 1) or not isinstance(report, dict):
        return unavailable(f"schemathesis ended with {ran.code}: {said or 'without a word'}")
    return _judge(report, said, ran.code)


def _judge(report: dict[str, Any], said: str, code: int) -> Outcome:
    try:
        failures = [
            {"operation": str(operation), "type": str(failure["type"]), "title": str(failure["title"])}
            for failure in report["failures"]
            for operation in failure["operations"]
        ]
        tested, selected = int(report["operations"]["tested"]), int(report["operations"]["selected"])
        requests, errors, complete = int(report["test_cases"]["generated"]), report["errors"], report["complete"]
    except (TypeError, KeyError, ValueError):
        return unavailable(f"schemathesis wrote a report golive cannot read: {said}")
    evidence = {"seed": _SEED, "requests": requests, "operations": tested, "failures": failures[:500]}
    if failures:
        shown = "; ".join(f"{each['operation']}: {each['title']}" for each in failures[:_SHOWN])
        more = f" and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        return failed(f"{len(failures)} findings of schemathesis: {shown}{more}", **evidence, output_tail=said)
    if code != 0 or errors or not complete or not requests or tested < selected:
        return unavailable(f"schemathesis asked {tested} of {selected} operations: {said}", **evidence)
    return passed(f"schemathesis: {requests} requests to {tested} operations, answered as described", **evidence)


def _report(path: Path) -> Any:
    try:
        if path.stat().st_size > tool.OUTPUT_MAX:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _without(text: str, target: Target) -> str:
    """*text* without the values of the caller's headers."""
    for value in target.headers.values():
        text = text.replace(value, "[header]") if value else text
    return text


GATE = Gate(
    "schemathesis",
    "Requests made from the OpenAPI document are answered as it says (schemathesis).",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=900.0,
    exclusive=True,
)
