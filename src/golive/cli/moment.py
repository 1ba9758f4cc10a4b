"""A moment of a rollout as people write it: ``+12s`` after the start, a clock time, an instant, an entry's number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from golive.errors import UsageError
from golive.rollout.journal import Entry
from golive.timing import parse_duration, parse_instant

_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")


def up_to(entries: Sequence[Entry], text: str) -> list[Entry]:
    """
    The entries until the moment *text*, that of an entry's number included.

    Clock times are local, as ``golive watch`` prints them, and mean the first such time after the start.
    Raises: UsageError when *text* is no moment, or lies before the start or is no entry of this rollout.
    """
    if re.fullmatch(r"#?\d+", text):
        return _up_to_entry(entries, int(text.lstrip("#")))
    moment = _instant(text.strip(), entries[0].at)
    chosen = [entry for entry in entries if entry.at <= moment]
    if not chosen:
        started = entries[0].at.astimezone().isoformat(timespec="seconds")
        raise UsageError(f"--at {text}: expected a moment after the start of {entries[0].rollout} at {started}.")
    return chosen


def _up_to_entry(entries: Sequence[Entry], number: int) -> list[Entry]:
    if number not in (entry.seq for entry in entries):
        raise UsageError(
            f"--at {number}: expected an entry of {entries[0].rollout}, which are {entries[0].seq} to "
            f"{entries[-1].seq}."
        )
    return [entry for entry in entries if entry.seq <= number]


def _instant(text: str, start: datetime) -> datetime:
    try:
        if text.startswith("+"):
            return start + parse_duration(text[1:])
        if _CLOCK.fullmatch(text):
            return _on_the_clock(text, start)
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f'--at {text}: expected a moment such as "+12s", "10:12:03", "2026-11-23T10:12:03Z" or the number of an '
            "entry."
        ) from None


def _on_the_clock(text: str, start: datetime) -> datetime:
    """A clock time without seconds means all of that minute; one without fractions all of that second."""
    local = start.astimezone()
    wanted = datetime.strptime(text[:8].rstrip("."), "%H:%M:%S" if text.count(":") == 2 else "%H:%M")  # noqa: DTZ007 - only its clock is used
    moment = local.replace(hour=wanted.hour, minute=wanted.minute, second=wanted.second, microsecond=0)
    moment += timedelta(seconds=1 if text.count(":") == 2 else 60) - timedelta(microseconds=1)
    return moment if moment >= local else moment + timedelta(days=1)
