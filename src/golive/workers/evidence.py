"""
Evidence from the job store: what became of the runs of each version's workers, by queue.

The store counts every accepted run in the transaction that accepts it, so the counts are exact, are the same on every
machine, and outlive workers and controllers. They tell a version by the ``GOLIVE_VERSION`` of its workers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from golive.errors import StateError, UnavailableError
from golive.jobs.ports import JobStore, StoreCapability
from golive.jobs.tally import BOUNDS_SECONDS, RunTally
from golive.rollout.ports import ArmSample, Evidence, JobCounts, Sample

EPOCH = "jobs"
"""The store's counters only grow; what goes down all the same is noticed by the judge."""
_NOTHING = [0] * (len(BOUNDS_SECONDS) + 1)


class JobEvidence(Evidence):
    """Counts the runs of the jobs in *store*. Versions nobody ran and no rule names have no entry."""

    bounds = BOUNDS_SECONDS

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self._queues: dict[str, str] = {}  # kind -> queue: a handler has one

    async def sample(self) -> Sample:
        """See :class:`~golive.rollout.ports.Evidence`. There are no requests in it."""
        try:
            await self.store.open()
            tallies, rule = await self.store.runs(), await self.store.split()
            costs = await self.store.costs() if StoreCapability.COSTS in self.store.capabilities else {}
        except StateError as error:
            raise UnavailableError(str(error)) from error
        at = datetime.now(UTC)
        by_version: dict[str, list[RunTally]] = defaultdict(list)
        for tally in tallies:
            by_version[tally.version].append(tally)
        named = {rule.candidate, rule.stable} if rule is not None else set()
        arms = {
            version: await self._arm(by_version[version], costs) for version in sorted(({*by_version} | named) - {""})
        }
        return Sample(at, EPOCH, arms)

    async def _arm(self, tallies: list[RunTally], costs: Mapping[tuple[str, str], float]) -> ArmSample:
        jobs: dict[str, dict[str, Any]] = {}
        for tally in tallies:
            counts = jobs.setdefault(await self._queue_of(tally.kind), {"ends": {}, "histogram": list(_NOTHING)})
            counts["ends"][str(tally.end)] = counts["ends"].get(str(tally.end), 0) + tally.runs
            counts["histogram"] = [held + new for held, new in zip(counts["histogram"], tally.histogram, strict=True)]
        spent: dict[str, float] = defaultdict(float)
        for version, kind in {(tally.version, tally.kind) for tally in tallies}:
            spent[await self._queue_of(kind)] += costs.get((version, kind), 0.0)
        counted = {  # no run of any version said what it cost: then nobody counted
            queue: JobCounts(counts["ends"], counts["histogram"], spent[queue] if costs else None)
            for queue, counts in jobs.items()
        }
        return ArmSample({}, {}, list(_NOTHING), jobs=counted)

    async def _queue_of(self, kind: str) -> str:
        """The queue of the newest job of *kind*; its own name while there is none, because it was pruned."""
        if kind not in self._queues:
            newest = await self.store.page(1, state=None, kind=kind, before=None)
            if not newest:
                return kind
            self._queues[kind] = newest[0].queue
        return self._queues[kind]
