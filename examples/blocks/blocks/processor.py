"""
Ranks the blocks around a driver. The core of the service: pure, the same for the sync and the async endpoint.

What people do is in :mod:`blocks.demand`, what a block is worth in :mod:`blocks.scoring`; here both meet one driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from blocks.city import Block, City, Venue
from blocks.demand import CLOSING_RUSH_MINUTES, expected_pickups
from blocks.scoring import score
from blocks.travel import Position, distance_km, drive_minutes
from blocks.wire import Wire
from golive import JobError

BLOCKS_MAX = 6
"""Blocks in one answer: what fits on a phone held by a driver."""
VENUES_MAX = 3
"""Venues named per block; the rest count but are not listed."""
REACH_MINUTES = 25.0
"""Nobody drives further for a pick-up."""


class BlocksProcessorError(JobError):
    """The blocks cannot be ranked. Carries *code*, *status* and *retryable* to both endpoints."""


@dataclass(frozen=True, slots=True)
class Driver:
    """Where the driver is, and what the clock on the dashboard shows (the city's wall clock)."""

    position: Position
    local_time: datetime


class RankedVenue(Wire):
    """One reason to go: a venue, and its expected pick-ups per hour on the driver's arrival."""

    id: str
    name: str
    category: str
    is_open: bool
    changes_at: datetime | None
    pickups_on_arrival: float


class RankedBlock(Wire):
    """One line of the answer. Pick-ups are per hour; *rank* starts at 1; *why* is one sentence for the driver."""

    rank: int
    block: str
    name: str
    latitude: float
    longitude: float
    score: float
    distance_km: float
    travel_minutes: float
    arrives_at: datetime
    pickups_now: float
    pickups_on_arrival: float
    open_venues: int
    venues: tuple[RankedVenue, ...]
    why: str


def rank_blocks(city: City, driver: Driver, limit: int = BLOCKS_MAX) -> tuple[RankedBlock, ...]:
    """
    The best blocks for *driver* within reach, best first; equal scores in the order of their ids.

    Raises: BlocksProcessorError ``out_of_reach`` (422) when every block is too far away.
    """
    trips = [_trip(block, driver) for block in city.blocks]
    prospects = [_prospect(trip, driver) for trip in trips if trip.minutes <= REACH_MINUTES]
    if not prospects:
        nearest = min(trip.distance_km for trip in trips)
        raise BlocksProcessorError(
            "out_of_reach",
            f"position: expected a place within {REACH_MINUTES:.0f} minutes of a block of {city.name}, "
            f"got one {nearest:.0f} km from the nearest. Send a position in the city.",
            status=422,
        )
    prospects.sort(key=lambda prospect: (-prospect.score, prospect.trip.block.id))
    return tuple(_ranked(rank, prospect) for rank, prospect in enumerate(prospects[:limit], start=1))


@dataclass(frozen=True, slots=True)
class _Trip:
    """The way to a block, if the driver leaves now."""

    block: Block
    distance_km: float
    minutes: float
    arrives_at: datetime


@dataclass(frozen=True, slots=True)
class _Prospect:
    """What waits at the end of a trip: pick-ups per hour, now and (by venue, most first) on arrival."""

    trip: _Trip
    pickups_now: float
    on_arrival: tuple[tuple[float, Venue], ...]

    @property
    def pickups_on_arrival(self) -> float:
        return sum(pickups for pickups, _ in self.on_arrival)

    @property
    def score(self) -> float:
        return score(self.pickups_now, self.pickups_on_arrival, self.trip.minutes)


def _trip(block: Block, driver: Driver) -> _Trip:
    straight_km = distance_km(driver.position, block.position)
    minutes = drive_minutes(straight_km, driver.local_time.hour)
    nearest_minute = driver.local_time + timedelta(minutes=minutes, seconds=30)
    return _Trip(block, straight_km, minutes, nearest_minute.replace(second=0, microsecond=0))


def _prospect(trip: _Trip, driver: Driver) -> _Prospect:
    on_arrival = [(expected_pickups(venue, trip.arrives_at), venue) for venue in trip.block.venues]
    on_arrival.sort(key=lambda pair: (-pair[0], pair[1].id))
    now = sum(expected_pickups(venue, driver.local_time) for venue in trip.block.venues)
    return _Prospect(trip, now, tuple(on_arrival))


def _ranked(rank: int, prospect: _Prospect) -> RankedBlock:
    trip, block = prospect.trip, prospect.trip.block
    venues = [_ranked_venue(pickups, venue, trip.arrives_at) for pickups, venue in prospect.on_arrival]
    return RankedBlock(
        rank=rank,
        block=block.id,
        name=block.name,
        latitude=round(block.position.latitude, 5),
        longitude=round(block.position.longitude, 5),
        score=round(prospect.score, 3),
        distance_km=round(trip.distance_km, 2),
        travel_minutes=round(trip.minutes, 1),
        arrives_at=trip.arrives_at,
        pickups_now=round(prospect.pickups_now, 1),
        pickups_on_arrival=round(prospect.pickups_on_arrival, 1),
        open_venues=sum(venue.is_open for venue in venues),
        venues=tuple(venues[:VENUES_MAX]),
        why=_why(prospect),
    )


def _ranked_venue(pickups: float, venue: Venue, arrival: datetime) -> RankedVenue:
    state = venue.hours.at(arrival)
    change = None if state.minutes_to_change is None else arrival + timedelta(minutes=state.minutes_to_change)
    return RankedVenue(
        id=venue.id,
        name=venue.name,
        category=venue.category,
        is_open=state.is_open,
        changes_at=change,
        pickups_on_arrival=round(pickups, 1),
    )


def _why(prospect: _Prospect) -> str:
    """One sentence a driver can read at a red light."""
    trip = prospect.trip
    there = f"{trip.block.name} is {trip.minutes:.0f} min away ({trip.distance_km:.1f} km)"
    arrival = f"when you arrive at {trip.arrives_at:%H:%M}"
    if prospect.pickups_on_arrival < 0.5:
        return f"{there}, but hardly anybody is expected to leave {arrival}."
    pickups = f"about {prospect.pickups_on_arrival:.0f} pick-ups an hour are expected {arrival}"
    return f"{there}: {pickups}, {_reason(prospect)}."


def _reason(prospect: _Prospect) -> str:
    """What stands out: doors that close around the arrival first, else the venue that sends most people out."""
    arrival = prospect.trip.arrives_at
    for pickups, venue in prospect.on_arrival:
        if pickups < prospect.pickups_on_arrival / len(prospect.on_arrival):
            break  # sorted: from here on no venue matters more than the average one
        state = venue.hours.at(arrival)
        if state.is_open and state.minutes_to_change is not None and state.minutes_to_change <= CLOSING_RUSH_MINUTES:
            return f"because {venue.name} closes at {_clock(arrival, state.minutes_to_change)}"
        if not state.is_open and state.minutes_since_change is not None:
            return f"because {venue.name} closed at {_clock(arrival, -state.minutes_since_change)}"
    return f"above all from {prospect.on_arrival[0][1].name}"


def _clock(moment: datetime, minutes: int) -> str:
    return f"{moment + timedelta(minutes=minutes):%H:%M}"
