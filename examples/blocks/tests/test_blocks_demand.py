"""The demand model: opening, closing, midnight and the weekend."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from blocks.city import Venue
from blocks.demand import CLOSING_RUSH_BOOST, demand_at, expected_pickups, is_weekend, openness_factor
from blocks.hours import parse_opening_hours
from blocks.travel import Position


def _venue(opening: str, weekend: float = 1.0) -> Venue:
    return Venue("v1", "Venue", "bar", "A", Position(0, 0), parse_opening_hours(opening), weekend, (5.0,) * 24)


@pytest.mark.parametrize(
    ("clock", "factor"),
    [
        ((16, 59), 0.0),
        ((17, 0), 1.0),
        ((20, 0), 1.0),
        ((21, 15), 1.0),
        ((21, 45), 1 + CLOSING_RUSH_BOOST * (1 - 15 / 45)),
        ((22, 0), 1 + CLOSING_RUSH_BOOST),
        ((22, 10), (1 + CLOSING_RUSH_BOOST) / 2),
        ((22, 20), 0.0),
    ],
)
def test_people_leave_towards_closing_time(clock: tuple[int, int], factor: float) -> None:
    """Nobody before opening, more in the last 45 minutes, the last stragglers for 20 minutes after."""
    venue = _venue("Mo 17:00-22:00")
    assert openness_factor(venue, datetime(2025, 11, 3, *clock)) == pytest.approx(factor, abs=0.02)


def test_demand_runs_straight_between_the_hours_and_around_midnight() -> None:
    """At 23:30 it is the mean of 23:00 and 00:00."""
    venue = replace(_venue("24/7"), demand=(8.0, *[0.0] * 22, 4.0))
    assert demand_at(venue, datetime(2025, 11, 3, 23, 30)) == 6
    assert demand_at(venue, datetime(2025, 11, 3, 23, 0)) == 4


def test_the_weekend_is_when_the_city_goes_out() -> None:
    """Friday 18:00 to Sunday 18:00, 48 hours, and the factor applies just then."""
    start = datetime(2025, 10, 27)
    weekend = [start + timedelta(hours=hour) for hour in range(168) if is_weekend(start + timedelta(hours=hour))]
    assert (weekend[0].strftime("%a %H"), weekend[-1].strftime("%a %H"), len(weekend)) == ("Fri 18", "Sun 17", 48)
    venue = _venue("24/7", weekend=2.0)
    friday, thursday = datetime(2025, 10, 31, 20), datetime(2025, 10, 30, 20)
    assert expected_pickups(venue, friday) == pytest.approx(2 * expected_pickups(venue, thursday))
