"""
The specification of what a store does for operators, schedules, webhooks and pruning; executable.

Beside :class:`golive.testing.jobs.JobStoreContract`, with the same fixture and ``advance``.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from golive.errors import UsageError
from golive.jobs.limits import Limits
from golive.jobs.machine import Event, State
from golive.jobs.model import Demand, Failure, JobId, Schedule, WorkerBeat, new_job_id
from golive.jobs.ports import JobStore, StoreCapability
from golive.jobs.split import Split
from golive.testing.jobs import LEASE, claim, new_job, settlement

DAY = 86_400.0


def beat(name: str, **said: Any) -> WorkerBeat:
    """What a worker might say."""
    usual: dict[str, Any] = {
        "host": "h", "pid": 1, "version": "v1", "started_at": 1000.0, "queues": ["default"], "slots": 4, "running": 0,
        "draining": False, "runs": 7, "waits": [0] * 23, "waited_seconds": 0.5,
    }  # fmt: skip
    return WorkerBeat(name=name, **{**usual, **said})


async def pruned(store: JobStore, keep_seconds: dict[State, float], limit: int = 100) -> set[JobId]:
    """What one whole pass removes, in steps of *limit*."""
    gone, after = set[JobId](), None
    while True:
        step = await store.prune(keep_seconds, after, limit)
        gone |= set(step.jobs)
        if (after := step.after) is None:
            return gone


class UpkeepContract:
    """Subclass it beside :class:`JobStoreContract`."""

    async def advance(self, store: JobStore, seconds: float) -> None:
        """As in :class:`JobStoreContract`."""
        raise AssertionError("a contract subclass says how time passes in its store")

    async def age(self, store: JobStore, seconds: float) -> None:
        """Make finished jobs look *seconds* older, their ids included; ``advance`` does where the clock can be set."""
        await self.advance(store, seconds)

    async def test_a_schedule_fires_once_however_many_workers_try(self, store: JobStore) -> None:
        """Of five at the same time one is told so, and only its job exists; the next occurrence is another turn."""
        assert await store.schedules() == []
        for at in (1000.0, 1060.5):
            news = [new_job(kind="nightly") for _ in range(5)]
            fired = await asyncio.gather(
                *(store.fire(Schedule("nightly", "nightly", "0 3 * * *", at, at + 60), [new]) for new in news)
            )
            assert sorted(fired) == [False] * 4 + [True]
            there = [new for new in news if await store.get(new.id)]
            assert [new.id for new in there] == [news[fired.index(True)].id]
        assert await store.schedules() == [Schedule("nightly", "nightly", "0 3 * * *", 1060.5, 1120.5)]

    async def test_a_schedule_never_goes_back(self, store: JobStore) -> None:
        """Neither to an earlier moment nor to the same one; another schedule has a moment of its own."""
        assert await store.fire(Schedule("b", "k", "s", 100.0), [])
        for at in (99.0, 100.0):
            assert not await store.fire(Schedule("b", "k", "s", at), [new_job(kind="k")])
        assert await store.fire(Schedule("a", "k", "s", 1.0), [new_job(kind="k")])
        assert [each.name for each in await store.schedules()] == ["a", "b"]
        assert len(await claim(store, kind="k")) == 1

    async def test_what_a_worker_says_last_is_kept_with_its_age(self, store: JobStore) -> None:
        """Under its name, until it leaves; nothing of it is in the way of a claim."""
        assert await store.workers() == []
        await store.beat(beat("b", running=1))
        await store.beat(beat("a", running=2, waits=[3] + [0] * 22))
        await store.beat(beat("b", running=0, draining=True))
        first, second = await store.workers()
        assert (first.name, first.running, first.waits[0], first.draining) == ("a", 2, 3, False)
        assert (second.name, second.running, second.draining) == ("b", 0, True)
        assert 0 <= first.age_seconds < 60
        await store.submit([new_job()])
        assert len(await claim(store)) == 1
        await store.leave("a")
        await store.leave("never there")
        assert [each.name for each in await store.workers()] == ["b"]

    async def test_a_claim_knows_how_long_its_job_was_due(self, store: JobStore) -> None:
        """Not for how long it has been there: one that waits for its retry is not late."""
        await store.submit([new_job(), new_job()])
        await self.advance(store, 100.0)
        claims = await claim(store)
        assert all(100.0 <= each.waited_seconds < 200.0 for each in claims)
        failure = Failure("x", "x", retryable=True)
        await store.settle([settlement(each, Event.RETRY, failure=failure) for each in claims])
        again = await claim(store)
        assert len(again) == 2
        assert all(-1.0 < each.waited_seconds < 90.0 for each in again)

    async def test_pruning_removes_what_finished_long_ago(self, store: JobStore) -> None:
        """By state; what waits, runs, finished lately or is kept for ever stays; a key is free again."""
        done, failed, cancelled, running = news = [new_job(idempotency_key=f"k{n}") for n in range(4)]
        await store.submit(news)
        claims = {each.id: each for each in await claim(store)}
        ends = {done.id: Event.SUCCEED, failed.id: Event.FAIL, cancelled.id: Event.CANCEL}
        await store.settle(
            [settlement(claims[id_], event, failure=Failure("bad", "bad")) for id_, event in ends.items()]
        )
        keep = {State.SUCCEEDED: DAY, State.FAILED: 30 * DAY}
        assert await pruned(store, keep) == set()
        await self.age(store, 2 * DAY)
        fresh = new_job()
        await store.submit([fresh])
        assert await pruned(store, {}) == set()
        assert await pruned(store, keep, 2) == {done.id}
        assert await store.get(done.id) is None
        for kept in (failed, cancelled, running, fresh):
            assert await store.get(kept.id) is not None
        assert (await store.submit([new_job(idempotency_key="k0")]))[0].created
        assert not (await store.submit([new_job(idempotency_key="k1")]))[0].created
        await self.age(store, 30 * DAY)
        assert await pruned(store, keep) == {failed.id}

    async def test_a_pass_of_pruning_goes_step_by_step(self, store: JobStore) -> None:
        """Each step looks at so many and says where the next begins; the last one says that it was."""
        news = [new_job() for _ in range(5)]
        await store.submit(news)
        await store.settle([settlement(each) for each in await claim(store)])
        await self.age(store, 2 * DAY)
        first = await store.prune({State.SUCCEEDED: DAY}, None, 3)
        ids = sorted(new.id for new in news)
        assert (sorted(first.jobs), first.after) == (ids[:3], ids[2])
        rest = await store.prune({State.SUCCEEDED: DAY}, first.after, 3)
        assert (sorted(rest.jobs), rest.after) == (ids[3:], None)

    async def test_a_finished_job_with_a_webhook_is_unannounced_until_it_is_said(self, store: JobStore) -> None:
        """However it ended; jobs without one never; the saying is of this end only."""
        hooked = [new_job(webhook=f"https://example.com/{n}") for n in range(4)]
        await store.submit([*hooked, new_job()])
        assert await store.unannounced(9) == []
        claims = {each.id: each for each in await claim(store)}
        await store.settle([settlement(claims[hooked[0].id]), *(settlement(each) for each in claims.values()
                            if each.id not in {new.id for new in hooked})])  # fmt: skip
        await store.settle([settlement(claims[hooked[1].id], Event.HAND_BACK)])
        await store.cancel(hooked[1].id)
        await store.settle([settlement(claims[hooked[2].id], Event.FAIL, failure=Failure("bad", "bad"))])
        waiting = await store.unannounced(9)
        assert sorted(job.id for job in waiting) == sorted(new.id for new in hooked[:3])
        assert {job.webhook for job in waiting} == {new.webhook for new in hooked[:3]}
        assert len(await store.unannounced(2)) == 2
        await store.redrive(hooked[2].id)
        await store.announced(waiting)
        assert await store.unannounced(9) == []
        await self.advance(store, 1)
        await store.cancel(hooked[2].id)
        assert [job.id for job in await store.unannounced(9)] == [hooked[2].id]

    async def test_a_worker_lost_at_the_last_attempt_is_announced(self, store: JobStore) -> None:
        """The rescue ends jobs as well."""
        new = new_job(webhook="https://example.com/", attempts_max=1)
        await store.submit([new])
        await claim(store)
        await self.advance(store, LEASE + 1)
        await store.rescue(9)
        assert [job.id for job in await store.unannounced(9)] == [new.id]

    async def test_what_runs_cost_is_kept_by_job_and_by_version(self, store: JobStore) -> None:
        """However they end, over all attempts; a refused settlement costs nothing; without a cost there is none."""
        if StoreCapability.COSTS not in store.capabilities:
            with pytest.raises(UsageError, match="costs"):
                await store.costs()
            return
        paid, free, retried = news = [new_job(), new_job(), new_job()]
        await store.submit(news)
        claims = {each.id: each for each in await claim(store)}
        ends = [settlement(claims[paid.id], cost=0.25), settlement(claims[free.id]),
                settlement(claims[retried.id], Event.RETRY, failure=Failure("b", "b"), cost=0.5)]  # fmt: skip
        assert await store.settle(ends) == [True, True, True]
        assert await store.settle(ends) == [False, False, False]
        (again,) = await claim(store)
        await store.settle([settlement(again, Event.FAIL, failure=Failure("b", "b"), cost=1.0)])
        assert [(job and job.cost) for job in [await store.get(new.id) for new in news]] == [0.25, None, 1.5]
        assert await store.costs() == {("v1", "report"): 1.75}

    async def test_redriving_may_change_the_payload(self, store: JobStore) -> None:
        """Only where it is put back; the fingerprint of the key stays, so that the first caller still finds it."""
        failed, done = new_job(idempotency_key="k", fingerprint=b"f"), new_job()
        await store.submit([failed, done])
        claims = {each.id: each for each in await claim(store)}
        ends = [settlement(claims[failed.id], Event.FAIL, failure=Failure("b", "b")), settlement(claims[done.id])]
        await store.settle(ends)
        again = await store.redrive(failed.id, b'{"n":"\xc3\xbc"}')
        assert again is not None
        assert (again.payload, again.fingerprint, again.state) == (b'{"n":"\xc3\xbc"}', b"f", State.PENDING)
        left = await store.redrive(done.id, b"0")
        assert left is not None
        assert (left.payload, left.state) == (done.payload, State.SUCCEEDED)
        assert [each.payload for each in await claim(store)] == [b'{"n":"\xc3\xbc"}']

    async def test_a_waiting_job_can_be_made_due_now(self, store: JobStore) -> None:
        """A retry or a start in the future is brought forward; what runs, ended or is unknown is left alone."""
        probe = (await store.submit([new_job(kind="probe")]))[0].job.created_at
        later = new_job(run_at=probe + 5000)
        await store.submit([later])
        assert await claim(store) == []
        hastened = await store.hasten(later.id)
        assert hastened is not None
        assert hastened.run_at < probe + 4000
        (held,) = await claim(store)
        running = await store.hasten(later.id)
        assert (running and running.state) is State.RUNNING
        await store.settle([settlement(held)])
        done = await store.hasten(later.id)
        assert (done and done.state) is State.SUCCEEDED
        assert await store.hasten(new_job_id()) is None

    async def test_listing_can_be_narrowed_to_a_queue_and_a_tenant(self, store: JobStore) -> None:
        """Beside state and kind, with the same pages."""
        news = [new_job(queue=queue, tenant=tenant) for queue in ("default", "slow") for tenant in ("a", "b", "a")]
        await store.submit(news)
        ids = sorted((new.id for new in news if (new.queue, new.tenant) == ("slow", "a")), reverse=True)
        page = partial(store.page, state=State.PENDING, kind="report", queue="slow", tenant="a")
        first = await page(1, before=None)
        rest = await page(9, before=first[0].id)
        assert [job.id for job in [*first, *rest]] == ids

    async def test_a_store_without_limits_says_so(self, store: JobStore) -> None:
        """By name; it does not claim as if there were none."""
        if StoreCapability.LIMITS not in store.capabilities:
            with pytest.raises(UsageError, match="limits"):
                await store.claim([Demand("default", "report", 1, Limits(running_max=1))], 1, "w1", LEASE, None)

    async def test_nothing_is_claimed_from_a_paused_queue(self, store: JobStore) -> None:
        """From the next claim on, what runs may end, other queues go on."""
        news = [new_job() for _ in range(3)]
        await store.submit(news)
        await store.submit([new_job(queue="other")])
        (running,) = await claim(store, 1)
        await store.set_paused("default", "the database moves")
        (pause,) = await store.paused()
        assert (pause.queue, pause.reason) == ("default", "the database moves")
        assert pause.at > 0
        assert await claim(store) == []
        assert await store.claim_jobs([new.id for new in news], "w1", LEASE, "v1") == []
        both = [Demand("default", "report", 5), Demand("other", "report", 5)]
        assert [each.queue for each in await store.claim(both, 5, "w1", LEASE, None)] == ["other"]
        assert await store.settle([settlement(running)]) == [True]
        for _ in range(2):
            await store.set_paused("default", None)
        assert await store.paused() == []
        assert len(await claim(store)) == 2

    async def test_a_pause_and_a_split_are_kept_apart(self, store: JobStore) -> None:
        """Ending one leaves the other."""
        await store.submit([new_job() for _ in range(4)])
        await store.set_split(Split("v2", 0, "s"))
        await store.set_paused("default", "")
        await store.set_split(None)
        assert await claim(store) == []
        await store.set_split(Split("v1", 10_000, "s"))
        await store.set_paused("default", None)
        assert await store.split() == Split("v1", 10_000, "s")
        assert len(await claim(store)) == 4
