"""Following a rollout through its journal: no connection to the controller, which may die and come back meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import click
import msgspec

from golive.cli.narrate import Narrator, first_line
from golive.errors import ExitCode, TimeoutExceededError
from golive.rollout.journal import Entry, Journal
from golive.rollout.machine import Phase, State
from golive.timing import format_duration, format_instant

_POLL_SECONDS = 0.1


def entries(journal: Journal, rollout: str, *, after: int = 0, deadline: float | None = None) -> Iterator[Entry | None]:
    """
    The entries of *rollout* as they are written; None in between, several times a second, for whoever draws. Ends when
    the rollout is over.

    Raises: TimeoutExceededError at *deadline* (monotonic seconds); StateError for an unknown rollout.
    """
    seen = after
    while True:
        final = journal.rollout(rollout).final  # read before the entries, so that none is missed
        for entry in journal.entries(rollout, after=seen):
            seen = entry.seq
            yield entry
        if final:
            return
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutExceededError(
                f"rollout {rollout}: not over yet; it goes on. Look again with `golive watch {rollout}`."
            )
        yield None
        time.sleep(_POLL_SECONDS)


def outcome(state: State) -> ExitCode | None:
    """What a shell should hear about *state*; None while it is still under way."""
    if state.phase in (Phase.LIVE, Phase.WATCHING, Phase.PROMOTING, Phase.RETIRING):
        return ExitCode.OK
    if state.phase is Phase.ROLLED_BACK:
        return ExitCode.NO_GO if state.no_go else ExitCode.ROLLED_BACK
    if state.phase is Phase.WAITING:
        return ExitCode.WAITING
    return None


def follow(
    journal: Journal, rollout: str, output: str, *, deadline: float | None = None, stop_when_waiting: bool = True
) -> ExitCode:
    """Print *rollout* line by line until it is live, taken back, or waits for somebody."""
    narrator = Narrator()
    for entry in entries(journal, rollout, deadline=deadline):
        if entry is not None:
            _print(entry, narrator, output)
            continue
        code = outcome(journal.rollout(rollout))
        if code is not None and (code is not ExitCode.WAITING or stop_when_waiting):
            return code
    return outcome(journal.rollout(rollout)) or ExitCode.OK


def _print(entry: Entry, narrator: Narrator, output: str) -> None:
    if output == "ndjson":
        click.echo(msgspec.json.encode({"schema": "golive/rollout/v1", **msgspec.to_builtins(entry)}).decode())
        return
    line = narrator.line(entry)
    if line is not None and output == "text":
        click.echo(line)


def summary(state: State) -> dict[str, object]:
    """A rollout as JSON for scripts."""
    return {
        "schema": "golive/rollout/v1",
        "id": state.id,
        "service": state.service,
        "stable": state.stable,
        "candidate": state.candidate,
        "phase": state.phase.value,
        "weight_percent": state.weight / 100,
        "stage": state.stage,
        "stages_percent": [stage.weight / 100 for stage in state.plan.stages],
        "confidence": state.verdict.confidence if state.verdict else None,
        "reason": state.reason,
        "paused_by": state.paused_by,
        "waiting_for": state.waiting_for,
        "started_by": state.actor,
        "ended_by": state.ended_by,
        "started_at": format_instant(state.started_at),
        "ended_at": format_instant(state.ended_at) if state.ended_at else None,
    }


def _spoken(duration: timedelta) -> str:
    """``36.8 s``, or ``2h15m`` when seconds no longer matter."""
    seconds = duration.total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else format_duration(timedelta(seconds=round(seconds)))


def closing_line(state: State, now: datetime) -> str:
    """The last line of a followed rollout."""
    took = _spoken((state.ended_at or now) - state.started_at)
    reason = first_line(state.reason)
    if state.phase is Phase.ROLLED_BACK:
        return f"NO-GO  {reason}" if state.no_go else f"ROLLED BACK after {took}: {reason}"
    if state.phase is Phase.WAITING:
        return f"WAITING: {state.reason}. Answer with `golive approve` or `golive reject`."
    if state.phase in (Phase.LIVE, Phase.WATCHING, Phase.PROMOTING, Phase.RETIRING):
        return f"LIVE after {took}: {state.reason}"
    return f"{state.phase.value}: {state.reason}"
