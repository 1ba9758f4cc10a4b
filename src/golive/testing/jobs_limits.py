"""
The specification of limits over all workers: per queue, per tenant, fair turns, rates; executable.

For stores with the capability ``LIMITS``, beside :class:`golive.testing.jobs.JobStoreContract`, with the same fixture
and ``advance``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from golive.jobs.limits import Bucket, Limits
from golive.jobs.machine import Event
from golive.jobs.model import Claim, Demand
from golive.jobs.ports import JobStore
from golive.jobs.split import Split, bucket
from golive.testing.jobs import LEASE, new_job, settlement, submit_all


async def claim_within(
    store: JobStore, limits: Limits, limit: int = 100, *, kinds: Sequence[str] = ("report",), worker: str = "w1"
) -> list[Claim]:
    """What *worker* gets of *kinds* in the default queue, under *limits*."""
    return await store.claim([Demand("default", kind, limit, limits) for kind in kinds], limit, worker, LEASE, "v1")


class LimitsContract:
    """Subclass it beside :class:`JobStoreContract`."""

    async def advance(self, store: JobStore, seconds: float) -> None:
        """As in :class:`JobStoreContract`."""
        raise AssertionError("a contract subclass says how time passes in its store")

    async def test_a_queue_runs_no_more_than_its_limit_over_all_workers(self, store: JobStore) -> None:
        """Whoever asks, whatever the kinds; a job that ends makes room for one."""
        await store.submit([new_job(kind=kind) for kind in ("report", "mail") * 5])
        limits, kinds = Limits(running_max=3), ("report", "mail")
        shares = await asyncio.gather(*(claim_within(store, limits, kinds=kinds, worker=f"w{n}") for n in range(4)))
        held = [each for share in shares for each in share]
        assert len(held) == 3
        assert await claim_within(store, limits, kinds=kinds) == []
        await store.settle([settlement(held[0])])
        assert len(await claim_within(store, limits, kinds=kinds)) == 1

    async def test_a_tenant_runs_no_more_than_its_limit(self, store: JobStore) -> None:
        """One with many jobs does not stop the others, even if its jobs are older; one without a name counts as one."""
        await store.submit([new_job(tenant="busy") for _ in range(20)])
        await store.submit([new_job(tenant=tenant) for tenant in ("b", "", "c", "") for _ in range(2)])
        held = await claim_within(store, Limits(tenant_running_max=2))
        assert Counter(each.tenant for each in held) == {"busy": 2, "b": 2, "": 2, "c": 2}
        assert await claim_within(store, Limits(tenant_running_max=2), worker="w2") == [
            *await claim_within(store, Limits(tenant_running_max=2))
        ] == []  # fmt: skip
        await store.settle([settlement(next(each for each in held if each.tenant == "busy"), Event.HAND_BACK)])
        assert [each.tenant for each in await claim_within(store, Limits(tenant_running_max=2))] == ["busy"]

    async def test_a_fair_queue_gives_each_tenant_its_turn(self, store: JobStore) -> None:
        """Who has the fewest running jobs goes first, then priority and age; nobody is kept from an idle queue."""
        await store.submit([new_job(tenant="busy", priority=-5) for _ in range(30)])
        await store.submit([new_job(tenant=tenant) for tenant in ("b", "c") for _ in range(3)])
        first = await claim_within(store, Limits(fair=True), 6)
        assert Counter(each.tenant for each in first) == {"busy": 2, "b": 2, "c": 2}
        await store.settle([settlement(each) for each in first if each.tenant == "b"])
        assert [each.tenant for each in await claim_within(store, Limits(fair=True), 1)] == ["b"]
        assert len(await claim_within(store, Limits(fair=True), 50)) == 29

    async def test_every_one_of_many_tenants_gets_its_turn(self, store: JobStore) -> None:
        """More of them than one claim looks at: the next claim goes on with the others."""
        await submit_all(store, [new_job(tenant=f"t{number % 120:03}") for number in range(240)])
        seen = Counter[str]()
        for _ in range(18):
            seen.update(each.tenant for each in await claim_within(store, Limits(fair=True), 10))
        assert len(seen) == 120

    async def test_within_a_tenant_priority_then_age_decides(self, store: JobStore) -> None:
        """Across kinds, too."""
        news = [new_job(tenant="a", priority=p, kind=kind) for p, kind in ((2, "report"), (1, "mail"), (2, "mail"))]
        for new in news:
            await store.submit([new])
        order = [
            (await claim_within(store, Limits(fair=True), 1, kinds=("report", "mail")))[0].id for _ in range(3)
        ]  # fmt: skip
        assert order == [news[1].id, news[0].id, news[2].id]

    async def test_without_limits_of_its_own_a_demand_beside_limited_ones_is_as_before(self, store: JobStore) -> None:
        """Both in one claim, in order of priority and age."""
        await store.submit([new_job(queue="slow", tenant="a") for _ in range(4)])
        await store.submit([new_job() for _ in range(4)])
        demands = [Demand("slow", "report", 9, Limits(running_max=1)), Demand("default", "report", 3)]
        held = await store.claim(demands, 9, "w1", LEASE, None)
        assert Counter(each.queue for each in held) == {"slow": 1, "default": 3}
        assert held[0].queue == "slow"

    async def test_a_rate_is_shared_by_all_workers_and_kinds(self, store: JobStore) -> None:
        """The burst at once, then by time, never more than the burst; two buckets do not know each other."""
        await store.submit([new_job(kind=kind) for kind in ("report", "mail", "other") for _ in range(20)])
        limits = Limits(bucket=Bucket("stripe", 2.0, 5))
        assert len(await claim_within(store, limits, kinds=("report", "mail"))) == 5
        assert await claim_within(store, limits, kinds=("mail",), worker="w2") == []
        other = Limits(bucket=Bucket("mailer", 2.0, 1))
        assert len(await claim_within(store, other, kinds=("other",))) == 1
        await self.advance(store, 1.01)
        assert len(await claim_within(store, limits, 1, kinds=("report", "mail"))) == 1
        assert 1 <= len(await claim_within(store, limits, kinds=("report", "mail"))) <= 2
        await self.advance(store, 1000)
        assert len(await claim_within(store, limits, kinds=("report", "mail"))) == 5

    async def test_tokens_nobody_used_are_kept(self, store: JobStore) -> None:
        """Looking into an empty queue costs nothing of the rate."""
        limits = Limits(bucket=Bucket("stripe", 0.001, 2))
        for _ in range(3):
            assert await claim_within(store, limits) == []
        await store.submit([new_job() for _ in range(5)])
        assert len(await claim_within(store, limits)) == 2

    async def test_limits_and_a_split_hold_together(self, store: JobStore) -> None:
        """A worker of the stable version gets only its share, within the limits."""
        await store.submit([new_job(tenant=tenant) for tenant in ("a", "b") for _ in range(20)])
        await store.set_split(Split("v2", 5000, "s"))
        held = await claim_within(store, Limits(tenant_running_max=3))
        assert all(bucket(each.id, "s") >= 5000 for each in held)
        assert Counter(each.tenant for each in held) == {"a": 3, "b": 3}
        await store.set_split(None)

    async def test_jobs_that_are_not_due_are_not_claimed_under_limits(self, store: JobStore) -> None:
        """``run_at`` holds here as well."""
        probe = (await store.submit([new_job(kind="probe")]))[0].job.created_at
        await store.submit([new_job(tenant="a", run_at=probe + 60), new_job(run_at=probe + 60)])
        assert await claim_within(store, Limits(fair=True)) == []
        await self.advance(store, 61)
        assert len(await claim_within(store, Limits(fair=True))) == 2

    async def test_limits_do_not_open_a_paused_queue(self, store: JobStore) -> None:
        """A pause holds for every way of claiming."""
        await store.submit([new_job(tenant="a")])
        await store.set_paused("default", "")
        assert await claim_within(store, Limits(fair=True)) == []
        await store.set_paused("default", None)
        assert len(await claim_within(store, Limits(fair=True))) == 1
