"""How far and how long: great-circle distance, and driving time at the city's speed by hour. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

EARTH_RADIUS_KM = 6371.0088
"""Mean radius. Source: IUGG, GRS 80."""

STREET_DETOUR_RATIO = 1.35
"""Street distance over straight line: what a grid with a harbour in it costs on average."""

GET_GOING_MINUTES = 2.0
"""Pulling out and pulling in. Also why a block at the driver's feet is two minutes away, not zero."""

SPEED_KMH_BY_HOUR = (
    *(44, 46, 46, 46, 44, 40, 32, 24, 20, 24, 28, 28),  # free at night, the morning peak at eight
    *(26, 26, 26, 24, 20, 18, 20, 26, 30, 34, 38, 42),  # the evening peak at five
)
"""Average driving speed in the city at each hour of the day."""


@dataclass(frozen=True, slots=True)
class Position:
    """A point on the map in degrees, WGS 84: *latitude* -90..90, *longitude* -180..180."""

    latitude: float
    longitude: float


def distance_km(here: Position, there: Position) -> float:
    """The great circle between two points by the haversine formula, >= 0."""
    lat1, lat2 = math.radians(here.latitude), math.radians(there.latitude)
    half_lat, half_lon = (lat2 - lat1) / 2, math.radians(there.longitude - here.longitude) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, chord)))


def drive_minutes(straight_km: float, hour: int) -> float:
    """Minutes behind the wheel for *straight_km* as the crow flies, leaving at *hour* (0..23); at least two."""
    return GET_GOING_MINUTES + straight_km * STREET_DETOUR_RATIO / SPEED_KMH_BY_HOUR[hour] * 60
