"""What a block is worth to a driver. The one file a new ranking changes. Pure."""

from __future__ import annotations

RANKING = "2"
"""The name of the rule below. Every answer carries it, so that answers of two releases can be told apart."""

NOW_SHARE = 0.35
"""Weight of the demand now; the rest is the demand on arrival, which is what the driver will meet."""


def score(pickups_now: float, pickups_on_arrival: float, minutes: float) -> float:
    """
    Passengers per hour, counting the drive there and the wait for each of them; >= 0.

    Ranking 1 counted a crowd twice the size as twice as good. A driver takes one passenger at a time, so what counts
    is how soon: the minutes of driving plus the minutes until somebody gets in.

    Args:
        pickups_now: expected at the block per hour, >= 0, when the driver leaves.
        pickups_on_arrival: the same when the driver is there.
        minutes: to get there, > 0.
    """
    pickups = _blend(pickups_now, pickups_on_arrival)
    return 60 * pickups / (minutes * pickups + 60)


def _blend(pickups_now: float, pickups_on_arrival: float) -> float:
    return NOW_SHARE * pickups_now + (1 - NOW_SHARE) * pickups_on_arrival
