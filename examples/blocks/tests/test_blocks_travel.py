"""Distance and driving time: known figures, and what must hold for any two points."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.travel import GET_GOING_MINUTES, SPEED_KMH_BY_HOUR, Position, distance_km, drive_minutes

positions = st.builds(Position, st.floats(-90, 90), st.floats(-180, 180))


def test_the_distance_agrees_with_a_published_one() -> None:
    """BNA to LAX is the worked example of the haversine formula: 2,887 km on the mean sphere. Source: Rosetta Code."""
    assert distance_km(Position(36.12, -86.67), Position(33.94, -118.40)) == pytest.approx(2886.45, abs=0.05)


@given(here=positions, there=positions)
def test_distance_is_a_metric_on_the_sphere(here: Position, there: Position) -> None:
    """Symmetric, zero at home, never more than half the circumference."""
    assert distance_km(here, there) == pytest.approx(distance_km(there, here))
    assert distance_km(here, here) == 0
    assert 0 <= distance_km(here, there) <= 20016


@given(near=st.floats(0, 50), extra=st.floats(0, 50), hour=st.integers(0, 23))
def test_further_is_never_faster(near: float, extra: float, hour: int) -> None:
    """At any hour; and no trip is shorter than getting going, so that nothing is ever divided by zero."""
    assert GET_GOING_MINUTES <= drive_minutes(near, hour) <= drive_minutes(near + extra, hour)


def test_the_evening_peak_is_slower_than_the_night() -> None:
    """There is one speed for each hour of the day; ten kilometres take longer at 17:00 than at 02:00."""
    assert len(SPEED_KMH_BY_HOUR) == 24
    assert drive_minutes(10, 17) > 2 * drive_minutes(10, 2)
