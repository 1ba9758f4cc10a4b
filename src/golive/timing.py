"""
Durations, instants and the clock.

Inside golive a duration is a :class:`~datetime.timedelta`, an instant an aware UTC :class:`~datetime.datetime`, and
time itself comes from a :class:`Clock` that is handed in, so that a day of soak takes a blink in a test. On the wire
and in the journal instants are RFC 3339 with a ``Z``, durations are seconds.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"\s*(?:{_PART.pattern}\s*)+")


def parse_duration(text: str) -> timedelta:
    """
    ``"90s"``, ``"30m"``, ``"1h30m"``, ``"250ms"`` as a timedelta; a bare number has no unit and is refused.

    Raises: ValueError naming what was expected, for anything else (negative, empty, not a string).
    """
    if not isinstance(text, str):
        raise ValueError(f'expected a duration such as "30m", got {text!r}. Write "{text}s" or "{text}m".')
    if not _WHOLE.fullmatch(text):
        hint = f' Write "{text.strip()}s" or "{text.strip()}m".' if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text) else ""
        raise ValueError(f'expected a duration such as "30m", got {text!r}.{hint}')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(
            f'expected a duration such as "30m", got {text!r}, which is longer than time itself.'
        ) from None


def format_duration(duration: timedelta) -> str:
    """The shortest spelling :func:`parse_duration` reads back: ``1h30m``, ``2s``, ``250ms``, ``0s``."""
    milliseconds = round(duration.total_seconds() * 1000)
    sign, milliseconds = ("-" if milliseconds < 0 else ""), abs(milliseconds)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return sign + "".join(parts) if parts else "0s"


def format_instant(instant: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-23T10:12:03.250Z``."""
    assert instant.tzinfo is not None, "an instant is always aware"
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """
    The inverse of :func:`format_instant`; accepts any RFC 3339 instant with an offset.

    Raises: ValueError when *text* is not one, or carries no offset.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"expected an instant with an offset such as 2026-11-23T10:12:03Z, got {text!r}")
    return instant.astimezone(UTC)


class Clock(Protocol):
    """Where time comes from. Only edges hold one; the machines get instants as data."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. May step; for records and schedules."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for measuring. The origin means nothing."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after *seconds*, >= 0."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See :class:`Clock`."""
        import asyncio  # whoever gets here has it; who only reads durations should not pay for it

        await asyncio.sleep(seconds)
