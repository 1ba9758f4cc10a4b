"""
Gates on a service with traffic, again and again: after a launch, or beside a canary. The same gates as before it.

One red round is told and forgiven: on a network something always fails once. Two in a row are a verdict. A gate that
could not run is treated alike: not knowing for long is not health.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from golive.gates.gate import Gate
from golive.gates.outcome import Outcome, Verdict
from golive.gates.report import Report, Result
from golive.gates.runner import run_gates
from golive.gates.target import Target
from golive.gates.waiver import Waiver
from golive.timing import format_instant

ROUNDS_MAX = 100_000
_IN_A_ROW = 2


@dataclass(slots=True)
class _Story:
    """What one gate said over the rounds."""

    last: Result | None = None
    green: int = 0
    rounds: int = 0
    in_a_row: int = 0
    hiccups: list[str] = field(default_factory=list)


async def watch_gates(
    names: Iterable[str],
    target: Target,
    seconds: float,
    every: float,
    *,
    waivers: Iterable[Waiver] = (),
    gates: Mapping[str, Gate] | None = None,
    on_round: Callable[[Report], None] | None = None,
) -> Report:
    """
    Run *names* every *every* seconds for *seconds*, at least once; end early when one is red twice in a row.

    Returns: one report over all rounds, each gate with how often it was green.
    """
    wanted, accepted = list(names), list(waivers)
    stories: dict[str, _Story] = defaultdict(_Story)
    started_at, begin = datetime.now(UTC), time.monotonic()
    for number in range(1, ROUNDS_MAX + 1):
        report = await run_gates(wanted, target, waivers=accepted, gates=gates)
        for result in report.results:
            _tell(stories[result.gate], result)
        if on_round is not None:
            on_round(report)
        due = begin + number * every
        if any(story.in_a_row >= _IN_A_ROW for story in stories.values()) or due - begin > seconds:
            break
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    results = [_summed(story) for story in stories.values() if story.last is not None]
    return Report(target.url, target.environment, started_at, time.monotonic() - begin, results)


def _tell(story: _Story, result: Result) -> None:
    story.last = result
    story.rounds += 1
    story.green += result.good
    story.in_a_row = 0 if result.good else story.in_a_row + 1
    if not result.good and len(story.hiccups) < 100:
        story.hiccups.append(f"{format_instant(datetime.now(UTC))} {result.outcome.verdict}: {result.outcome.sentence}")


def _summed(story: _Story) -> Result:
    last = story.last
    assert last is not None, "a gate in a round has a result"
    evidence: dict[str, Any] = {"rounds": story.rounds, "green": story.green, "red": story.hiccups,
                                "last": dict(last.outcome.evidence)}  # fmt: skip
    if story.in_a_row >= _IN_A_ROW:
        sentence = f"red in {story.in_a_row} rounds in a row: {last.outcome.sentence}"
        return Result(last.gate, last.phase, Outcome(last.outcome.verdict, sentence, evidence), last.seconds)
    if not last.good and story.rounds == 1:
        return last
    hiccups = f", once red: {story.hiccups[-1]}" if story.hiccups else ""
    verdict = last.outcome.verdict if last.good else Verdict.PASS
    sentence = f"green in {story.green} of {story.rounds} rounds{hiccups}"
    return Result(last.gate, last.phase, Outcome(verdict, sentence, evidence), last.seconds)
