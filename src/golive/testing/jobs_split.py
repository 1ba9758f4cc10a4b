"""
The specification of a store's split of claims between two versions, and of its tally of runs; executable.

A second suite beside :class:`golive.testing.jobs.JobStoreContract`, with the same fixture and ``advance``.
"""

from __future__ import annotations

import asyncio

from golive.jobs.machine import Event
from golive.jobs.model import Claim, Demand, Failure, Settlement
from golive.jobs.ports import JobStore
from golive.jobs.split import Split, bucket
from golive.jobs.tally import BOUNDS_SECONDS, RunEnd, duration_bucket
from golive.testing.jobs import LEASE, new_job, settlement, submit_all

DEMANDS = [Demand("default", "report", 500)]


async def claimed(store: JobStore, version: str | None, limit: int = 500) -> list[Claim]:
    """What a worker of *version* gets."""
    return await store.claim(DEMANDS, limit, f"worker-{version}", LEASE, version)


class SplitContract:
    """Subclass it beside :class:`JobStoreContract`. *jobs_many* is how many jobs "many" are: fewer on a slow double."""

    jobs_many = 200

    async def advance(self, store: JobStore, seconds: float) -> None:
        """As in :class:`JobStoreContract`."""
        raise AssertionError("a contract subclass says how time passes in its store")

    async def test_without_a_split_every_version_claims_everything(self, store: JobStore) -> None:
        """No rule to begin with; none again after it was ended, twice."""
        assert await store.split() is None
        await store.submit([new_job() for _ in range(3)])
        assert len(await claimed(store, "v2", 1)) == 1
        await store.set_split(Split("v2", 0, "s"))
        for _ in range(2):
            await store.set_split(None)
        assert await store.split() is None
        assert len(await claimed(store, "v2", 1)) == len(await claimed(store, None, 1)) == 1

    async def test_each_job_belongs_to_exactly_one_side(self, store: JobStore) -> None:
        """By the bucket of its id, the same in every store; whoever has no version is not the candidate."""
        ids = [job.job.id for job in await submit_all(store, [new_job() for _ in range(self.jobs_many)])]
        split = Split("v2", 2_500, "salt: ü")
        await store.set_split(split)
        assert await store.split() == split
        stable, canary, unversioned = [await claimed(store, version) for version in ("v1", "v2", None)]
        theirs = {id_ for id_ in ids if bucket(id_, split.salt) < 2_500}
        assert {each.id for each in canary} == theirs
        assert {each.id for each in stable} == set(ids) - theirs
        assert unversioned == []
        assert self.jobs_many // 15 <= len(theirs) <= self.jobs_many // 2

    async def test_the_ends_of_the_share_are_nothing_and_everything(self, store: JobStore) -> None:
        """At 0 the candidate gets none, at 10,000 the others get none; the change holds from the next claim on."""
        await store.submit([new_job() for _ in range(40)])
        await store.set_split(Split("v2", 0, "s"))
        assert await claimed(store, "v2") == []
        assert len(await claimed(store, "v1", 10)) == 10
        await store.set_split(Split("v2", 10_000, "s"))
        assert await claimed(store, "v1") == await claimed(store, None) == []
        assert len(await claimed(store, "v2")) == 30

    async def test_a_rule_that_names_its_stable_version_shuts_out_every_other(self, store: JobStore) -> None:
        """A third version and whoever has none get nothing; with stable as candidate, one version gets everything."""
        await store.submit([new_job() for _ in range(60)])
        await store.set_split(Split("v2", 5_000, "s", "v1"))
        assert await store.split() == Split("v2", 5_000, "s", "v1")
        assert await claimed(store, "v3") == await claimed(store, None) == []
        assert len(await claimed(store, "v1", 5)) == len(await claimed(store, "v2", 5)) == 5
        await store.set_split(Split("v1", 10_000, "s", "v1"))
        assert await claimed(store, "v2") == await claimed(store, None) == []
        assert len(await claimed(store, "v1")) == 50

    async def test_a_share_that_grows_keeps_the_jobs_it_had(self, store: JobStore) -> None:
        """What was the candidate's at 20 % is the candidate's at 50 %; a retry goes where the first attempt was."""
        await submit_all(store, [new_job() for _ in range(self.jobs_many)])
        await store.set_split(Split("v2", 2_000, "s"))
        early = await claimed(store, "v2")
        await store.settle([settlement(each, Event.HAND_BACK) for each in early])
        await store.set_split(Split("v2", 5_000, "s"))
        late = await claimed(store, "v2")
        assert {each.id for each in early} < {each.id for each in late}

    async def test_demand_and_order_hold_within_a_share(self, store: JobStore) -> None:
        """The limit counts what may be claimed, not what was looked at; priority first."""
        jobs = [
            each.job
            for each in await submit_all(store, [new_job(priority=number % 3) for number in range(self.jobs_many)])
        ]
        await store.set_split(Split("v2", 3_000, "s"))
        mine = [job for job in jobs if bucket(job.id, "s") < 3_000]
        first = await claimed(store, "v2", 5)
        expected = sorted(mine, key=lambda job: (job.priority, job.run_at, job.id))[:5]
        assert [each.id for each in first] == [job.id for job in expected]

    async def test_concurrent_claims_of_both_versions_share_without_overlap(self, store: JobStore) -> None:
        """Two workers of each version, while the rule changes under them: every job once."""
        await submit_all(store, [new_job() for _ in range(self.jobs_many)])
        seen: list[str] = []

        async def work(version: str, worker: int) -> None:
            for _ in range(self.jobs_many // 5):
                claims = await store.claim(DEMANDS, 10, f"{version}-{worker}", LEASE, version)
                seen.extend(each.id for each in claims)

        async def steer() -> None:
            for share in (500, 5_000, 9_000, 2_000):
                await store.set_split(Split("v2", share, "s"))
            await store.set_split(None)

        await asyncio.gather(steer(), *(work(version, worker) for version in ("v1", "v2") for worker in (1, 2)))
        assert len(seen) == len(set(seen)) == self.jobs_many

    async def test_runs_are_counted_by_version_and_end(self, store: JobStore) -> None:
        """Accepted ones once, refused ones and hand-backs never; the payload's fault apart from the version's."""
        assert await store.runs() == []
        await store.submit([new_job() for _ in range(9)])
        await store.submit([new_job()])
        ours, late = await claimed(store, "v2", 9), await claimed(store, None)
        ends: list[tuple[Event, Failure | None]] = [
            (Event.SUCCEED, None), (Event.SUCCEED, None), (Event.FAIL, Failure("bad", "bad")),
            (Event.FAIL, Failure("unknown", "unknown", 404)), (Event.FAIL, Failure("payload_invalid", "shape", 400)),
            (Event.RETRY, Failure("busy", "busy", 503, True)), (Event.HAND_BACK, None), (Event.CANCEL, None),
            (Event.SUCCEED, None),
        ]  # fmt: skip
        settlements = [
            settlement(each, event, failure=failure, run_seconds=0.25)
            for each, (event, failure) in zip(ours, ends, strict=True)
        ]
        assert await store.settle(settlements) == [True] * 9
        assert await store.settle(settlements[:3]) == [False] * 3
        await store.settle([settlement(late[0])])
        counts = {(each.version, each.kind, each.end): each.runs for each in await store.runs()}
        assert counts == {
            ("", "report", RunEnd.SUCCEEDED): 1, ("v2", "report", RunEnd.SUCCEEDED): 3,
            ("v2", "report", RunEnd.FAILED): 2, ("v2", "report", RunEnd.REJECTED): 1,
            ("v2", "report", RunEnd.RETRIED): 1, ("v2", "report", RunEnd.CANCELLED): 1,
        }  # fmt: skip

    async def test_durations_are_summed_and_sorted_into_a_histogram(self, store: JobStore) -> None:
        """A bound belongs to the bucket above it; what is longer than all of them is in the last; batches add up."""
        lengths = [0.0, 0.0005, 0.001, 0.0015, 0.002, 5.0, BOUNDS_SECONDS[-1], 1e6]
        for batch in (lengths[:3], lengths[3:]):
            await store.submit([new_job() for _ in batch])
            claims = await claimed(store, "v1")
            pairs = zip(claims, batch, strict=True)
            await store.settle([settlement(each, run_seconds=seconds) for each, seconds in pairs])
        (tally,) = await store.runs()
        expected = [0] * (len(BOUNDS_SECONDS) + 1)
        for seconds in lengths:
            expected[duration_bucket(seconds)] += 1
        assert (expected[0], expected[1], expected[-1]) == (2, 2, 2)
        assert (list(tally.histogram), tally.runs) == (expected, len(lengths))
        assert abs(tally.seconds - sum(lengths)) < 1e-6

    async def test_a_worker_that_dies_counts_against_its_version(self, store: JobStore) -> None:
        """Its run is lost, as long as its lease was at least; what the zombie says is not counted."""
        await store.submit([new_job(attempts_max=1), new_job()])
        zombies = await claimed(store, "v2")
        await self.advance(store, LEASE + 1)
        await store.rescue(10)
        refused = [Settlement(each.id, each.worker, each.fence, Event.SUCCEED, b"1") for each in zombies]
        assert await store.settle(refused) == [False, False]
        (tally,) = await store.runs()
        assert (tally.version, tally.end, tally.runs) == ("v2", RunEnd.LOST, 2)
