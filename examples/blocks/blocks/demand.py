"""
How many people leave a venue at a given minute. Pure.

    expected pick-ups  =  demand curve at that minute  x  weekend factor  x  openness

Left out on purpose: events, the weather, and how many other drivers wait.
"""

from __future__ import annotations

from datetime import datetime

from blocks.city import Venue

CLOSING_RUSH_MINUTES = 45
"""How long before closing people begin to leave."""
CLOSING_RUSH_BOOST = 0.8
"""How many more of them leave in the last minute than in the middle of the evening."""
STRAGGLER_MINUTES = 20
"""How long after closing the last ones stand at the kerb."""


def expected_pickups(venue: Venue, moment: datetime) -> float:
    """Pick-ups per hour at *venue* at *moment*, >= 0: what the data set expects, if its doors let people out then."""
    demand = demand_at(venue, moment)
    if demand == 0:
        return 0.0  # half of all venues at any hour; their doors need no look
    weekend = venue.weekend_factor if is_weekend(moment) else 1.0
    return demand * weekend * openness_factor(venue, moment)


def demand_at(venue: Venue, moment: datetime) -> float:
    """The venue's demand curve at *moment*, on the straight line between the full hours around it."""
    this, following = venue.demand[moment.hour], venue.demand[(moment.hour + 1) % 24]
    return this + (following - this) * moment.minute / 60


def is_weekend(moment: datetime) -> bool:
    """Friday 18:00 to Sunday 18:00, when the city goes out."""
    weekday, evening = moment.weekday(), moment.hour >= 18
    return weekday == 5 or (weekday == 4 and evening) or (weekday == 6 and not evening)


def openness_factor(venue: Venue, moment: datetime) -> float:
    """
    How the doors shape demand: 1 while open, rising to 1.8 at closing time, then falling to 0 with the last stragglers.

    Before opening it is 0: people arrive then, and nobody leaves.
    """
    state = venue.hours.at(moment)
    if state.is_open:
        left = state.minutes_to_change
        return 1 + (_nearness(left, CLOSING_RUSH_MINUTES) * CLOSING_RUSH_BOOST if left is not None else 0)
    since = state.minutes_since_change
    return (1 + CLOSING_RUSH_BOOST) * _nearness(since, STRAGGLER_MINUTES) if since is not None else 0.0


def _nearness(minutes: int, horizon: int) -> float:
    """1 at the moment itself, falling to 0 at *horizon* minutes from it."""
    return max(0.0, 1 - minutes / horizon)
