"""
What crosses the wire: camelCase JSON in, camelCase JSON out.

Unknown fields are ignored on purpose: while two releases share the traffic, a client of the new one also meets the old.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

YEARS = range(2000, 2100)


class Wire(BaseModel):
    """A JSON object whose keys are the camelCase of its fields; snake_case is understood too."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, frozen=True, allow_inf_nan=False
    )


def _local_time(value: object) -> datetime:
    example = 'such as "2025-10-31T22:05"'
    if isinstance(value, datetime):
        value = value.isoformat()
    if not isinstance(value, str):
        raise ValueError(f"expected the city's wall clock {example}, got {type(value).__name__}")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"expected the city's wall clock {example}, got {value[:40]!r}") from None
    if moment.tzinfo is not None:
        raise ValueError(f"expected the city's wall clock without an offset {example}, got {value[:40]!r}")
    if moment.year not in YEARS:
        raise ValueError(f"expected a year from {YEARS[0]} to {YEARS[-1]}, got {moment.year}")
    return moment


LocalTime = Annotated[datetime, BeforeValidator(_local_time)]
"""The wall clock of the city. Offsets are refused: a UTC time taken for a local one would quietly rank another hour."""


class Place(Wire):
    """A position in degrees, WGS 84."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class NewSnapshot(Place):
    """What a phone reports: ``POST /api/snapshots``. Without a device there is no snapshot."""

    device_id: str = Field(min_length=1, max_length=128)
    local_time: LocalTime


class TakenSnapshot(Wire):
    """The answer to a new snapshot: the id to send as ``x-snapshot-id``."""

    snapshot_id: str


class SnapshotRequest(Wire):
    """
    A driver asks for blocks. *position* and *local_time* come from the stored snapshot where the request lacks them.

    Attributes:
        snapshot_id: the header ``x-snapshot-id``.
    """

    user_id: str = Field(min_length=1, max_length=128)
    snapshot_id: str = Field(min_length=1, max_length=128)
    position: Place | None = None
    local_time: LocalTime | None = None


class VenueQuestion(Wire):
    """``POST /api/closed-venue-reasoning``: why is *venue* (an id or a name) closed at *local_time*?"""

    venue: str = Field(min_length=1, max_length=200)
    local_time: LocalTime
