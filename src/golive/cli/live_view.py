"""
The picture of one rollout: a pure function of its state, its journal, the time and the width.

    headline / stage bar / SLO table / why / journal / keys

Narrow terminals lose columns, low ones lose journal lines; nothing wraps in the middle of a figure. State is always an
icon and a word. Left out: the terminal itself (:mod:`golive.cli.live`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.text import Text

from golive.cli.evidence_view import CANARY, STABLE, label, measured, rows_of, shown
from golive.cli.live_model import LiveModel
from golive.cli.narrate import WORDS
from golive.cli.spark import spark
from golive.cli.terminal import UNICODE, Glyphs
from golive.rollout.machine import Phase, State, WaitingFor
from golive.rollout.ports import percent
from golive.slo.row import Row
from golive.timing import format_duration

WIDTH_MIN = 40
_FORWARD = (Phase.WATCHING, Phase.PROMOTING, Phase.RETIRING, Phase.LIVE)
_BACK = (Phase.ROLLING_BACK, Phase.DRAINING, Phase.ROLLED_BACK)
_JUDGED = (Phase.SOAKING, Phase.WAITING, Phase.WATCHING)
_SPARK_CELLS = 8


@dataclass(frozen=True)
class Look:
    """
    How it is shown. *environment* stands in the headline; *why* shows the sentence of every row; *notice* is the line
    above the keys (an answer, a question, a missing controller); *keys* are offered when somebody can press them.
    """

    width: int = 100
    height: int | None = None
    glyphs: Glyphs = UNICODE
    environment: str = ""
    why: bool = False
    notice: str = ""
    keys: bool = True


def draw(state: State, model: LiveModel, now: datetime, look: Look) -> list[Text]:
    """The lines of the picture, none wider than ``look.width`` (at least 40), at most ``look.height`` of them."""
    width = max(look.width, WIDTH_MIN)
    head = [_headline(state, now, look), Text(), *_stage_bar(state, model, now, look, width), Text()]
    table = [*_table(state, model, now, look, width), *_reason(state, model, look, width), Text()]
    foot = _footer(state, look, width)
    lines = _fit(head, table, [Text(line, "dim") for line in model.lines], foot, look.height)
    for line in lines:
        line.truncate(width, overflow="crop" if line.cell_len <= width else "ellipsis")
        if not look.glyphs.braille:
            line.plain = _ascii(line.plain)
    return lines


def _ascii(text: str) -> str:
    return text.replace("…", "~").replace("≤", "<").replace("≥", ">").encode("ascii", "replace").decode()


def _fit(head: list[Text], table: list[Text], journal: list[Text], foot: list[Text], height: int | None) -> list[Text]:
    """Journal lines give way first, then the end of the table; headline, stages and keys stay."""
    if height is None:
        return [*head, *table, *journal[-6:], *foot]
    head = head[: max(height - len(foot), 1)]
    room = height - len(head) - len(foot)
    table = table[: max(room, 0)]
    left = room - len(table)
    return [*head, *table, *(journal[-left:] if left > 0 else []), *foot][:height]


# ---- headline and stages


def _headline(state: State, now: datetime, look: Look) -> Text:
    age = timedelta(seconds=max(0, round(((state.ended_at or now) - state.started_at).total_seconds())))
    line = Text()
    line.append(state.service, "bold")
    if look.environment:
        line.append(f" {look.environment}", "cyan")
    line.append(f"  {state.stable} {look.glyphs.arrow} ")
    line.append(state.candidate, "bold")
    line.append("   ")
    line.append(f" {_phase_word(state)} ", _phase_style(state) + " reverse bold")
    if state.verdict is not None:
        line.append("   confidence ")
        line.append(f"{state.verdict.confidence:.0f}", "bold")
    line.append(f"   {state.id}   {format_duration(age)}", "dim")
    return line


def _phase_word(state: State) -> str:
    return f"PAUSED by {state.paused_by}" if state.paused_by else WORDS[state.phase.value]


def _phase_style(state: State) -> str:
    if state.phase in _BACK:
        return "red"
    if state.phase in _FORWARD:
        return "green"
    return "yellow" if state.paused_by or state.phase is Phase.WAITING else "cyan"


@dataclass(frozen=True)
class _Cell:
    """One stage: icon, word, style, and how full its bar is, 0..1."""

    icon: str
    word: str
    style: str
    full: float


def _stage_bar(state: State, model: LiveModel, now: datetime, look: Look, width: int) -> list[Text]:
    stages = state.plan.stages
    cell = max(9, min(16, (width + 1) // len(stages)))
    fitting = max(1, (width + 1) // cell)
    first = max(0, min(max(state.stage, 0) - fitting // 2, len(stages) - fitting))
    bar, name, word = Text(), Text(), Text()
    for number in range(first, min(first + fitting, len(stages))):
        here = _cell(state, model, number, now, look.glyphs)
        done = round((cell - 1) * here.full)
        bar.append(_filled(done, cell - 1, here.full, look.glyphs), here.style)
        bar.append(" ")
        name.append(f"{here.icon} {percent(stages[number].weight)} %"[: cell - 1].ljust(cell), here.style)
        word.append(here.word[: cell - 1].ljust(cell), "dim" if here.full in (0.0, 1.0) else here.style)
    hidden = len(stages) - min(fitting, len(stages))
    if hidden:
        name.rstrip()
        word.append(f"({hidden} of {len(stages)} stages not shown)")
    return [bar, name, word]


def _filled(done: int, size: int, full: float, glyphs: Glyphs) -> str:
    if not 0.0 < full < 1.0:
        return (glyphs.bar_done if full else glyphs.bar_left) * size
    done = min(done, size - 1)
    return glyphs.bar_done * done + glyphs.bar_head + glyphs.bar_left * (size - done - 1)


def _cell(state: State, model: LiveModel, number: int, now: datetime, glyphs: Glyphs) -> _Cell:
    if state.phase in _FORWARD or (state.phase not in _BACK and number < state.stage):
        return _Cell(glyphs.passed, "passed", "green", 1.0)
    if state.phase in _BACK:
        return _cell_of_a_return(model, number, glyphs)
    if number == state.stage:
        return _current(state, now, glyphs)
    if number == state.stage + 1:
        approval = state.plan.stages[number].approval
        waits = approval is not None and state.approved_stage < number
        return _Cell(glyphs.coming, f"asks {approval}" if waits else "next", "", 0.0)
    return _Cell(glyphs.coming, "", "dim", 0.0)


def _cell_of_a_return(model: LiveModel, number: int, glyphs: Glyphs) -> _Cell:
    failed = -1 if model.failed_stage is None else model.failed_stage
    if number < failed:
        return _Cell(glyphs.passed, "passed", "green", 1.0)
    if number == failed:
        return _Cell(glyphs.failed, "taken back", "red", 1.0)
    return _Cell(glyphs.coming, "not reached", "dim", 0.0)


def _current(state: State, now: datetime, glyphs: Glyphs) -> _Cell:
    floor = state.plan.stages[state.stage].floor
    if state.paused_by:
        return _Cell(glyphs.now, "paused", "yellow", 0.5)
    if state.phase is Phase.WAITING:
        return _Cell(glyphs.now, "waiting", "yellow", 0.999)
    if state.phase is not Phase.SOAKING:
        return _Cell(glyphs.now, "shifting", "cyan", 0.001)
    age = max(timedelta(0), now - state.entered_at)
    share = min(age / floor, 0.999) if floor else 0.999
    seconds = timedelta(seconds=int(age.total_seconds()))
    if age >= floor:
        return _Cell(glyphs.now, f"{format_duration(seconds)} soaked", "cyan", max(share, 0.001))
    return _Cell(glyphs.now, f"{format_duration(seconds)} of {format_duration(floor)}", "cyan", max(share, 0.001))


# ---- the SLO table


@dataclass(frozen=True)
class _Columns:
    """Widths of the columns; 0 leaves one out."""

    metric: int
    target: int
    alert: int
    stable: int
    canary: int
    spark: int


def _columns(width: int) -> _Columns:
    cells = _SPARK_CELLS if width >= 100 else 5
    return _Columns(
        20 if width >= 80 else 17,
        10,
        10 if width >= 70 else 0,
        9,
        9,
        2 * cells + 6 if width >= 86 else 0,
    )


def _table(state: State, model: LiveModel, now: datetime, look: Look, width: int) -> list[Text]:
    columns = _columns(width)
    head = Text("".join(
        name.ljust(size) if size else "" for name, size in (
            ("METRIC", columns.metric), ("TARGET", columns.target), ("ALERT IF", columns.alert),
            ("STABLE", columns.stable), ("CANARY", columns.canary), ("LAST 60 s", columns.spark))
    ) + "VERDICT", "dim")  # fmt: skip
    rows = rows_of(state.judging)
    lines = [head]
    sentences = _sentences(model)
    for name, row in rows.items():
        verdict, sentence = sentences.pop(name, ("", "no evidence yet"))
        lines.append(_row(row, verdict, model, now, columns, look.glyphs))
        if look.why:
            lines += _wrapped(sentence, width)
    for name, (verdict, sentence) in sentences.items():  # what golive always compares, beyond the table
        line = Text(name[: columns.metric + columns.target - 1].ljust(columns.metric + columns.target))
        line.append(" " * (columns.alert + columns.stable + columns.canary + columns.spark))
        line.append_text(_verdict(verdict, look.glyphs))
        lines += [line, *(_wrapped(sentence, width) if look.why else [])]
    return lines


def _sentences(model: LiveModel) -> dict[str, tuple[str, str]]:
    if model.verdict is None:
        return {}
    return {row.name: (row.verdict, row.sentence) for row in model.verdict.rows}


def _row(row: Row, verdict: str, model: LiveModel, now: datetime, columns: _Columns, glyphs: Glyphs) -> Text:
    values = [shown(row, measured(row, arm, model.ledger)) for arm in model.ledger.totals]
    line = Text(label(row.name)[: columns.metric - 1].ljust(columns.metric))
    line.append(str(row.target).ljust(columns.target))
    if columns.alert:
        line.append(str(row.alert_if or "-").ljust(columns.alert))
    line.append(values[STABLE].ljust(columns.stable))
    line.append(values[CANARY].ljust(columns.canary), "bold")
    if columns.spark:
        line.append(_sparks(row, model, now, columns, glyphs).ljust(columns.spark), _verdict_style(verdict))
    line.append_text(_verdict(verdict, glyphs))
    return line


def _sparks(row: Row, model: LiveModel, now: datetime, columns: _Columns, glyphs: Glyphs) -> str:
    """Both versions over the last minute, scaled so that the alarm is the upper edge."""
    deltas = model.recent(now)
    values = [[measured(row, delta.arms[arm], model.ledger) for delta in deltas] for arm in (STABLE, CANARY)]
    if not any(value is not None for arm in values for value in arm):
        return ""
    top = (row.alert_if or row.target).value
    if row.indicator == "success_rate":  # drawn upside down: what is bad goes up, as in every other row
        top, values = 1 - top, [[None if v is None else 1 - v for v in arm] for arm in values]
    cells = (columns.spark - 6) // 2
    stable, canary = (spark(arm, top, cells, braille=glyphs.braille) for arm in values)
    return f"{stable} vs {canary}"


def _verdict(verdict: str, glyphs: Glyphs) -> Text:
    icons = {"PASS": glyphs.passed, "FAIL": glyphs.failed, "INCONCLUSIVE": glyphs.undecided}
    words = {"PASS": "pass", "FAIL": "fail", "INCONCLUSIVE": "inconclusive"}
    if verdict not in icons:
        return Text(f"{glyphs.coming} no evidence", "dim")
    return Text(f"{icons[verdict]} {words[verdict]}", _verdict_style(verdict))


def _verdict_style(verdict: str) -> str:
    return {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}.get(verdict, "dim")


def _wrapped(sentence: str, width: int) -> list[Text]:
    return [Text(f"  {line}", "dim") for line in textwrap.wrap(sentence, width - 2)]


def _reason(state: State, model: LiveModel, look: Look, width: int) -> list[Text]:
    """Why it is where it is: the state's sentence, and what the judge said last."""
    lines = [state.reason]
    if model.verdict is not None and model.verdict.reason != state.reason and state.phase in _JUDGED:
        lines.append(f"{model.verdict.action}: {model.verdict.reason}")
    wrapped = [part for line in lines for part in textwrap.wrap(line, width)]
    return [Text(), *(Text(line) for line in wrapped)]


