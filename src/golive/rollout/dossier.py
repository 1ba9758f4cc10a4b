"""
The dossier of one rollout: everything that was decided, why, by whom and on what evidence, in one bundle that can be
checked without golive's state.

    summary.txt        what happened, in ten lines
    plan.json          the stages, hooks and SLO table it was started with
    journal.jsonl      every entry as it stands in the journal, with its hash and the one before
    state.json         where the entries lead
    verdicts.jsonl     every verdict with its rows and the snapshot it judged
    people.jsonl       approvals, rejections, pauses, aborts, with their comments
    hooks/CALL/...     what each hook printed, and how it ended

Files above *PLAIN_MAX* are compressed and end in ``.gz``. The chain of hashes ends in the head that the manifest names;
the files beside the journal are extracts, and the check derives them anew.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from golive.bundle import Bundle
from golive.errors import GoliveError
from golive.rollout import events as ev
from golive.rollout.hook_process import OUTCOME, OUTPUT
from golive.rollout.journal import GENESIS, Journal, Row, chain_faults, event_of
from golive.rollout.machine import replay
from golive.rollout.state import State
from golive.timing import format_duration, format_instant

KIND = "rollout"
PLAIN_MAX = 8 * 1024 * 1024
"""Bytes up to which a file can be read with any editor; a week of verdicts is more, and is compressed."""
UNPACKED_MAX = 1024 * 1024 * 1024
"""Bytes one compressed file may become when it is checked: a bundle from elsewhere may be a trap."""
_PEOPLE = (ev.Approved, ev.Rejected, ev.Paused, ev.Resumed, ev.Retried, ev.Aborted, ev.WatchEnded)


def dossier_of(
    journal: Journal, rollout: str, hooks: Path | None, golive_version: str
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """
    The files of *rollout* and what the manifest says about them. The same for ever once the rollout is over.

    Args:
        hooks: the folder with the hooks' own files, when they ran on this machine.

    Raises: StateError when there is no such rollout, or the record is damaged.
    """
    state, rows = journal.rollout(rollout), list(journal.rows(rollout))
    events = [event_of(row) for row in rows]
    files = {"journal.jsonl": _lines(msgspec.json.encode(row) for row in rows), **_derived(state, events)}
    files["summary.txt"] = _summary(state, len(rows)).encode()
    files.update(_hook_files(hooks / rollout if hooks else None))
    started = events[0]
    meta = {
        "kind": KIND,
        "rollout": state.id,
        "service": state.service,
        "stable": state.stable,
        "candidate": state.candidate,
        "phase": state.phase.value,
        "started_at": format_instant(state.started_at),
        "ended_at": format_instant(state.ended_at) if state.ended_at else None,
        "started_by": state.actor,
        "config_sha256": started.config_sha256 if isinstance(started, ev.Started) else "",
        "entries": len(rows),
        "journal_head": rows[-1].hash if rows else GENESIS,
        "golive": golive_version,
    }
    return dict(_packed(name, content) for name, content in files.items()), meta


def dossier_findings(bundle: Bundle) -> Iterator[str]:
    """
    What is wrong with the story a whole bundle tells, one sentence each: a broken chain, another head than the manifest
    names, events that do not lead to the state, an extract that says something else than the journal.
    """
    rollout = str(bundle.meta.get("rollout", ""))
    try:
        rows = [msgspec.json.decode(line, type=Row) for line in _read(bundle, "journal.jsonl").splitlines()]
        state = msgspec.json.decode(_read(bundle, "state.json"), type=State)
        events = [event_of(row) for row in rows]
        replayed = replay(events)
        derived = _derived(state, events)
    except (msgspec.DecodeError, GoliveError, ValueError, OSError) as error:
        yield f"the journal in it cannot be read: {error}"
        return
    yield from chain_faults(rollout, rows)
    head = rows[-1].hash if rows else GENESIS
    if (bundle.meta.get("journal_head"), bundle.meta.get("entries")) != (head, len(rows)):
        yield f"the manifest names another end of the journal than entry {rows[-1].seq if rows else 0}"
    if replayed != state:
        yield "the events do not lead to the state in state.json"
    for name, content in derived.items():
        if _read(bundle, name) != content:
            yield f"{name}: says something else than the journal"


def _derived(state: State, events: list[ev.AnyEvent]) -> dict[str, bytes]:
    started = events[0]
    plan = {"plan": msgspec.to_builtins(state.plan), "judging": state.judging}
    if isinstance(started, ev.Started):
        plan |= {"note": started.note, "override": started.override}
    return {
        "plan.json": msgspec.json.format(msgspec.json.encode(plan, order="sorted")) + b"\n",
        "state.json": msgspec.json.encode(state, order="deterministic") + b"\n",
        "verdicts.jsonl": _lines(_encoded(event) for event in events if isinstance(event, ev.Verdict)),
        "people.jsonl": _lines(_encoded(event) for event in events if isinstance(event, _PEOPLE)),
    }


def _summary(state: State, entries: int) -> str:
    seconds = (state.ended_at - state.started_at).total_seconds() if state.ended_at else None
    took = "not over" if seconds is None else format_duration(timedelta(seconds=round(seconds)))
    lines = [
        f"rollout    {state.id}: {state.stable} -> {state.candidate}",
        f"outcome    {state.phase.value.replace('_', ' ')}" + (f" by {state.ended_by}" if state.ended_by else ""),
        f"reason     {state.reason}",
        f"started    {format_instant(state.started_at)} by {state.actor}",
        f"took       {took}",
        f"stages     {', '.join(str(stage) for stage in state.plan.stages)}",
        f"reached    {state.share(state.stage) if state.stage >= 0 else 'no traffic'}",
        f"hooks      {', '.join(call.name for call in state.hooks_over) or 'none'}",
        f"entries    {entries}",
    ]
    return "\n".join(lines) + "\n"


def _hook_files(folder: Path | None) -> dict[str, bytes]:
    if folder is None or not folder.is_dir():
        return {}
    found = {}
    for call in sorted(folder.iterdir()):
        for name in (OUTPUT, OUTCOME):
            if (call / name).is_file():
                found[f"hooks/{call.name}/{name}"] = (call / name).read_bytes()
    return found


def _encoded(event: ev.AnyEvent) -> bytes:
    return msgspec.json.encode(event, order="deterministic")


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _packed(name: str, content: bytes) -> tuple[str, bytes]:
    if len(content) <= PLAIN_MAX:
        return name, content
    return f"{name}.gz", gzip.compress(content, mtime=0)


def _read(bundle: Bundle, name: str) -> bytes:
    if name in bundle.names:
        return bundle.read(name)
    packed = bundle.read(f"{name}.gz")
    with gzip.open(io.BytesIO(packed)) as stream:
        content = stream.read(UNPACKED_MAX + 1)
    if len(content) > UNPACKED_MAX:
        raise ValueError(f"{name} is larger than {UNPACKED_MAX:,} bytes when unpacked")
    return content
