"""The city as the processor sees it: venues, and the blocks they stand in. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from blocks.hours import OpeningHours
from blocks.travel import Position


@dataclass(frozen=True, slots=True)
class Venue:
    """
    A place people leave by car.

    Attributes:
        id: stable, ``v001``.
        block: the name of the block it stands in.
        weekend_factor: demand from Friday 18:00 to Sunday 18:00, relative to the rest of the week; >= 0.
        demand: expected pick-ups per hour while it is open, at the full hours 0..23; 24 numbers >= 0.
    """

    id: str
    name: str
    category: str
    block: str
    position: Position
    hours: OpeningHours
    weekend_factor: float
    demand: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A cluster of venues a driver can wait at; *position* is the middle of its venues."""

    id: str
    name: str
    position: Position
    venues: tuple[Venue, ...]


@dataclass(frozen=True, slots=True)
class City:
    """
    Everything the service knows about where it works.

    Attributes:
        blocks: at least one, in the order of their names.
        venues: all venues of all blocks by id.
    """

    name: str
    blocks: tuple[Block, ...]
    venues: dict[str, Venue]

    def find_venue(self, wanted: str) -> Venue | None:
        """The venue with this id, or this name in any case; None when there is no such venue."""
        by_name = (venue for venue in self.venues.values() if venue.name.casefold() == wanted.casefold())
        return self.venues.get(wanted) or next(by_name, None)


def build_city(name: str, venues: Iterable[Venue]) -> City:
    """Groups *venues* (at least one) into their blocks."""
    by_block: dict[str, list[Venue]] = {}
    for venue in venues:
        by_block.setdefault(venue.block, []).append(venue)
    blocks = tuple(_block(block, tuple(members)) for block, members in sorted(by_block.items()))
    return City(name, blocks, {venue.id: venue for block in blocks for venue in block.venues})


def _block(name: str, venues: tuple[Venue, ...]) -> Block:
    middle = Position(fmean(v.position.latitude for v in venues), fmean(v.position.longitude for v in venues))
    return Block(name.lower().replace(" ", "-"), name, middle, venues)
