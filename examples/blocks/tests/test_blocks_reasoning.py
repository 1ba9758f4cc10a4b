"""Closed-venue reasoning: every kind of closed, in words."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.city import City, Venue, build_city
from blocks.hours import DAYS, parse_opening_hours
from blocks.processor import BlocksProcessorError
from blocks.reasoning import Reasoning, explain_closed
from blocks.travel import Position

MONDAY = datetime(2025, 11, 3)


def _ask(opening: str, day: str, clock: str) -> Reasoning:
    hour, minute = map(int, clock.split(":"))
    moment = MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)
    venue = Venue("v1", "The Spot", "bar", "A Block", Position(0, 0), parse_opening_hours(opening), 1.0, (0.0,) * 24)
    return explain_closed(build_city("Any", [venue]), "v1", moment)


@pytest.mark.parametrize(
    ("opening", "day", "clock", "state", "sentence"),
    [
        (
            "Tu-Th 17:00-22:30", "Tu", "12:15", "not_yet_open",
            "The Spot (A Block) is closed at 12:15 on Tuesday because it has not opened yet; "
            "it opens next at 17:00, in 4 h 45 min.",
        ),
        (
            "Tu-Th 17:00-22:30", "Th", "23:00", "closed_for_the_day",
            "The Spot (A Block) is closed at 23:00 on Thursday because it closed at 22:30 and does not open again "
            "today; it opens next at 17:00 on Tuesday, in 4 d 18 h.",
        ),
        (
            "Tu-Th 17:00-22:30", "Mo", "20:00", "closed_all_day",
            "The Spot (A Block) is closed at 20:00 on Monday because it does not open on Mondays; "
            "it opens next at 17:00 on Tuesday, in 21 h.",
        ),
        (
            "Mo-Fr 11:30-14:30,17:30-22:00", "We", "15:00", "between_openings",
            "The Spot (A Block) is closed at 15:00 on Wednesday because it closed at 14:30 and opens again later; "
            "it opens next at 17:30, in 2 h 30 min.",
        ),
        (
            "Fr,Sa 22:00-04:00", "Sa", "05:00", "between_openings",
            "The Spot (A Block) is closed at 05:00 on Saturday because it closed at 04:00 and opens again later; "
            "it opens next at 22:00, in 17 h.",
        ),
        (
            "Fr,Sa 22:00-04:00", "Su", "05:00", "closed_for_the_day",
            "The Spot (A Block) is closed at 05:00 on Sunday because it closed at 04:00 and does not open again today; "
            "it opens next at 22:00 on Friday, in 5 d 17 h.",
        ),
        (
            "Fr 18:00-24:00", "Sa", "00:00", "closed_all_day",
            "The Spot (A Block) is closed at 00:00 on Saturday because it does not open on Saturdays; "
            "it opens next at 18:00 on Friday, in 6 d 18 h.",
        ),
        (
            "Fr 18:00-02:00", "Sa", "01:00", "open",
            "The Spot (A Block) is open at 01:00 on Saturday, until 02:00.",
        ),
        (
            "Fr 18:00-02:00", "Fr", "23:00", "open",
            "The Spot (A Block) is open at 23:00 on Friday, until 02:00 on Saturday.",
        ),
        ("24/7", "Fr", "23:00", "open", "The Spot (A Block) is open at 23:00 on Friday, and never closes."),
        (
            "", "Fr", "23:00", "never_open",
            "The Spot (A Block) is closed at 23:00 on Friday: it lists no opening hours at all.",
        ),
    ],
)  # fmt: skip
def test_each_kind_of_closed_has_its_sentence(opening: str, day: str, clock: str, state: str, sentence: str) -> None:
    """The state is the reason for programs, the sentence the same reason for people."""
    answer = _ask(opening, day, clock)
    assert (answer.state, answer.reason) == (state, sentence)
    assert answer.is_open == (state == "open")


def test_a_venue_is_found_by_id_or_by_name_in_any_case(city: City) -> None:
    """People type names, programs send ids."""
    by_id, by_name = (explain_closed(city, wanted, MONDAY) for wanted in ("v016", "blue lantern"))
    assert by_id == by_name
    assert by_id.name == "Blue Lantern"


def test_an_unknown_venue_is_not_found(city: City) -> None:
    """404 with the spelling that was sent."""
    with pytest.raises(BlocksProcessorError, match="got 'Blue Lampern'") as error:
        explain_closed(city, "Blue Lampern", MONDAY)
    assert (error.value.code, error.value.status) == ("venue_not_found", 404)


@given(moment=st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2027, 1, 1)), pick=st.integers(0, 162))
def test_the_promised_opening_is_true(city: City, moment: datetime, pick: int) -> None:
    """At ``opens_next`` the doors are open, and one minute earlier they are not."""
    venue = list(city.venues.values())[pick]
    answer = explain_closed(city, venue.id, moment)
    if answer.opens_next is None:
        assert answer.is_open
        return
    assert not answer.is_open
    assert venue.hours.at(answer.opens_next).is_open
    assert not venue.hours.at(answer.opens_next - timedelta(minutes=1)).is_open
    assert answer.opens_in_minutes is not None
    minute = moment.replace(second=0, microsecond=0)
    assert answer.opens_next == minute + timedelta(minutes=answer.opens_in_minutes)
