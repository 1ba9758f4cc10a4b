"""Freeze windows as people write them, over week ends, new years and the days the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.errors import ConfigError
from golive.rollout.calendar import closed_until, parse_window

WEEKEND = "Fri 15:00 - Mon 08:00 Europe/Paris"


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "at", "until"),
    [
        (WEEKEND, "2026-01-09T13:59", None),  # Friday 14:59 in Paris
        (WEEKEND, "2026-01-09T14:00", "2026-01-12T07:00"),
        (WEEKEND, "2026-01-12T06:59", "2026-01-12T07:00"),
        (WEEKEND, "2026-01-12T07:00", None),
        # The clocks go forward on Sunday: the week end is an hour shorter, Monday 8:00 in Paris comes at 6:00 UTC.
        (WEEKEND, "2026-03-27T14:00", "2026-03-30T06:00"),
        (WEEKEND, "2026-10-23T13:00", "2026-10-26T07:00"),  # and backward: an hour longer
        ("2026-12-20 - 2027-01-03", "2026-12-19T23:59", None),
        ("2026-12-20 - 2027-01-03", "2026-12-20T00:00", "2027-01-04T00:00"),
        ("2026-12-20 - 2027-01-03", "2027-01-03T23:59", "2027-01-04T00:00"),
        ("2026-12-20 - 2027-01-03 America/New_York", "2027-01-04T04:59", "2027-01-04T05:00"),
        ("Mon 23:00 - 02:00", "2026-01-06T01:00", "2026-01-06T02:00"),  # over midnight
        ("Sat-Mon 00:00 - 12:00", "2026-01-05T11:00", "2026-01-05T12:00"),  # days over the end of the week
        ("Mon 09:00 - Mon 09:00", "2026-01-07T00:00", None),  # a whole week, and the next one: for ever
    ],
)  # fmt: skip
def test_a_freeze_holds_exactly_as_written(window: str, at: str, until: str | None) -> None:
    """From the first minute to the last one, in its own zone."""
    found = closed_until([window], [], _at(at))
    if window.startswith("Mon 09:00 - Mon 09:00"):
        assert found is not None
        assert found > _at(at) + timedelta(days=365)
    else:
        assert found == (_at(until) if until else None)


def test_a_time_the_clocks_jump_over_is_read_with_the_offset_before() -> None:
    """02:30 in Paris does not exist on that Sunday; the freeze begins at 01:30 UTC, which is 03:30 there."""
    window = "Sun 02:30 - Sun 05:00 Europe/Paris"
    assert closed_until([window], [], _at("2026-03-29T01:29")) is None
    assert closed_until([window], [], _at("2026-03-29T01:30")) == _at("2026-03-29T03:00")


def test_a_time_the_clocks_show_twice_is_the_first_one() -> None:
    """02:30 comes at 00:30 and at 01:30 UTC."""
    window = "Sun 02:30 - Sun 05:00 Europe/Paris"
    assert closed_until([window], [], _at("2026-10-25T00:29")) is None
    assert closed_until([window], [], _at("2026-10-25T00:30")) == _at("2026-10-25T04:00")


def test_windows_that_touch_are_one() -> None:
    """The end of one freeze inside another is no end."""
    windows = ["Mon 08:00 - Mon 12:00", "Mon 12:00 - Mon 18:00", "Mon 17:00 - Tue 09:00"]
    assert closed_until(windows, [], _at("2026-01-05T09:00")) == _at("2026-01-06T09:00")


def test_allowed_windows_close_everything_else_and_a_freeze_wins() -> None:
    """The next opening is named; a freeze in it moves it on."""
    allowed = ["Tue-Thu 09:00 - 16:00 Europe/Paris"]
    assert closed_until([], allowed, _at("2026-01-06T08:00")) is None
    assert closed_until([], allowed, _at("2026-01-08T15:00")) == _at("2026-01-13T08:00")
    assert closed_until(["2026-01-13 - 2026-01-13"], allowed, _at("2026-01-08T15:00")) == _at("2026-01-14T08:00")


@given(st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)))
def test_the_end_of_a_freeze_is_open_and_every_moment_before_is_closed(naive: datetime) -> None:
    """Whatever the instant: what is said about the end is true."""
    at, windows = naive.replace(tzinfo=UTC), [WEEKEND, "Tue 23:00 - 04:00 America/New_York", "2026-12-20 - 2027-01-03"]
    until = closed_until(windows, [], at)
    if until is not None:
        assert closed_until(windows, [], until) is None
        assert closed_until(windows, [], until - timedelta(seconds=1)) == until


@pytest.mark.parametrize(
    "text", ["", "Fri - Mon", "Fre 15:00 - Mon 08:00", "Fri 25:00 - Mon 08:00", "2026-02-30 - 2026-03-01",
             "2027-01-03 - 2026-12-20", "Fri 15:00 - Mon 08:00 Europe/Pariss", "Fri 15:00 - Mon 08:00 ../etc"],
)  # fmt: skip
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    """One clear line, never a traceback."""
    with pytest.raises(ConfigError, match=r"rollout\.freeze"):
        parse_window(text)
