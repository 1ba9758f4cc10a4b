"""What a block is worth to a driver. The one file a new ranking changes. Pure."""

from __future__ import annotations

RANKING = "1"
"""The name of the rule below. Every answer carries it, so that answers of two releases can be told apart."""

NOW_SHARE = 0.35
"""Weight of the demand now; the rest is the demand on arrival, which is what the driver will meet."""


def score(pickups_now: float, pickups_on_arrival: float, minutes: float) -> float:
    """
    Pick-ups per hour for each minute of driving; >= 0.

    Args:
        pickups_now: expected at the block per hour, >= 0, when the driver leaves.
        pickups_on_arrival: the same when the driver is there.
        minutes: to get there, > 0.
    """
    return _blend(pickups_now, pickups_on_arrival) / minutes


def _blend(pickups_now: float, pickups_on_arrival: float) -> float:
    return NOW_SHARE * pickups_now + (1 - NOW_SHARE) * pickups_on_arrival
