"""The ranking: by example on the shipped city, and by property on invented ones."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.city import City, Venue, build_city
from blocks.hours import parse_opening_hours
from blocks.processor import REACH_MINUTES, BlocksProcessorError, Driver, rank_blocks
from blocks.travel import Position
from golive import JobError

CENTRE = Position(41.2, -70.95)
AIRPORT = Position(41.2416, -70.857)
FRIDAY_EVENING = datetime(2025, 10, 31, 19, 0)
SATURDAY_NIGHT = datetime(2025, 11, 1, 2, 40)
MONDAY_MORNING = datetime(2025, 11, 3, 8, 10)

moments = st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2027, 1, 1))
near_centre = st.builds(Position, st.floats(41.18, 41.22), st.floats(-70.97, -70.93))
hours = st.sampled_from(["24/7", "", "Mo-Fr 09:00-17:00", "Tu-Sa 18:00-02:00", "Fr,Sa 22:00-05:00", "Su 10:00-16:00"])


def _venue(number: int, block: str, position: Position, opening: str, demand: float, weekend: float) -> Venue:
    name = f"Venue {number}"
    curve = tuple(round(demand * (1 + math.sin(hour / 4)), 2) for hour in range(24))
    return Venue(f"v{number:03}", name, "bar", block, position, parse_opening_hours(opening), weekend, curve)


venues = st.lists(
    st.tuples(st.sampled_from(["A", "B", "C"]), near_centre, hours, st.floats(0, 50), st.floats(0, 3)),
    min_size=1,
    max_size=12,
).map(lambda rows: [_venue(number, *row) for number, row in enumerate(rows)])


def _names(city: City, position: Position, moment: datetime) -> list[str]:
    return [block.name for block in rank_blocks(city, Driver(position, moment))]


def test_the_theatres_win_on_a_friday_evening_and_the_stations_on_a_monday_morning(city: City) -> None:
    """The same place at two times sends the driver to different people."""
    assert _names(city, CENTRE, FRIDAY_EVENING + timedelta(hours=3, minutes=5))[0] == "Theatre Mile"
    assert {"Civic Plaza", "Union Station"} == set(_names(city, CENTRE, MONDAY_MORNING)[:2])


def test_the_same_time_elsewhere_ranks_differently(city: City) -> None:
    """A driver at the airport is not sent across the city for a bar."""
    assert _names(city, AIRPORT, FRIDAY_EVENING)[0] == "Larkin Airport"
    assert "Larkin Airport" not in _names(city, CENTRE, MONDAY_MORNING)


def test_each_line_says_why_in_one_sentence(city: City) -> None:
    """The sentence names the block, the drive and what stands out; doors about to close come first."""
    best = rank_blocks(city, Driver(CENTRE, SATURDAY_NIGHT))[0]
    assert best.why == (
        "Lantern Row is 3 min away (0.8 km): about 26 pick-ups an hour are expected when you arrive at 02:43, "
        "because Lantern Karaoke closes at 03:00."
    )


def test_an_hour_with_nobody_about_is_said_plainly() -> None:
    """No pick-ups are not dressed up as a reason to go."""
    shut = build_city("Nowhere", [_venue(1, "Closed Quarter", CENTRE, "", 20, 1)])
    (block,) = rank_blocks(shut, Driver(CENTRE, FRIDAY_EVENING))
    assert block.score == 0
    assert block.open_venues == 0
    assert block.why == (
        "Closed Quarter is 2 min away (0.0 km), but hardly anybody is expected to leave when you arrive at 19:02."
    )


def test_a_driver_outside_the_city_gets_an_error_that_both_endpoints_understand(city: City) -> None:
    """``BlocksProcessorError`` is a JobError: code and status travel to the waiting and to the polling caller."""
    with pytest.raises(BlocksProcessorError, match="expected a place within 25 minutes") as error:
        rank_blocks(city, Driver(Position(48.86, 2.35), FRIDAY_EVENING))
    assert isinstance(error.value, JobError)
    assert (error.value.code, error.value.status, error.value.retryable) == ("out_of_reach", 422, False)


def test_a_block_under_the_drivers_feet_is_ranked_like_any_other() -> None:
    """Zero distance is two minutes of getting going, not a division by zero."""
    spot = build_city("Spot", [_venue(1, "Here", CENTRE, "24/7", 5, 1)])
    (block,) = rank_blocks(spot, Driver(CENTRE, MONDAY_MORNING))
    assert block.distance_km == 0
    assert block.travel_minutes == 2
    assert math.isfinite(block.score)


@given(rows=venues, position=near_centre, moment=moments)
def test_any_city_is_ranked_from_best_to_worst(rows: list[Venue], position: Position, moment: datetime) -> None:
    """Ranks count from 1, scores fall, every number is finite and >= 0, and nothing is out of reach."""
    ranked = rank_blocks(build_city("Any", rows), Driver(position, moment))
    assert [block.rank for block in ranked] == list(range(1, len(ranked) + 1))
    assert [block.score for block in ranked] == sorted((block.score for block in ranked), reverse=True)
    for block in ranked:
        assert 0 <= block.score < math.inf
        assert block.travel_minutes <= REACH_MINUTES
        assert block.open_venues >= 0
        assert block.arrives_at >= moment.replace(second=0, microsecond=0)
        assert block.why.startswith(block.name)
        assert block.why.endswith(".")


@given(rows=venues, position=near_centre, moment=moments, seed=st.randoms())
def test_the_order_of_the_data_set_means_nothing(rows: list[Venue], position: Position, moment: datetime, seed) -> None:
    """Shuffled rows give the same scores; only rounding of sums may differ."""
    shuffled = list(rows)
    seed.shuffle(shuffled)
    one, other = (
        {block.block: block.score for block in rank_blocks(build_city("Any", order), Driver(position, moment))}
        for order in (rows, shuffled)
    )
    assert one == pytest.approx(other, abs=0.002)


@given(rows=venues, position=near_centre, moment=moments, extra=st.floats(0.5, 40))
def test_more_demand_never_lowers_a_block(
    rows: list[Venue], position: Position, moment: datetime, extra: float
) -> None:
    """Adding an always-open venue where the first one stands lifts its block's pick-ups by exactly its demand."""
    first = rows[0]
    added = _venue(len(rows), first.block, first.position, "24/7", 0, 1)
    busy = replace(added, demand=(extra,) * 24)
    idle = replace(added, demand=(0.0,) * 24)
    without, with_busy = (
        {block.block: block for block in rank_blocks(build_city("Any", [*rows, venue]), Driver(position, moment))}
        for venue in (idle, busy)
    )
    block = first.block.lower()
    assert with_busy[block].pickups_now - without[block].pickups_now == pytest.approx(extra, abs=0.11)
    assert with_busy[block].score > without[block].score


