"""
``rollback-rehearsal``: the way back was walked, within its time, not long ago. Source: seed 003 (rollback plan
documented *and tested*, rollback time < 5 minutes).

Where the rollback can be done (staging), the gate does it and writes a record; where it must not be done for practice
(production), the record counts while it is fresh.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.process import run_to_end
from golive.gates.target import Target
from golive.promises.operation import RehearsalProbe
from golive.timing import format_instant, parse_instant

_POLL_SECONDS = 0.1


async def check(target: Target) -> Outcome:
    """PASS when the rollback brings back what it should in time, or did so recently."""
    probe = target.required(RehearsalProbe, "rollback_rehearsal")
    if target.root is None:
        return unavailable("no project folder: the record is a file of it")
    record = target.root / probe.record
    return await _rehearse(target, probe, record) if probe.run else _recorded(probe, record)


async def _rehearse(target: Target, probe: RehearsalProbe, record: Path) -> Outcome:
    begin, client = time.monotonic(), Client(target)
    await run_to_end(probe.run, {}, target.root, probe.within, url=target.url)
    problem: str | None = "nothing was asked"
    while time.monotonic() - begin < probe.within:
        try:
            problem = difference(await client.send(probe.verify), probe.verify)
        except NoAnswerError as error:
            problem = error.why
        if problem is None:
            break
        await asyncio.sleep(_POLL_SECONDS)
    seconds = time.monotonic() - begin
    if problem is not None:
        return failed(f"{probe.within:g} s after the rollback began, {probe.verify.path}: {problem}")
    line = {"at": format_instant(datetime.now(UTC)), "environment": target.environment, "seconds": round(seconds, 2)}
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return passed(f"rolled back in {seconds:.1f} s (limit {probe.within:g} s), verified, recorded", **line)


def _recorded(probe: RehearsalProbe, record: Path) -> Outcome:
    try:
        last = json.loads(record.read_text(encoding="utf-8").strip().rpartition("\n")[2])
        at, seconds = parse_instant(last["at"]), float(last["seconds"])
    except FileNotFoundError:
        return failed(f"{probe.record}: no rollback was ever rehearsed")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return unavailable(f"{probe.record}: expected a record of a rehearsal, got something else ({error})")
    days = (datetime.now(UTC) - at).total_seconds() / 86400
    where = f" in {last['environment']}" if last.get("environment") else ""
    if days * 86400 > probe.age_max:
        return failed(
            f"the last rollback was rehearsed {days:.0f} days ago (limit {probe.age_max / 86400:.0f})", **last
        )
    if seconds > probe.within:
        return failed(f"the rehearsed rollback took {seconds:g} s (limit {probe.within:g} s)", **last)
    return passed(f"rehearsed {days:.1f} days ago{where} in {seconds:g} s", **last)


GATE = Gate(
    "rollback-rehearsal",
    "The rollback was rehearsed, in its time, not long ago.",
    Phase.PREFLIGHT,
    check,
    timeout=900.0,
    exclusive=True,
)
