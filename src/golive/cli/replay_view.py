"""``golive replay`` as text and as JSON: two stories of one rollout in, lines and plain values out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from rich.text import Text

from golive.cli.evidence_view import label
from golive.cli.terminal import Glyphs
from golive.rollout.plan import Plan
from golive.rollout.ports import percent
from golive.rollout.rejudge import Replayed, Step
from golive.rollout.state import State
from golive.timing import format_duration, format_instant

_WORDS = {"promote": "went on", "rollback": "taken back", "": "held"}
_ENDS = {
    "rollback": "the candidate would have been taken back",
    "live": "the candidate would have gone live",
    "unknown": "how it would have ended cannot be known",
}


def differences(state: State, plan: Plan, judging: Mapping[str, Any]) -> list[str]:
    """What the replay does otherwise than the recording, one line each."""
    found = []
    for key in sorted({*state.judging, *judging}):
        before, now = state.judging.get(key), judging.get(key)
        if before == now or key == "routes":
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            found += [f"{key}.{name}: {_plain(before.get(name))} -> {_plain(now.get(name))}"
                      for name in sorted({*before, *now}) if before.get(name) != now.get(name)]  # fmt: skip
        else:
            found.append(f"{key}: {_plain(before)} -> {_plain(now)}")
    if _stages(state.plan) != _stages(plan):
        found.append(f"plan: {_stages(state.plan)} -> {_stages(plan)}")
    return found


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {inner}" for key, inner in value.items()) + "}"
    return str(value)


def _stages(plan: Plan) -> str:
    def one(stage: Any) -> str:
        ceiling = f" to {format_duration(stage.ceiling)}" if stage.ceiling else ""
        return f"{percent(stage.weight)} % {format_duration(stage.floor)}{ceiling}"

    return ", ".join(one(stage) for stage in plan.stages)


def as_text(replayed: Replayed, changed: Sequence[str], width: int, glyphs: Glyphs) -> list[Text]:
    """The lines for a terminal of *width*."""
    lines = list(_lines(replayed, changed, width, glyphs))
    return lines if glyphs.braille else [Text(line.plain.encode("ascii", "replace").decode()) for line in lines]


def _lines(replayed: Replayed, changed: Sequence[str], width: int, glyphs: Glyphs) -> Iterator[Text]:
    state = replayed.state
    yield Text(f"{state.id}  {state.stable} -> {state.candidate}  replayed", "bold")
    if not changed:
        yield Text("with the settings it was recorded with: both stories are the same by construction", "dim")
    for line in changed:
        yield from _wrap(line, width, 2)
    yield Text()
    yield Text(f"{'STAGE':<8} {'RECORDED':<26} REPLAYED", "bold")
    for step in replayed.steps:
        yield Text(f"{percent(step.weight) + ' %':<8} {_said(step.recorded, step.recorded_at):<26} "
                   f"{_said(step.replayed, step.replayed_at)}", _style(step))  # fmt: skip
        yield from _wrap(f"{glyphs.arrow} {step.why}", width, 9)
    yield Text()
    yield from _rows(replayed, width)
    for note in replayed.notes:
        yield from _wrap(f"note: {note}", width, 0, "yellow")
    if replayed.unknown:
        yield from _wrap(f"not known: {replayed.unknown}", width, 0, "yellow")
    yield Text(_ENDS[replayed.end], "bold")


def _said(how: str, seconds: float | None) -> str:
    if seconds is None:
        return _WORDS[how]
    return f"{_WORDS[how]} after {format_duration(timedelta(seconds=round(max(seconds, 0.0))))}"


def _style(step: Step) -> str:
    return "red" if step.replayed == "rollback" else "" if step.replayed == step.recorded else "yellow"


def _rows(replayed: Replayed, width: int) -> Iterator[Text]:
    """The table at the last look, where the two disagree."""
    look = replayed.last
    if look is None:
        return
    before = {row.name: row for row in look.recorded.rows}
    yield Text(f"The table at {look.at.astimezone().strftime('%H:%M:%S')}, {percent(look.weight)} %", "bold")
    for row in look.now.rows:
        old = before.pop(row.name, None)
        same = old is not None and old.verdict == row.verdict
        was = "" if same else f"  (recorded: {old.verdict.lower() if old else 'not in the table'})"
        yield Text(f"  {row.verdict.lower():<13} {label(row.name)}{was}", "" if same else "yellow")
        yield from _wrap(row.sentence, width, 6)
    for name, old in before.items():
        yield Text(f"  {'-':<13} {label(name)}  (recorded: {old.verdict.lower()})", "yellow")
    yield Text()


def _wrap(text: str, width: int, indent: int, style: str = "") -> Iterator[Text]:
    for line in textwrap.wrap(text, max(width - indent, 20)):
        yield Text(" " * indent + line, style)


def as_json(replayed: Replayed, changed: Sequence[str]) -> dict[str, Any]:
    """The same as data: ``golive/replay/v1``."""
    state, look = replayed.state, replayed.last
    return {
        "schema": "golive/replay/v1",
        "id": state.id,
        "stable": state.stable,
        "candidate": state.candidate,
        "changed": list(changed),
        "end": replayed.end,
        "unknown": replayed.unknown,
        "notes": replayed.notes,
        "stages": [_step_json(step) for step in replayed.steps],
        "last": None if look is None else {
            "at": format_instant(look.at),
            "weight_percent": look.weight / 100,
            "recorded": _verdict_json(look.recorded),
            "replayed": _verdict_json(look.now),
        },
    }  # fmt: skip


def _step_json(step: Step) -> dict[str, Any]:
    def story(how: str, seconds: float | None, why: str) -> dict[str, Any]:
        return {"end": how or "hold", "after_seconds": None if seconds is None else round(seconds, 3), "why": why}

    return {
        "weight_percent": step.weight / 100,
        "looks": step.looks,
        "recorded": story(step.recorded, step.recorded_at, step.recorded_why),
        "replayed": story(step.replayed, step.replayed_at, step.why),
    }


def _verdict_json(verdict: Any) -> dict[str, Any]:
    return {
        "action": verdict.action,
        "confidence": verdict.confidence,
        "reason": verdict.reason,
        "rows": msgspec.to_builtins(verdict.rows),
    }
