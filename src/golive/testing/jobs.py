"""
The specification of a job store, executable.

    class TestMyStore(JobStoreContract):
        @pytest.fixture
        async def store(self): ...            # open, empty
        async def advance(self, store, seconds): ...   # make the store's clock say it is later

A behaviour this suite does not check is not promised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from golive.jobs.machine import Event, State
from golive.jobs.model import Claim, Demand, Failure, Job, NewJob, Progress, Settlement, Submission, new_job_id
from golive.jobs.ports import JobStore

LEASE = 15.0


def new_job(**fields: object) -> NewJob:
    """A job of the kind ``"report"`` with a small payload; *fields* replace the defaults."""
    return msgspec.structs.replace(NewJob(new_job_id(), "report", b'{"n":1}'), **fields)


async def claim(store: JobStore, limit: int = 10, *, worker: str = "w1", kind: str = "report") -> list[Claim]:
    """What *worker* gets from the default queue."""
    return await store.claim([Demand("default", kind, limit)], limit, worker, LEASE, "v1")


def settlement(of: Claim, event: Event = Event.SUCCEED, **fields: object) -> Settlement:
    """*of* ending with *event*; a success has the result ``1``."""
    result = b"1" if event is Event.SUCCEED else None
    return msgspec.structs.replace(Settlement(of.id, of.worker, of.fence, event, result), **fields)


async def submit_all(store: JobStore, news: Sequence[NewJob]) -> list[Submission]:
    """Any number of jobs, in submissions every store takes."""
    return [each for at in range(0, len(news), 100) for each in await store.submit(news[at : at + 100])]


class JobStoreContract:
    """Subclass it, give it a ``store`` fixture and ``advance``."""

    async def advance(self, store: JobStore, seconds: float) -> None:
        """Make *seconds* pass on the clock the store compares leases by."""
        raise AssertionError("a contract subclass says how time passes in its store")

    async def _job(self, store: JobStore, new: NewJob) -> Job:
        job = await store.get(new.id)
        assert job is not None
        return job

    async def test_a_submitted_job_is_pending_and_can_be_read(self, store: JobStore) -> None:
        """Every field comes back as it was given, the payload byte for byte."""
        new = new_job(payload='{"word":"a\\u0000b ü"}'.encode(), tenant="acme", priority=3, attempts_max=5)
        (submission,) = await store.submit([new])
        assert submission.created
        assert submission.job == await self._job(store, new)
        job = submission.job
        assert (job.state, job.attempts, job.result, job.failure) == (State.PENDING, 0, None, None)
        assert (job.payload, job.tenant, job.priority, job.attempts_max) == (new.payload, "acme", 3, 5)

    async def test_an_unknown_job_is_none(self, store: JobStore) -> None:
        """Asking is not an error."""
        assert await store.get(new_job_id()) is None

    async def test_a_key_makes_one_job_per_tenant_and_kind(self, store: JobStore) -> None:
        """The second submission yields the first job; another tenant or kind is another key."""
        first, twin = new_job(idempotency_key="k"), new_job(idempotency_key="k", payload=b"2")
        (made,), (again,) = await store.submit([first]), await store.submit([twin])
        assert (made.created, again.created) == (True, False)
        assert again.job.id == first.id
        assert await store.get(twin.id) is None
        others = [new_job(idempotency_key="k", tenant="acme"), new_job(idempotency_key="k", kind="other"), new_job()]
        assert [each.created for each in await store.submit(others)] == [True, True, True]

    async def test_twins_in_one_batch_and_at_the_same_time_make_one_job(self, store: JobStore) -> None:
        """Five parallel submissions with one key, in whatever groups they commit."""
        batch = await store.submit([new_job(idempotency_key="k"), new_job(idempotency_key="k")])
        parallel = await asyncio.gather(*(store.submit([new_job(idempotency_key="k")]) for _ in range(5)))
        assert {each.job.id for each in [*batch, *(one for (one,) in parallel)]} == {batch[0].job.id}
        assert [each.created for each in batch] == [True, False]

    async def test_a_repeated_id_is_the_same_job(self, store: JobStore) -> None:
        """A caller whose answer was lost asks again with the same id."""
        new = new_job()
        assert (await store.submit([new]))[0].created
        assert not (await store.submit([new]))[0].created

    async def test_a_claim_carries_the_job_and_a_lease(self, store: JobStore) -> None:
        """The first attempt, by this worker, of this version."""
        new = new_job(tenant="acme")
        await store.submit([new])
        (claimed,) = await claim(store)
        assert (claimed.id, claimed.payload, claimed.tenant, claimed.attempts) == (new.id, new.payload, "acme", 1)
        job = await self._job(store, new)
        assert (job.state, job.attempts, job.worker, job.version) == (State.RUNNING, 1, "w1", "v1")
        assert job.started_at is not None

    async def test_a_claimed_job_is_given_to_nobody_else(self, store: JobStore) -> None:
        """Concurrent claims share the jobs without an overlap."""
        await store.submit([new_job() for _ in range(20)])
        shares = await asyncio.gather(*(claim(store, 7, worker=f"w{n}") for n in range(4)))
        ids = [each.id for share in shares for each in share]
        assert len(ids) == len(set(ids)) == 20

    async def test_claims_keep_to_the_demand(self, store: JobStore) -> None:
        """Other kinds and queues stay; no kind exceeds its own limit; the whole not the total."""
        await store.submit([new_job(kind=kind) for kind in ("report", "mail") for _ in range(5)])
        await store.submit([new_job(queue="slow"), new_job(kind="unknown")])
        demands = [Demand("default", "report", 2), Demand("default", "mail", 9)]
        first = await store.claim(demands, 4, "w1", LEASE, None)
        assert len(first) == 4
        rest = await store.claim(demands, 20, "w1", LEASE, None)
        assert sum(each.kind == "report" for each in first) <= 2
        assert sum(each.kind == "report" for each in rest) <= 2
        assert {(each.queue, each.kind) for each in [*first, *rest]} == {("default", "report"), ("default", "mail")}
        assert await store.claim([], 5, "w1", LEASE, None) == []

    async def test_priority_then_age_decides(self, store: JobStore) -> None:
        """Lowest priority number first, across kinds; within one, the oldest."""
        news = [new_job(priority=2), new_job(priority=1, kind="mail"), new_job(priority=2), new_job(priority=0)]
        for new in news:
            await store.submit([new])
        demands = [Demand("default", "report", 9), Demand("default", "mail", 9)]
        order = [each.id for each in await store.claim(demands, 9, "w1", LEASE, None)]
        assert order == [news[3].id, news[1].id, news[0].id, news[2].id]

    async def test_a_job_is_not_due_before_its_time(self, store: JobStore) -> None:
        """``run_at`` in the future hides it until then."""
        probe = (await store.submit([new_job(kind="probe")]))[0].job.created_at
        await store.submit([new_job(run_at=probe + 60)])
        assert await claim(store) == []
        await self.advance(store, 61)
        assert len(await claim(store)) == 1

    async def test_success_is_terminal_and_keeps_the_result(self, store: JobStore) -> None:
        """The result is readable, the job is claimed by nobody, a second result is refused."""
        new = new_job()
        await store.submit([new])
        (claimed,) = await claim(store)
        assert await store.settle([settlement(claimed, result=b'{"rank":[1,2]}')]) == [True]
        job = await self._job(store, new)
        assert (job.state, job.result, job.failure) == (State.SUCCEEDED, b'{"rank":[1,2]}', None)
        assert job.finished_at is not None
        assert await claim(store) == []
        assert await store.settle([settlement(claimed)]) == [False]
        assert await store.extend([claimed], LEASE) == [claimed]

    async def test_failure_is_terminal_and_says_why(self, store: JobStore) -> None:
        """Code, message and status come back; the job is counted as failed."""
        new, failure = new_job(), Failure("venue_unknown", "no such venue", 404, exception="KeyError: 1")
        await store.submit([new])
        (claimed,) = await claim(store)
        assert await store.settle([settlement(claimed, Event.FAIL, failure=failure)]) == [True]
        job = await self._job(store, new)
        assert (job.state, job.failure, job.attempts) == (State.FAILED, failure, 1)
        assert await store.depth() == {("default", State.FAILED): 1}

    async def test_a_retry_waits_and_counts(self, store: JobStore) -> None:
        """Pending again after its delay; the next claim is the second attempt under a new fence."""
        new, failure = new_job(), Failure("busy", "try later", 503, retryable=True)
        await store.submit([new])
        (first,) = await claim(store)
        await store.settle([settlement(first, Event.RETRY, failure=failure, delay_seconds=30.0)])
        job = await self._job(store, new)
        assert (job.state, job.failure, job.finished_at) == (State.PENDING, failure, None)
        assert await claim(store) == []
        await self.advance(store, 31)
        (second,) = await claim(store)
        assert second.attempts == 2
        assert second.fence > first.fence

    async def test_handing_back_is_at_once_and_not_counted(self, store: JobStore) -> None:
        """A drain costs the job nothing; the old claim is void."""
        await store.submit([new_job()])
        (first,) = await claim(store)
        assert await store.settle([settlement(first, Event.HAND_BACK)]) == [True]
        (second,) = await claim(store, worker="w2")
        assert second.attempts == 1
        assert second.fence > first.fence
        assert await store.settle([settlement(first)]) == [False]
        assert await store.settle([settlement(second)]) == [True]

    async def test_a_held_lease_is_not_rescued(self, store: JobStore) -> None:
        """Heartbeats keep the job where it is, for ever."""
        await store.submit([new_job()])
        held = await claim(store)
        for _ in range(4):
            await self.advance(store, LEASE * 0.8)
            assert await store.extend(held, LEASE) == []
            assert await store.rescue(10) == []

    async def test_an_expired_lease_is_rescued_once_and_its_zombie_refused(self, store: JobStore) -> None:
        """Another worker runs the job; what the first one says then changes nothing, not even under its own name."""
        new = new_job()
        await store.submit([new])
        (zombie,) = await claim(store)
        await self.advance(store, LEASE + 1)
        (rescued,) = await store.rescue(10)
        assert (rescued.id, rescued.state, rescued.worker) == (new.id, State.PENDING, "w1")
        assert await store.rescue(10) == []
        assert await store.settle([settlement(zombie)]) == [False]
        (again,) = await claim(store, worker="w1")
        assert await store.settle([settlement(zombie, result=b'"zombie"')]) == [False]
        assert await store.extend([zombie, again], LEASE) == [zombie]
        assert await store.settle([settlement(again, result=b'"alive"')]) == [True]
        assert (await self._job(store, new)).result == b'"alive"'

    async def test_a_job_that_kills_its_workers_ends(self, store: JobStore) -> None:
        """At its last attempt a lost lease is a failure with the code ``worker_lost``."""
        new = new_job(attempts_max=2)
        await store.submit([new])
        for expected in (State.PENDING, State.FAILED):
            assert len(await claim(store)) == 1
            await self.advance(store, LEASE + 1)
            assert [each.state for each in await store.rescue(10)] == [expected]
        job = await self._job(store, new)
        assert (job.state, job.failure and job.failure.code) == (State.FAILED, "worker_lost")
        assert job.finished_at is not None

    async def test_rescue_keeps_to_its_limit(self, store: JobStore) -> None:
        """A sweep after a disaster is done in bites."""
        await store.submit([new_job() for _ in range(5)])
        await claim(store)
        await self.advance(store, LEASE + 1)
        assert [len(await store.rescue(2)) for _ in range(4)] == [2, 2, 1, 0]

    async def test_a_batch_settles_each_for_itself(self, store: JobStore) -> None:
        """One refused settlement does not take the others with it."""
        await store.submit([new_job() for _ in range(3)])
        one, two, three = await claim(store)
        await store.settle([settlement(two)])
        assert await store.settle([settlement(one), settlement(two), settlement(three, Event.CANCEL)]) == [
            True, False, True,
        ]  # fmt: skip

    async def test_one_batch_may_end_its_claims_in_every_way_and_one_of_them_twice(self, store: JobStore) -> None:
        """Each place of the answer belongs to its settlement, whoever else is in the batch; a claim ends once."""
        await store.submit([new_job(attempts_max=3) for _ in range(5)])
        done, failed, back, doubled, zombie = await claim(store, limit=5)
        await store.settle([settlement(zombie, Event.HAND_BACK)])
        (successor,) = await claim(store, worker="w2")
        batch = [
            settlement(zombie, result=b'"late"'), settlement(failed, Event.FAIL, failure=Failure("broken", "it broke")),
            settlement(doubled, result=b"1"), settlement(done, result=b'"done"'), settlement(doubled, result=b"2"),
            settlement(back, Event.HAND_BACK), settlement(successor, result=b'"by w2"'),
        ]  # fmt: skip
        answers = await store.settle(batch)
        assert [answers[index] for index in (0, 1, 3, 5, 6)] == [False, True, True, True, True]
        assert sorted((answers[2], answers[4])) == [False, True]
        found = [await store.get(each.id) for each in (done, failed, back, doubled, zombie)]
        states = [each.state for each in found if each]
        assert states == [State.SUCCEEDED, State.FAILED, State.PENDING, State.SUCCEEDED, State.SUCCEEDED]
        assert [each.result for each in found if each and each.id in (done.id, zombie.id)] == [b'"done"', b'"by w2"']

    async def test_a_pending_job_is_cancelled_at_once(self, store: JobStore) -> None:
        """Nobody claims it; cancelling again, or something unknown, changes nothing."""
        new = new_job()
        await store.submit([new])
        for _ in range(2):
            cancelled = await store.cancel(new.id)
            assert cancelled is not None
            assert cancelled.state is State.CANCELLED
            assert cancelled.finished_at is not None
        assert await claim(store) == []
        assert await store.cancel(new_job_id()) is None

    async def test_a_running_job_is_cancelled_by_its_worker(self, store: JobStore) -> None:
        """The holder learns of it; a result that was faster counts; a retry or hand-back ends as cancelled."""
        news = [new_job() for _ in range(5)]
        await store.submit(news)
        claims = sorted(await claim(store), key=lambda each: [new.id for new in news].index(each.id))
        for new in news[:4]:
            asked = await store.cancel(new.id)
            assert asked is not None
            assert (asked.state, asked.cancel_requested) == (State.RUNNING, True)
        assert await store.cancel_requested(claims) == claims[:4]
        events = (Event.CANCEL, Event.SUCCEED, Event.RETRY, Event.HAND_BACK, Event.RETRY)
        ends = [settlement(each, event) for each, event in zip(claims, events, strict=True)]
        assert await store.settle(ends) == [True] * 5
        assert [(await self._job(store, new)).state for new in news] == [
            State.CANCELLED, State.SUCCEEDED, State.CANCELLED, State.CANCELLED, State.PENDING,
        ]  # fmt: skip
        assert await store.cancel_requested(claims) == []

    async def test_a_cancelled_job_whose_worker_died_is_cancelled(self, store: JobStore) -> None:
        """The rescue does not run it again."""
        new = new_job()
        await store.submit([new])
        await claim(store)
        await store.cancel(new.id)
        await self.advance(store, LEASE + 1)
        assert [each.state for each in await store.rescue(10)] == [State.CANCELLED]
        assert (await self._job(store, new)).finished_at is not None

    async def test_redriving_starts_afresh(self, store: JobStore) -> None:
        """A failed or cancelled job runs again with all its attempts; others are left alone."""
        failed, cancelled, done, waiting = news = [new_job() for _ in range(4)]
        await store.submit(news[:3])
        claims = {each.id: each for each in await claim(store)}
        await store.settle([settlement(claims[failed.id], Event.FAIL, failure=Failure("bad", "bad")),
                            settlement(claims[cancelled.id], Event.CANCEL), settlement(claims[done.id])])  # fmt: skip
        await store.submit([waiting])
        again = [await store.redrive(new.id) for new in news]
        assert [each and each.state for each in again] == [State.PENDING, State.PENDING, State.SUCCEEDED, State.PENDING]
        assert again[0] is not None
        assert (again[0].attempts, again[0].finished_at) == (0, None)
        assert {each.id: each.attempts for each in await claim(store)} == {
            failed.id: 1, cancelled.id: 1, waiting.id: 1,
        }  # fmt: skip
        assert await store.settle([settlement(claims[failed.id])]) == [False]
        assert await store.redrive(new_job_id()) is None

    async def test_progress_is_kept_while_the_claim_is_held(self, store: JobStore) -> None:
        """What a zombie reports is ignored."""
        new = new_job()
        await store.submit([new])
        (held,) = await claim(store)
        await store.report([(held, Progress(0.5, "half"))])
        assert (await self._job(store, new)).progress == Progress(0.5, "half")
        await store.settle([settlement(held, Event.HAND_BACK)])
        await claim(store, worker="w2")
        await store.report([(held, Progress(0.9))])
        assert (await self._job(store, new)).progress == Progress(0.5, "half")

    async def test_listing_pages_newest_first(self, store: JobStore) -> None:
        """By id, which is by time; a page begins where the last one ended; state and kind narrow it."""
        news = [new_job(kind=kind) for kind in ("report", "mail") * 5]
        await store.submit(news)
        ids = sorted((new.id for new in news), reverse=True)
        first = await store.page(6, state=None, kind=None, before=None)
        rest = await store.page(6, state=None, kind=None, before=first[-1].id)
        assert [job.id for job in [*first, *rest]] == ids
        mails = await store.page(50, state=State.PENDING, kind="mail", before=None)
        assert [job.id for job in mails] == [
            id_ for id_ in ids if id_ in {new.id for new in news if new.kind == "mail"}
        ]
        await store.cancel(ids[3])
        assert [job.id for job in await store.page(9, state=State.CANCELLED, kind=None, before=None)] == [ids[3]]
        assert await store.page(9, state=State.FAILED, kind=None, before=None) == []

    async def test_depth_counts_what_waits_runs_and_failed(self, store: JobStore) -> None:
        """By queue and state; nothing is listed as zero."""
        await store.submit([new_job() for _ in range(3)])
        await store.submit([new_job(queue="slow")])
        (one,) = await claim(store, 1)
        assert await store.depth() == {
            ("default", State.PENDING): 2, ("default", State.RUNNING): 1, ("slow", State.PENDING): 1,
        }  # fmt: skip
        await store.settle([settlement(one, Event.FAIL, failure=Failure("bad", "bad"))])
        assert (await store.depth())["default", State.FAILED] == 1

    async def test_the_oldest_due_job_of_each_queue_is_known(self, store: JobStore) -> None:
        """What is not due yet, or runs, does not count; an empty queue is left out."""
        assert await store.oldest() == {}
        (first,) = await store.submit([new_job()])
        await self.advance(store, 100)
        await store.submit([new_job(), new_job(queue="later", run_at=first.job.created_at + 5000)])
        ages = await store.oldest()
        assert ages.keys() == {"default"}
        assert 100 <= ages["default"] < 160
        await claim(store, 1)
        assert (await store.oldest())["default"] < 60

    async def test_subscribers_are_woken_by_submissions(self, store: JobStore) -> None:
        """Soon, from whatever thread; and no more after the subscription ended."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        unsubscribe = store.subscribe(lambda: _ignore(loop.call_soon_threadsafe(woken.set)))
        await store.submit([new_job()])
        await asyncio.wait_for(woken.wait(), 10)
        unsubscribe()


def _ignore(_: object) -> None:
    """For callbacks that must return None."""