# ---- the last lines


def keys_of(state: State) -> list[tuple[str, str]]:
    """The keys that do something now, with their meaning."""
    keys = []
    if state.phase is Phase.WAITING:
        following = min(state.stage + 1, len(state.plan.stages) - 1)
        what = f"approve {percent(state.plan.stages[following].weight)} %"
        keys.append(("a", what if state.waiting_for is WaitingFor.APPROVAL else f"let it pass, {what}"))
    if not state.final and state.phase not in (*_BACK, Phase.PROMOTING, Phase.RETIRING):
        keys.append(("p", "resume" if state.paused_by else "pause"))
    if not state.final and state.phase not in _BACK:
        keys.append(("x", "abort"))
    return [*keys, ("w", "why"), ("q", "leave" if state.final else "leave (the rollout goes on)")]


def _footer(state: State, look: Look, width: int) -> list[Text]:
    lines = [Text(look.glyphs.rule * width, "dim")]
    if look.notice:
        lines += [Text(line, "yellow") for line in textwrap.wrap(look.notice, width)]
    return lines + (_key_lines(keys_of(state), width) if look.keys else [])


def _key_lines(keys: Sequence[tuple[str, str]], width: int) -> list[Text]:
    lines, line = [], Text()
    for key, meaning in keys:
        if line and line.cell_len + len(meaning) + 2 > width:
            lines.append(line)
            line = Text()
        line.append(key, "bold")
        line.append(f" {meaning}   ", "dim")
    return [*lines, line]
