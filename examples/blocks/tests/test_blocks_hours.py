"""Opening hours: the circle of the week against examples and against a minute-by-minute walk."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.hours import DAYS, WEEK_MINUTES, OpeningHours, Openness, parse_opening_hours, week_minute

MONDAY = datetime(2025, 11, 3)


def _at(text: str, day: str, clock: str) -> Openness:
    hour, minute = map(int, clock.split(":"))
    moment = MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)
    return parse_opening_hours(text).at(moment)


@pytest.mark.parametrize(
    ("text", "day", "clock", "expected"),
    [
        ("Tu-Th 17:00-22:30", "Tu", "16:59", Openness(False, 1, (5 * 24 - 6) * 60 + 29)),
        ("Tu-Th 17:00-22:30", "Tu", "17:00", Openness(True, 330, 0)),
        ("Tu-Th 17:00-22:30", "Tu", "22:29", Openness(True, 1, 329)),
        ("Tu-Th 17:00-22:30", "Tu", "22:30", Openness(False, 18 * 60 + 30, 0)),
        ("Fr,Sa 22:00-04:00", "Sa", "03:00", Openness(True, 60, 300)),
        ("Sa 22:00-04:00", "Su", "03:59", Openness(True, 1, 359)),
        ("Su 22:00-02:00", "Mo", "01:00", Openness(True, 60, 180)),
        ("Su-Tu 12:00-13:00", "Mo", "12:30", Openness(True, 30, 30)),
        ("Mo 12:00-24:00; Tu 00:00-02:00", "Mo", "23:00", Openness(True, 180, 660)),
        ("Su 20:00-24:00; Mo 00:00-02:00", "Su", "23:00", Openness(True, 180, 180)),
        ("Mo-Fr 11:30-14:30,17:30-22:00", "We", "15:00", Openness(False, 150, 30)),
        ("24/7", "Th", "04:30", Openness(True, None, None)),
        ("Mo-Su 00:00-24:00", "Th", "04:30", Openness(True, None, None)),
        ("", "Th", "04:30", Openness(False, None, None)),
    ],
)
def test_a_venue_knows_its_doors_at_every_minute(text: str, day: str, clock: str, expected: Openness) -> None:
    """Opening is inclusive, closing exclusive; nights cross midnight and the week's end; touching spans are one."""
    assert _at(text, day, clock) == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("Monday 09:00-17:00", "'Monday'"),
        ("Mo-Xx 09:00-17:00", "'Mo-Xx'"),
        ("Mo 9:00-17:00", "'9:00-17:00'"),
        ("Mo 09:00-25:00", "'09:00-25:00'"),
        ("Mo 24:00-02:00", "'24:00-02:00'"),
        ("Mo 09:60-10:00", "'09:60-10:00'"),
        ("Mo", "''"),
        ("Mo 09:00", "'09:00'"),
    ],
)
def test_hours_that_cannot_be_read_are_refused_by_name(text: str, place: str) -> None:
    """The message shows the part that is wrong and what was expected instead."""
    with pytest.raises(ValueError, match=r"opening hours .*expected .* got ") as error:
        parse_opening_hours(text)
    assert place in str(error.value)


def _spans() -> st.SearchStrategy[tuple[int, int, int]]:
    """(weekday, start, end) with an end from 1 to 1440 that is not the start."""
    clock = st.integers(0, 96).map(lambda quarter: quarter * 15)
    return st.tuples(st.integers(0, 6), clock.filter(lambda m: m < 1440), clock.filter(bool)).filter(
        lambda span: span[1] != span[2]
    )


def _text(spans: list[tuple[int, int, int]]) -> str:
    return "; ".join(
        f"{DAYS[day]} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}" for day, start, end in spans
    )


def _open_minutes(spans: list[tuple[int, int, int]]) -> list[bool]:
    """The obviously right model: one flag for each minute of the week."""
    flags = [False] * WEEK_MINUTES
    for day, start, end in spans:
        length = end - start if end > start else end + 1440 - start
        for minute in range(length):
            flags[(day * 1440 + start + minute) % WEEK_MINUTES] = True
    return flags


def _walk(flags: list[bool], minute: int, step: int) -> int | None:
    """Minutes from *minute* until the flag differs, going by *step*; None when it never does."""
    for distance in range(1, WEEK_MINUTES):
        if flags[(minute + step * distance) % WEEK_MINUTES] != flags[minute]:
            return distance
    return None


@given(spans=st.lists(_spans(), max_size=8), minute=st.integers(0, WEEK_MINUTES - 1))
def test_the_arcs_agree_with_a_walk_through_the_minutes(spans: list[tuple[int, int, int]], minute: int) -> None:
    """For any overlapping, touching or wrapping spans, state and both distances are those of the flag model."""
    flags = _open_minutes(spans)
    state = parse_opening_hours(_text(spans)).at(MONDAY + timedelta(minutes=minute))
    back = _walk(flags, minute, -1)
    assert state.is_open == flags[minute]
    assert state.minutes_to_change == _walk(flags, minute, +1)
    assert state.minutes_since_change == (None if back is None else back - 1)


@given(spans=st.lists(_spans(), max_size=8))
def test_arcs_are_disjoint_and_do_not_touch(spans: list[tuple[int, int, int]]) -> None:
    """What ``OpeningHours`` promises about its arcs, which ``at`` relies on."""
    arcs = parse_opening_hours(_text(spans)).arcs
    for (opens, length), (following, _) in zip(arcs, arcs[1:] + arcs[:1], strict=True):
        assert 0 <= opens < WEEK_MINUTES
        gap = (following - opens) % WEEK_MINUTES or WEEK_MINUTES
        assert length < gap or len(arcs) == 1


@given(moment=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1)))
def test_the_week_repeats(moment: datetime) -> None:
    """A week later the clock shows the same minute, and the same doors are open."""
    hours = OpeningHours(((60, 120), (5000, 600)))
    assert week_minute(moment) == week_minute(moment + timedelta(days=7))
    assert hours.at(moment) == hours.at(moment + timedelta(days=7))
