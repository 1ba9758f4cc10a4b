"""Reads the venue data set. The only file that knows it is CSV."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from blocks.city import City, Venue, build_city
from blocks.hours import parse_opening_hours
from blocks.travel import Position

CITY = "Port Larkin"
VENUES_CSV = Path(__file__).parent / "data" / "venues.csv"


@cache
def load_city(path: Path = VENUES_CSV) -> City:
    """
    The city of *path*, read once per process.

    Raises: ValueError ``venues.csv:17: ...`` for a row that cannot be read, OSError for a file that cannot.
    """
    venues = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                venues.append(_venue(row))
            except (KeyError, ValueError, TypeError) as error:
                raise ValueError(f"{path.name}:{number}: {error}") from error
    return build_city(CITY, venues)


def _venue(row: dict[str, str]) -> Venue:
    demand = tuple(float(number) for number in row["demand"].split())
    if len(demand) != 24 or min(demand) < 0:
        raise ValueError(f"demand: expected 24 numbers >= 0, one per hour, got {len(demand)}: {row['demand']}.")
    return Venue(
        id=row["id"],
        name=row["name"],
        category=row["category"],
        block=row["block"],
        position=Position(float(row["latitude"]), float(row["longitude"])),
        hours=parse_opening_hours(row["opening_hours"]),
        weekend_factor=float(row["weekend_factor"]),
        demand=demand,
    )
