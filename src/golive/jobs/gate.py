"""
What keeps a worker from claiming although it has room: limits over all workers, and breakers that are open.

The limits themselves are the store's affair, inside the claim. A worker only has to come back at the right moment: a
claim under a rate is tried again when the next token is due, for as long as the last one was not long ago.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from golive.jobs.limits import Limits
from golive.jobs.model import Claim, Demand, Failure
from golive.jobs.queues import Breaker

#: After a claim under a rate that got something, the next tokens are waited for this long.
EAGER_SECONDS = 2.0
#: The shortest pause between two looks at a bucket.
PAUSE_SECONDS_MIN = 0.01
#: A payload that cannot be read is looked at again after half of the job's age, within these.
UNREADABLE_SECONDS_MIN, UNREADABLE_SECONDS_MAX = 5.0, 300.0


class Gate:
    """*limits* and *breakers* by the name of the handler. False, if it never keeps anything back."""

    def __init__(self, limits: Mapping[str, Limits | None], breakers: Mapping[str, Breaker]) -> None:
        self._limits = {name: each for name, each in limits.items() if each is not None}
        self._breakers = breakers
        self._eager_until = 0.0
        self._interval = 0.0

    def __bool__(self) -> bool:
        return bool(self._limits or self._breakers)

    def admitted(self, demands: Sequence[Demand], free: int) -> list[Demand]:
        """
        *demands* with their limits, and without those whose breaker is open. What is limited is not claimed ahead: at
        most *free*, the number of free slots.
        """
        admitted = list[Demand]()
        for demand in demands:
            breaker = self._breakers.get(demand.kind)
            if breaker is not None and breaker.state == "open":
                continue
            limits = self._limits.get(demand.kind)
            if limits is None and breaker is None:
                admitted.append(demand)
            elif free > 0:
                admitted.append(replace(demand, limits=limits, limit=min(demand.limit, free)))
        return admitted

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Note what a claim got."""
        rates = [
            limits.bucket.per_second
            for claim in claims
            if (limits := self._limits.get(claim.kind)) and limits.bucket
        ]  # fmt: skip
        if rates:
            self._interval, self._eager_until = 1 / max(rates), time.monotonic() + EAGER_SECONDS

    def pause_seconds(self, longest: float) -> float:
        """How long a worker that found nothing may sleep, at most *longest*."""
        if self._eager_until < time.monotonic():
            return longest
        return max(min(longest, self._interval), PAUSE_SECONDS_MIN)


def waiting_seconds(failure: Failure, claim: Claim, hold_seconds: float) -> float | None:
    """
    How long the job waits without anything being held against it; None if the failure is its own.

    A payload this version cannot read is left to one that can, for *hold_seconds* from its submission on.
    """
    if failure.wait_seconds is None or failure.wait_seconds > 0:
        return failure.wait_seconds
    age = time.time() - claim.created_at
    return None if age >= hold_seconds else min(max(age / 2, UNREADABLE_SECONDS_MIN), UNREADABLE_SECONDS_MAX)
