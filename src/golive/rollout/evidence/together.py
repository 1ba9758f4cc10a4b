"""Several sources as one: requests from the gateway, jobs from the store, levels from the processes."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from golive.rollout.ports import ArmSample, Evidence, Sample


class EvidenceTogether(Evidence):
    """
    Reads *first* and *others* at the same time. The first one says which versions there are, counts their requests and
    has the epoch; the others add jobs and levels. When one of them does not answer there is no sample: half a truth is
    not judged.
    """

    def __init__(self, first: Evidence, *others: Evidence) -> None:
        self.first, self.others = first, others
        self.bounds = first.bounds

    async def sample(self) -> Sample:
        """See :class:`~golive.rollout.ports.Evidence`."""
        first, *others = await asyncio.gather(*(source.sample() for source in (self.first, *self.others)))
        arms = first.arms
        for other in others:
            arms = {version: _joined(arm, other.arms.get(version)) for version, arm in arms.items()}
        return replace(first, arms=arms)


def _joined(arm: ArmSample, other: ArmSample | None) -> ArmSample:
    if other is None:
        return arm
    jobs = arm.jobs if other.jobs is None else other.jobs
    return replace(arm, jobs=jobs, levels={**arm.levels, **other.levels})
