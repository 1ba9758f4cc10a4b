"""``golive explain`` as text and as JSON: a story and its recomputed verdicts in, lines and plain values out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich.text import Text

from golive.cli.evidence_view import CANARY, STABLE, Delta, Tally, label, measured, ratio_text, rows_of, shown
from golive.cli.job_tally import runs_of
from golive.cli.narrate import WORDS, headline, traffic
from golive.cli.spark import chart
from golive.cli.story import Chapter, Story
from golive.cli.terminal import Glyphs
from golive.rollout import events as ev
from golive.rollout.journal import Entry
from golive.rollout.ports import percent
from golive.rollout.recompute import Recomputed
from golive.slo.units import format_quantity
from golive.timing import format_duration, format_instant

CHART_HEIGHT = 7
CHART_WIDTH_MAX = 90
SHOWN_DIFFERENCES_MAX = 3
_STYLES = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def as_text(
    story: Story, entries: Sequence[Entry], again: Sequence[Recomputed], width: int, glyphs: Glyphs, *, at_moment: bool
) -> list[Text]:
    """The lines for a terminal of *width*; *at_moment* tells one instant instead of everything."""
    lines = [Text(headline(story.state, entries[-1].at), "bold"), *_opening(story, entries, at_moment), Text()]
    if not at_moment:
        for chapter in story.chapters:
            lines += _chapter(chapter, story, entries[-1].at, width, glyphs)
    verdict = again[-1].recorded if again else None
    if verdict is not None and verdict.rows:
        lines += [Text(f"The table at {_clock(verdict.at)}, entry {again[-1].entry.seq}", "bold")]
        lines += [*_rows(verdict, story, width, glyphs), Text()]
    lines += _chart(story.deltas, story, width, glyphs)
    if at_moment and verdict is not None:
        lines += [*_wrap(f"{verdict.action}, confidence {verdict.confidence:.0f}: {verdict.reason}", width, 0)]
    lines += [*_wrap(f"{WORDS[story.state.phase.value]}: {story.state.reason}", width, 0, "bold")]
    lines += [*_recomputed(again, width)]
    return [line if glyphs.braille else Text(_ascii(line.plain)) for line in lines]


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _opening(story: Story, entries: Sequence[Entry], at_moment: bool) -> Iterator[Text]:
    state = story.state
    began = state.started_at.astimezone().isoformat(sep=" ", timespec="seconds")
    yield Text(f"started {began} by {state.actor}" + (f": {story.note}" if story.note else ""))
    if at_moment:
        after = timedelta(seconds=round((entries[-1].at - state.started_at).total_seconds()))
        yield Text(f"as of entry {entries[-1].seq}, {_clock(entries[-1].at)}, {format_duration(after)} after the start")
        yield Text(f"traffic wanted: {traffic(state)}")
    for number, holder in enumerate(story.controllers, start=1):
        yield Text(f"controller {number + 1} took over: {holder}", "dim")
    for entry in story.people:
        yield Text(f"{_clock(entry.at)}  {entry.reason}", "cyan")


def _chapter(chapter: Chapter, story: Story, now: datetime, width: int, glyphs: Glyphs) -> Iterator[Text]:
    took = timedelta(seconds=round(((chapter.ended_at or now) - chapter.began_at).total_seconds()))
    floor = story.state.plan.stages[chapter.stage].floor
    line = Text(f"{percent(chapter.weight):>5} %", "bold")
    line.append(f"  {_clock(chapter.began_at)}  {format_duration(took)} (at least {format_duration(floor)}), ")
    line.append(f"judged {chapter.looks} {'time' if chapter.looks == 1 else 'times'}")
    yield line
    for name, arm in zip((story.state.stable, story.state.candidate), chapter.arms, strict=True):
        yield Text(f"         {name:<12} {_did(arm, story)}")
    ending = chapter.ending or (f"so far: {chapter.verdict.reason}" if chapter.verdict else "so far nothing was judged")
    yield from _wrap(f"{glyphs.arrow} {ending}", width, 9)
    yield Text()


def _did(arm: Tally, story: Story) -> str:
    """Requests and failures, and every latency of the table."""
    moves = story.ledger.moves
    text = ratio_text(sum(arm.errors), sum(arm.requests), "jobs" if moves == "jobs" else "requests")
    if moves == "both":
        runs, faults = runs_of(arm.jobs)
        text += f"; jobs: {ratio_text(faults, runs, 'jobs')}"
    for row in rows_of(story.state.judging).values():
        value = measured(row, arm, story.ledger) if row.quantile is not None else None
        if value is not None:
            text += f", {label(row.name)} {shown(row, value)}"
    return text


def _rows(verdict: ev.Verdict, story: Story, width: int, glyphs: Glyphs) -> Iterator[Text]:
    icons = {"PASS": glyphs.passed, "FAIL": glyphs.failed, "INCONCLUSIVE": glyphs.undecided}
    for row in verdict.rows:
        style = _STYLES.get(row.verdict, "")
        yield Text(f"  {icons.get(row.verdict, glyphs.coming)} {row.verdict.lower():<13} {label(row.name)}", style)
        yield from _wrap(row.sentence, width, 6)


# ---- the chart


def _chart(deltas: Sequence[Delta], story: Story, width: int, glyphs: Glyphs) -> list[Text]:
    """The failing share of both versions over time, a mark where a stage began."""
    columns = min(width - 12, CHART_WIDTH_MAX)
    groups = _groups(deltas, columns)
    if len(groups) < 2 or columns < 20:
        return []
    series = [[_failing(group, arm) for group in groups] for arm in (STABLE, CANARY)]
    alert = next((row.alert_if.value for row in rows_of(story.state.judging).values()
                  if row.indicator == "error_rate" and row.alert_if), 0.0)  # fmt: skip
    top = max([alert * 1.25, 0.001, *(value for arm in series for value in arm if value is not None)])
    began = [i for i in range(1, len(groups)) if groups[i][0].stage != groups[i - 1][0].stage]
    picture = chart(
        series, (glyphs.stable, glyphs.canary), glyphs.both, top=top * 1.0001, height=CHART_HEIGHT,
        marks=dict.fromkeys(began, glyphs.mark),
    )  # fmt: skip
    noun = "jobs" if story.ledger.moves == "jobs" else "requests"
    title = f"Share of {noun} that failed   {glyphs.stable} {story.state.stable}   {glyphs.canary} " \
            f"{story.state.candidate}   {glyphs.both} both"  # fmt: skip
    lines = [Text(title, "bold")]
    for number, line in enumerate(picture):
        edge = top * (CHART_HEIGHT - number) / CHART_HEIGHT
        lines.append(Text(f"{format_quantity(edge, 'ratio', 2):>8} {line.rstrip()}"))
    return [*lines, Text(f"{'0%':>8} {_stage_line(groups, [0, *began], story)}"), Text(_time_line(groups)), Text()]


def _groups(deltas: Sequence[Delta], columns: int) -> list[list[Delta]]:
    """Neighbouring looks of one stage together, so that all of them fit into *columns*."""
    size = -(-len(deltas) // max(columns - 10, 1))
    groups: list[list[Delta]] = []
    for delta in deltas:
        if groups and len(groups[-1]) < size and groups[-1][0].stage == delta.stage:
            groups[-1].append(delta)
        else:
            groups.append([delta])
    return groups[:columns]


def _failing(group: Sequence[Delta], arm: int) -> float | None:
    requests = sum(sum(delta.arms[arm].requests) for delta in group)
    return min(sum(sum(delta.arms[arm].errors) for delta in group) / requests, 1.0) if requests else None


def _stage_line(groups: Sequence[Sequence[Delta]], began: Sequence[int], story: Story) -> str:
    """The weight of each stage under its first column, where there is room."""
    text = ""
    for column in began:
        if len(text) <= column:
            stage = groups[column][0].stage
            text = text.ljust(column) + f"{percent(story.state.plan.stages[stage].weight)}% "
    return text


def _time_line(groups: Sequence[Sequence[Delta]]) -> str:
    first, last = _clock(groups[0][0].at), _clock(groups[-1][-1].at)
    return f"{'':>8} {first}{last:>{max(len(groups) - len(first), len(last) + 1)}}"


# ---- recomputed


def _recomputed(again: Sequence[Recomputed], width: int) -> Iterator[Text]:
    different = [each for each in again if each.differences]
    if not again:
        yield Text("recomputed: nothing was judged yet")
    elif not different:
        count = "the verdict" if len(again) == 1 else f"all {len(again)} verdicts"
        yield Text(f"recomputed: the same ({count}, from the journal alone)", "green")
    else:
        yield Text(f"recomputed: {len(different)} of {len(again)} verdicts DIFFER", "red bold")
        for each in different[:SHOWN_DIFFERENCES_MAX]:
            yield Text(f"  entry {each.entry.seq}, {_clock(each.entry.at)}")
            for difference in each.differences:
                yield from _wrap(difference, width, 4)


def _wrap(text: str, width: int, indent: int, style: str = "") -> Iterator[Text]:
    for line in textwrap.wrap(text, max(width - indent, 20)):
        yield Text(" " * indent + line, style)


def _clock(at: datetime) -> str:
    return at.astimezone().strftime("%H:%M:%S")


# ---- JSON


def as_json(story: Story, entries: Sequence[Entry], again: Sequence[Recomputed], *, at_moment: bool) -> dict[str, Any]:
    """The same as data: ``golive/explain/v1``."""
    state = story.state
    last = again[-1] if again else None
    return {
        "schema": "golive/explain/v1",
        "id": state.id,
        "stable": state.stable,
        "candidate": state.candidate,
        "started_at": format_instant(state.started_at),
        "started_by": state.actor,
        "at": format_instant(entries[-1].at),
        "entry": entries[-1].seq,
        "whole": not at_moment,
        "phase": state.phase.value,
        "weight_percent": state.weight / 100,
        "reason": state.reason,
        "controllers": story.controllers,
        "people": [{"at": format_instant(entry.at), "what": entry.reason} for entry in story.people],
        "stages": [_chapter_json(chapter) for chapter in story.chapters],
        "verdict": _verdict_json(last.recorded) if last else None,
        "recomputed": {
            "same": not any(each.differences for each in again),
            "verdicts": len(again),
            "verdict": _verdict_json(last.now) if last else None,
            "differences": [
                {"entry": each.entry.seq, "what": list(each.differences)} for each in again if each.differences
            ],
        },
    }


def _chapter_json(chapter: Chapter) -> dict[str, Any]:
    return {
        "stage": chapter.stage,
        "weight_percent": chapter.weight / 100,
        "began_at": format_instant(chapter.began_at),
        "ended_at": format_instant(chapter.ended_at) if chapter.ended_at else None,
        "stable": _arm_json(chapter.arms[STABLE]),
        "candidate": _arm_json(chapter.arms[CANARY]),
        "looks": chapter.looks,
        "ending": chapter.ending,
        "rows": msgspec.to_builtins(chapter.verdict.rows) if chapter.verdict else [],
    }


def _arm_json(arm: Tally) -> dict[str, Any]:
    found: dict[str, Any] = {"requests": sum(arm.requests), "failed": sum(arm.errors)}
    if arm.jobs:
        runs = {queue: runs_of(arm.jobs, queue) for queue in arm.jobs}
        found["jobs"] = {queue: {"runs": each[0], "failed": each[1]} for queue, each in runs.items()}
    return found


def _verdict_json(verdict: ev.Verdict) -> dict[str, Any]:
    return {
        "at": format_instant(verdict.at),
        "stage": verdict.stage,
        "action": verdict.action,
        "confidence": verdict.confidence,
        "reason": verdict.reason,
        "needs_human": verdict.needs_human,
        "rows": msgspec.to_builtins(verdict.rows),
    }
