"""Durations and instants as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.timing import format_duration, format_instant, parse_duration, parse_instant


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("2d", 172_800), (" 5 m ", 300), ("1w", 604_800)],
)
def test_durations_are_read_with_their_units(text: str, seconds: float) -> None:
    """Every unit, sums of them, and spaces."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-5s", "5 minutes", "1h 30", "1e3s", "٣s", "5s;", "9" * 30 + "w"])
def test_what_is_no_duration_is_refused_with_what_was_expected(text: str) -> None:
    """Nothing is guessed; a number without unit gets the two spellings it may have meant."""
    with pytest.raises(ValueError, match='expected a duration such as "30m"'):
        parse_duration(text)


def test_a_number_is_no_duration() -> None:
    """TOML's 30 is answered with both ways to write it."""
    with pytest.raises(ValueError, match='Write "30s" or "30m"'):
        parse_duration(30)  # type: ignore[arg-type]


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_survives_being_written_and_read(milliseconds: int) -> None:
    """The shortest spelling says the same."""
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))
def test_an_instant_survives_being_written_and_read(instant: datetime) -> None:
    """To the millisecond, always in UTC."""
    text = format_instant(instant)
    assert text.endswith("Z")
    assert abs(parse_instant(text) - instant) < timedelta(milliseconds=1)


def test_an_instant_without_offset_is_refused() -> None:
    """A time of day somewhere is not an instant."""
    with pytest.raises(ValueError, match="offset"):
        parse_instant("2026-11-23T10:12:03")