@given(rows=venues, position=near_centre, moment=moments)
def test_a_closed_venue_adds_nothing(rows: list[Venue], position: Position, moment: datetime) -> None:
    """A venue that never opens changes no pick-up count, however popular it would be (standing where its block is)."""
    shut = _venue(99, rows[0].block, rows[0].position, "", 50, 3)
    driver = Driver(position, moment)
    (before,) = rank_blocks(build_city("One", [rows[0]]), driver)
    (after,) = rank_blocks(build_city("One", [rows[0], shut]), driver)
    assert (after.pickups_now, after.pickups_on_arrival, after.score) == (
        before.pickups_now,
        before.pickups_on_arrival,
        before.score,
    )


@given(position=near_centre, moment=moments)
def test_the_shipped_city_answers_every_driver_at_every_minute(
    city: City, position: Position, moment: datetime
) -> None:
    """Six blocks or as many as are in reach, each with a sentence, no exception anywhere in the year."""
    ranked = rank_blocks(city, Driver(position, moment))
    assert 1 <= len(ranked) <= 6
    assert all(1 <= len(block.venues) <= 3 for block in ranked)


def test_the_old_import_path_still_works() -> None:
    """Seed row 000-045: callers of the old module get the very same objects."""
    from blocks import blocks_processor_full as old

    assert old.rank_blocks is rank_blocks
    assert old.BlocksProcessorError is BlocksProcessorError
