"""``golive backtest`` as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.text import Text

from golive.cli.recording import Recording
from golive.cli.terminal import Glyphs
from golive.rollout.backtest import Verdict
from golive.rollout.ports import percent
from golive.slo.firing import Episode, Firing
from golive.slo.row import Row
from golive.slo.units import format_quantity
from golive.timing import format_duration, format_instant

EPISODES_MAX = 5
"""Episodes shown per row and version; JSON has all of them."""


@dataclass(frozen=True)
class Report:
    """
    Attributes:
        fired: by row: every version and what its series said.
        pair: stable and canary, None when there are not two versions.
        judged: the judge's verdict, or why it was not asked.
    """

    recording: Recording
    rows: Mapping[str, Row]
    fired: Mapping[str, list[tuple[str, Firing]]]
    pair: tuple[str, str] | None
    judged: Verdict | str

    @property
    def bad(self) -> bool:
        """Whether the version in question would have been noticed."""
        if isinstance(self.judged, Verdict) and self.judged.rollback_at is not None:
            return True
        asked = self.pair[1] if self.pair else None
        return any(
            found.episodes for each in self.fired.values() for version, found in each if asked in (None, version)
        )


def as_text(report: Report, width: int, glyphs: Glyphs) -> list[Text]:
    """The lines for a terminal of *width*."""
    lines = list(_lines(report, width, glyphs))
    return lines if glyphs.braille else [Text(line.plain.encode("ascii", "replace").decode()) for line in lines]


def _lines(report: Report, width: int, glyphs: Glyphs) -> Iterator[Text]:
    span = report.recording.span
    when = f"{_moment(span[0])} to {_moment(span[1])}" if span else "nothing"
    yield Text(f"{', '.join(report.recording.sources)}: {when}", "bold")
    if report.pair:
        yield Text(f"stable {report.pair[0]}, canary {report.pair[1]}")
    yield Text()
    for name, row in report.rows.items():
        alarm = f", alert if {row.alert_if}" if row.alert_if else ""
        yield Text(f"{name}  target {row.target}{alarm}", "bold")
        if not report.fired[name]:
            yield Text(f"  {glyphs.undecided} nothing in the recording measures it", "yellow")
        for version, found in report.fired[name]:
            yield from _row(version, row, found, glyphs)
    yield Text()
    yield from _judge(report.judged, width, glyphs)


def _row(version: str, row: Row, found: Firing, glyphs: Glyphs) -> Iterator[Text]:
    who = f"{version:<12} " if version else ""
    if not found.points:
        yield Text(f"  {glyphs.undecided} {who}no usable value in {found.unusable:,}", "yellow")
        return
    assert found.worst is not None
    assert found.worst_at is not None
    worst = f"worst {_shown(row, found.worst)} at {_clock(found.worst_at)}"
    left_out = f", {found.unusable:,} without a value" if found.unusable else ""
    if not found.episodes:
        met = f"target met at {found.passed:,} of {found.points:,} points"
        yield Text(f"  {glyphs.passed} {who}never: {worst}, {met}{left_out}", "green")
        return
    count = len(found.episodes)
    times = "once" if count == 1 else f"{count:,} times"
    yield Text(f"  {glyphs.failed} {who}{times}, first at {_clock(found.episodes[0].began)}; {worst}{left_out}", "red")
    for episode in found.episodes[:EPISODES_MAX]:
        yield Text(f"      {_episode(row, episode)}")
    if count > EPISODES_MAX:
        yield Text(f"      and {count - EPISODES_MAX:,} more (-o json has all)")


def _episode(row: Row, episode: Episode) -> str:
    lasted = format_duration(timedelta(seconds=round(episode.seconds))) if episode.seconds >= 1 else "one point"
    return f"{_clock(episode.began)} to {_clock(episode.ended)} ({lasted}), worst {_shown(row, episode.worst)}"


def _judge(judged: Verdict | str, width: int, glyphs: Glyphs) -> Iterator[Text]:
    if isinstance(judged, str):
        yield from _wrap(f"golive's judge was not asked: {judged}.", width, "yellow")
        return
    if judged.last is None or judged.began is None:
        yield Text("golive's judge was not asked: the canary had no request.", "yellow")
        return
    after = format_duration(timedelta(seconds=round(judged.last_at - judged.began)))
    if judged.rollback_at is not None:
        when = f"at {_moment(judged.rollback_at)}, {after} after its first request"
        yield from _wrap(f"golive's judge would have taken the canary back {when}", width, "red bold")
    else:
        looked = f"{after} ({judged.looks:,} looks)"
        yield from _wrap(f"golive's judge would not have taken the canary back in {looked}", width, "bold")
        for weight, at in judged.promoted:
            yield Text(f"  {glyphs.passed} {percent(weight)} % found good at {_moment(at)}", "green")
    yield from _wrap(f"{judged.last.reason} (confidence {judged.last.confidence:.0f})", width)
    for row in judged.last.rows:
        yield from _wrap(f"  {str(row.verdict).lower()}: {row.sentence}", width)


def _shown(row: Row, value: float) -> str:
    return format_quantity(value, row.target.unit, 4)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%SZ")


def _wrap(text: str, width: int, style: str = "") -> Iterator[Text]:
    lines = textwrap.wrap(text, max(width, 20), subsequent_indent="  ", drop_whitespace=True)
    for line in lines:
        yield Text(line, style)


# ---- JSON


def as_json(report: Report) -> dict[str, Any]:
    """The same as data: ``golive/backtest/v1``."""
    span = report.recording.span
    return {
        "schema": "golive/backtest/v1",
        "sources": report.recording.sources,
        "from": _instant(span[0]) if span else None,
        "to": _instant(span[1]) if span else None,
        "stable": report.pair[0] if report.pair else None,
        "canary": report.pair[1] if report.pair else None,
        "fired": report.bad,
        "rows": {
            name: {
                "target": str(row.target),
                "alert_if": str(row.alert_if) if row.alert_if else None,
                "versions": {version: _firing_json(found) for version, found in report.fired[name]},
            }
            for name, row in report.rows.items()
        },
        "judge": _judge_json(report.judged),
    }


def _firing_json(found: Firing) -> dict[str, Any]:
    return {
        "points": found.points,
        "unusable": found.unusable,
        "target_met": found.passed,
        "worst": found.worst,
        "worst_at": None if found.worst_at is None else _instant(found.worst_at),
        "episodes": [
            {"from": _instant(each.began), "to": _instant(each.ended), "points": each.points, "worst": each.worst}
            for each in found.episodes
        ],
    }


def _judge_json(judged: Verdict | str) -> dict[str, Any]:
    if isinstance(judged, str):
        return {"asked": False, "why": judged}
    last = judged.last
    return {
        "asked": True,
        "began_at": None if judged.began is None else _instant(judged.began),
        "looks": judged.looks,
        "rollback_at": None if judged.rollback_at is None else _instant(judged.rollback_at),
        "found_good": [{"weight_percent": weight / 100, "at": _instant(at)} for weight, at in judged.promoted],
        "reason": last.reason if last else "",
        "confidence": round(last.confidence, 2) if last else 0.0,
        "rows": msgspec.to_builtins(
            [{"name": row.name, "verdict": str(row.verdict), "sentence": row.sentence} for row in last.rows]
        ) if last else [],
    }  # fmt: skip


def _instant(seconds: float) -> str:
    return format_instant(datetime.fromtimestamp(seconds, UTC))
