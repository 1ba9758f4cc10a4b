"""
The specification of what engines that hand out single jobs need from a store, and of its declared capabilities.

A third suite beside :class:`golive.testing.jobs.JobStoreContract`, with the same fixture and ``advance``; and, for a
store that claims to outlive its process, with ``another``.
"""

from __future__ import annotations

import asyncio

import pytest

from golive.errors import UsageError
from golive.jobs.machine import Event, State
from golive.jobs.model import Claim, Demand, JobId
from golive.jobs.ports import JobStore, StoreCapability
from golive.jobs.split import Split, bucket
from golive.testing.jobs import LEASE, _ignore, claim, new_job, settlement


async def claim_jobs(store: JobStore, *jobs: JobId, worker: str = "w1", version: str | None = "v1") -> list[Claim]:
    """What *worker* gets of *jobs*."""
    return await store.claim_jobs(jobs, worker, LEASE, version)


class NamedJobsContract:
    """Subclass it beside :class:`JobStoreContract`."""

    async def advance(self, store: JobStore, seconds: float) -> None:
        """As in :class:`JobStoreContract`."""
        raise AssertionError("a contract subclass says how time passes in its store")

    async def another(self, store: JobStore) -> JobStore:
        """A second store on the same record, open, as another process would have it. The suite closes it."""
        raise AssertionError("a contract subclass says how another process opens its store")

    async def test_a_named_job_is_claimed_like_any_other(self, store: JobStore) -> None:
        """The job asked for and no other; the claim is fenced, settled and counted like one from a queue."""
        wanted, other = new_job(tenant="acme", priority=9), new_job()
        await store.submit([wanted, other])
        (held,) = await claim_jobs(store, wanted.id)
        assert (held.id, held.tenant, held.payload, held.attempts) == (wanted.id, "acme", wanted.payload, 1)
        job = await store.get(wanted.id)
        assert job
        assert (job.state, job.worker, job.version, job.attempts) == (State.RUNNING, "w1", "v1", 1)
        assert await store.settle([settlement(held, Event.HAND_BACK)]) == [True]
        (again,) = await claim_jobs(store, wanted.id, worker="w2")
        assert again.fence > held.fence
        assert await store.settle([settlement(held), settlement(again)]) == [False, True]
        assert [each.id for each in await claim(store)] == [other.id]

    async def test_only_what_may_run_now_is_claimed(self, store: JobStore) -> None:
        """Unknown, running, finished and future jobs are left out, the rest of the list is not; twice named is once."""
        news = [new_job() for _ in range(4)]
        running, done, free, later = news
        (first, *_) = await store.submit(news[:3])
        await store.submit([new_job(id=later.id, run_at=first.job.created_at + 60)])
        (held, ended) = sorted(
            await claim_jobs(store, running.id, done.id), key=lambda each: [running.id, done.id].index(each.id)
        )
        await store.settle([settlement(ended)])
        asked = [running.id, done.id, new_job().id, free.id, free.id, later.id]
        assert [each.id for each in await claim_jobs(store, *asked)] == [free.id]
        await self.advance(store, 61)
        await store.extend([held], LEASE)
        assert [each.id for each in await claim_jobs(store, *asked)] == [later.id]
        assert await claim_jobs(store) == []

    async def test_a_named_job_is_given_to_one_worker(self, store: JobStore) -> None:
        """A doorbell that rings twice, or beside workers that claim from the queue, makes nobody run it twice."""
        news = [new_job() for _ in range(12)]
        await store.submit(news)
        ids = [new.id for new in news]
        shares = await asyncio.gather(
            *(claim_jobs(store, *ids, worker=f"named-{n}") for n in range(3)), claim(store, 12, worker="queue")
        )
        claimed = [each.id for share in shares for each in share]
        assert sorted(claimed) == sorted(ids)

    async def test_a_named_job_keeps_to_the_split(self, store: JobStore) -> None:
        """Each version gets its own jobs only, by the same rule as from the queue."""
        news = [new_job() for _ in range(60)]
        ids = [each.job.id for each in await store.submit(news)]
        await store.set_split(Split("v2", 3_000, "s"))
        theirs = {id_ for id_ in ids if bucket(id_, "s") < 3_000}
        assert {each.id for each in await claim_jobs(store, *ids, version="v1")} == set(ids) - theirs
        assert {each.id for each in await claim_jobs(store, *ids, version="v2")} == theirs

    async def test_what_has_been_due_for_long_is_known(self, store: JobStore) -> None:
        """Per demand the most urgent first, up to its limit; not what is fresh, future, running or of another kind."""
        news = [new_job(priority=2), new_job(priority=1), new_job(priority=2), new_job(kind="mail", tenant="acme")]
        for new in news:
            await store.submit([new])
        demands = [Demand("default", "report", 2), Demand("default", "mail", 9), Demand("slow", "report", 9)]
        assert await store.overdue(demands, 30.0) == []
        await self.advance(store, 31)
        await store.submit([new_job(priority=0)])
        late = await store.overdue(demands, 30.0)
        assert [each.id for each in late] == [news[1].id, news[0].id, news[3].id]
        job = await store.get(news[3].id)
        assert job
        assert (late[2].kind, late[2].queue, late[2].tenant) == ("mail", "default", "acme")
        assert abs(late[2].run_at - job.run_at) < 0.001
        await claim_jobs(store, news[1].id)
        assert [each.id for each in await store.overdue(demands[:1], 30.0)] == [news[0].id, news[2].id]
        assert await store.overdue([], 0.0) == []

    async def test_what_it_cannot_do_it_refuses_by_name(self, store: JobStore) -> None:
        """Nothing is stored then. What it can do is tested where it is done."""
        new = new_job()
        if StoreCapability.SUBMIT_WITHIN not in store.capabilities:
            with pytest.raises(UsageError, match="submit within"):
                await store.submit_within(object(), [new])
            assert await store.get(new.id) is None
        batch = [new_job() for _ in range(101)]
        if StoreCapability.SUBMIT_LARGE in store.capabilities:
            assert all(each.created for each in await store.submit(batch))
        else:
            with pytest.raises(UsageError, match="at most"):
                await store.submit(batch)
            assert await store.depth() == {}

    async def test_another_process_sees_and_is_woken_if_the_store_says_so(self, store: JobStore) -> None:
        """A second store on the same record has the job; its idle workers are woken by the submission."""
        if StoreCapability.DURABLE not in store.capabilities:
            assert StoreCapability.WAKES_OTHERS not in store.capabilities
            return
        other, new = await self.another(store), new_job()
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        unsubscribe = other.subscribe(lambda: _ignore(loop.call_soon_threadsafe(woken.set)))
        try:
            if StoreCapability.WAKES_OTHERS in store.capabilities:
                await _submit_until(store, woken)
            await store.submit([new])
            job = await other.get(new.id)
            assert job
            assert job == await store.get(new.id)
        finally:
            unsubscribe()
            await other.close()


async def _submit_until(store: JobStore, woken: asyncio.Event) -> None:
    """A ring may be missed while the listener is still connecting; one of many is heard."""
    for _ in range(200):
        await store.submit([new_job(kind="ring")])
        try:
            await asyncio.wait_for(woken.wait(), 0.1)
        except TimeoutError:
            continue
        return
    raise AssertionError("a submission wakes the other process")
