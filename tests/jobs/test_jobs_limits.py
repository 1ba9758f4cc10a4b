"""Limits over all workers: the choice itself, what may be declared, and workers that keep to it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.chassis.breaker import Breaker, BreakerRules
from golive.errors import ConfigError, UsageError
from golive.jobs import Job, JobContext, Jobs, JobsSettings, NotNow, State
from golive.jobs.limits import Bucket, Due, Limits, choose, spend, tokens
from golive.jobs.model import Failure
from golive.testing.jobs_running import finished, until, working

_due = st.builds(
    Due, st.sampled_from("qr"), st.sampled_from("kl"), st.sampled_from(["", "a", "b"]), st.integers(0, 2),
    st.floats(0, 9), st.uuids().map(str),
)  # fmt: skip
_limits = st.builds(
    Limits, st.none() | st.integers(1, 4), st.none() | st.integers(1, 3), st.booleans(),
    st.none() | st.builds(Bucket, st.sampled_from(["x", "y"]), st.just(1.0), st.just(3)),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(_due, max_size=30, unique_by=lambda job: job.id), st.integers(0, 12), st.data())
def test_a_choice_never_exceeds_a_limit_and_leaves_nothing_that_would_fit(
    due: list[Due], limit: int, data: st.DataObject
) -> None:
    """Whatever is due, runs and is asked for: checked against the definition, job by job."""
    by_queue = {queue: data.draw(_limits) for queue in "qr"}
    demands = {(q, k): (data.draw(st.integers(1, 9)), by_queue[q]) for q in "qr" for k in "kl"}
    running = {("q", "a"): data.draw(st.integers(0, 3)), ("r", "b"): data.draw(st.integers(0, 3))}
    full_at = {"x": data.draw(st.floats(0, 110))}
    chosen = choose(limit, due, demands, running, full_at, 100.0)
    jobs = {job.id: job for job in due}
    assert len(set(chosen.ids)) == len(chosen.ids) <= limit

    def fits(ids: list[str]) -> bool:
        picked = [jobs[id_] for id_ in ids]
        for (queue, kind), (most, limits) in demands.items():
            here = [job for job in picked if job.queue == queue]
            tenants = Counter(job.tenant for job in here) + Counter(
                {tenant: count for (q, tenant), count in running.items() if q == queue}
            )
            if sum(job.kind == kind for job in here) > most:
                return False
            if limits.running_max is not None and here and sum(tenants.values()) > limits.running_max:
                return False
            if limits.tenant_running_max is not None and any(
                tenants[job.tenant] > limits.tenant_running_max for job in here
            ):
                return False
        for name in "xy":
            buckets = [limits.bucket for limits in by_queue.values() if limits.bucket and limits.bucket.name == name]
            takers = [job for job in picked if (b := by_queue[job.queue].bucket) and b.name == name]
            if buckets and len(takers) > tokens(buckets[0], full_at.get(name, 0.0), 100.0):
                return False
        return len(picked) <= limit

    assert fits(chosen.ids)
    assert not any(fits([*chosen.ids, job.id]) for job in due if job.id not in chosen.ids)


@settings(deadline=None, max_examples=60)
@given(st.floats(0.1, 100), st.integers(1, 20), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 9)), max_size=40))
def test_a_bucket_gives_its_burst_and_then_its_rate(
    per_second: float, burst: int, asks: list[tuple[float, int]]
) -> None:
    """Over any time it gives no more than burst + rate x time; and it never has more than the burst."""
    bucket, now, full_at, given_out = Bucket("b", per_second, burst), 0.0, 0.0, 0
    for pause, wanted in asks:
        now += pause
        assert 0 <= tokens(bucket, full_at, now) <= burst
        taken = min(wanted, tokens(bucket, full_at, now))
        full_at, given_out = spend(bucket, full_at, now, taken), given_out + taken
        assert given_out <= burst + per_second * now + 1e-3


@pytest.mark.parametrize(
    ("declare", "complaint"),
    [
        (lambda jobs: jobs.queue("a b"), "expected a name of letters"),
        (lambda jobs: jobs.queue("q", concurrency=0), "concurrency: expected a whole number >= 1, got 0"),
        (lambda jobs: jobs.queue("q", tenant_concurrency=True), "tenant_concurrency: expected a whole number"),
        (lambda jobs: [jobs.queue("q"), jobs.queue("q")], "expected a new name"),
        (lambda jobs: jobs.downstream("d"), "expected a rate such as"),
        (lambda jobs: jobs.downstream("d", rate="50"), 'rate: expected something like "50/s"'),
        (lambda jobs: jobs.downstream("d", rate="0/s"), "rate: expected something like"),
        (lambda jobs: jobs.downstream("d", rate="-1/s"), "rate: expected something like"),
        (lambda jobs: jobs.downstream("d", rate="1/s", burst=0), "burst: expected a whole number of 1 to 100,000"),
        (lambda jobs: [jobs.downstream("d", rate="1/s"), jobs.downstream("d", rate="1/s")], "expected a new name"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_by_name(declare: Any, complaint: str) -> None:
    """At import time, with what was expected."""
    with pytest.raises(ConfigError, match=complaint):
        declare(Jobs("memory://"))


def test_a_handler_that_names_an_undeclared_downstream_stops_the_worker() -> None:
    """It may be declared after the handler, but before the worker; a near miss is named."""
    jobs = Jobs("memory://")

    @jobs.handler("charge", downstream="strpe")
    async def charge() -> None: ...

    jobs.downstream("stripe", rate="1/s")
    with pytest.raises(ConfigError, match=r"got 'strpe', did you mean \"stripe\""):
        jobs.worker()


@pytest.mark.parametrize(
    "wrong",
    [{"tenant": "a\0b"}, {"tenant": "x" * 256}, {"tenant": "\ud800"}, {"idempotency_key": ""},
     {"idempotency_key": "k\n"}, {"priority": 2**31}, {"priority": True}],
)  # fmt: skip
async def test_what_no_job_can_have_is_refused_before_anything_is_stored(jobs: Jobs, wrong: dict[str, Any]) -> None:
    """The same in every store."""

    @jobs.handler("work")
    async def work() -> None: ...

    async with jobs:
        with pytest.raises(UsageError, match=f"submit: {next(iter(wrong))}: expected"):
            await jobs.submit("work", **wrong)
        assert await jobs.store.depth() == {}


async def test_two_workers_keep_to_the_limits_of_the_queue(jobs: Jobs) -> None:
    """Never more than three run, never more than two of one tenant, and everything gets done."""
    running: Counter[str] = Counter()
    seen: list[tuple[int, int]] = []
    jobs.queue("slow", concurrency=3, tenant_concurrency=2, fair=True)

    @jobs.handler("work", queue="slow")
    async def work(ctx: JobContext) -> None:
        running[ctx.tenant] += 1
        seen.append((sum(running.values()), max(running.values())))
        await asyncio.sleep(0.002)
        running[ctx.tenant] -= 1

    async with working(jobs, concurrency=8), working(jobs, concurrency=8):
        made = [await jobs.submit("work", tenant=tenant) for tenant in ("a", "a", "a", "b", "c") for _ in range(4)]
        done = [await finished(jobs, job) for job in made]
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert max(total for total, _ in seen) <= 3
    assert max(of_one for _, of_one in seen) <= 2


async def test_a_rate_is_kept_by_two_workers_together(jobs: Jobs) -> None:
    """Thirty starts at 100/s with a burst of 5 take at least a quarter of a second, and are not slowed to the poll."""
    starts: list[float] = []
    jobs.downstream("api", rate="100/s", burst=5)

    @jobs.handler("call", downstream="api")
    async def call() -> None:
        starts.append(time.monotonic())

    async with working(jobs, concurrency=8), working(jobs, concurrency=8):
        made = [await jobs.submit("call") for _ in range(30)]
        for job in made:
            await finished(jobs, job)
    assert len(starts) == 30
    assert starts[-1] - starts[0] >= 0.24


async def test_an_open_breaker_makes_jobs_wait_and_burns_no_attempt(jobs: Jobs) -> None:
    """The chassis' own: nothing is claimed while it is open; a run it refused goes back; other handlers go on."""
    from golive.chassis import Chassis, ChassisSettings

    now = [100.0]
    rules = BreakerRules(calls_min=1, open_seconds=60.0)
    breaker, calls = Breaker(Chassis(ChassisSettings()), "payments", rules, None, lambda: now[0]), []
    jobs.downstream("payments", breaker=breaker)

    @jobs.handler("charge", downstream="payments", attempts_max=1)
    async def charge(number: int, ctx: JobContext) -> int:
        calls.append(ctx.attempt)
        async with breaker:
            return number

    @jobs.handler("other")
    async def other() -> None: ...

    async def break_it() -> None:
        with pytest.raises(RuntimeError):
            async with breaker:
                raise RuntimeError("away")

    async with jobs:
        await break_it()
        assert breaker.state == "open"
        outcome = await jobs.run("charge", b"1")
        assert outcome.failure is not None
        assert (outcome.failure.code, outcome.failure.status, calls.pop()) == ("not_now", 503, 1)
        async with working(jobs):
            job = await jobs.submit("charge", 1)
            assert (await finished(jobs, await jobs.submit("other"))).state is State.SUCCEEDED
            assert calls == []
            now[0] += 61
            done = await finished(jobs, job)
    assert (done.state, done.attempts, calls) == (State.SUCCEEDED, 1, [1])


async def test_not_now_waits_and_burns_no_attempt(jobs: Jobs) -> None:
    """However often; the reason is there to read; the synchronous caller gets 503 and no row."""
    left = [3]

    @jobs.handler("work", attempts_max=1)
    async def work() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise NotNow(0.005, "the printer warms up")
        return "done"

    outcome = await jobs.run("work", b"null")
    assert outcome.failure == Failure("not_now", "the printer warms up", 503, True, wait_seconds=0.005)
    async with working(jobs):
        done = await finished(jobs, await jobs.submit("work"))
    assert (done.state, done.result, done.attempts) == (State.SUCCEEDED, b'"done"', 1)
    for wrong in (0, -1, 1e9):
        with pytest.raises(ValueError, match="expected more than 0 seconds"):
            NotNow(wrong)


async def test_a_payload_a_new_version_cannot_read_is_left_to_the_old_one(jobs: Jobs) -> None:
    """It is held, not failed, and no attempt is held against it; the version that can read it runs it."""
    new_one = Jobs(JobsSettings(version="v8"), store=jobs.store)

    @jobs.handler("work", attempts_max=1)
    async def work(payload: dict[str, int]) -> int:
        return payload["n"]

    @new_one.handler("work", attempts_max=1)
    async def work_anew(payload: list[int]) -> int:
        return payload[0]

    async with jobs, new_one:
        job = await jobs.submit("work", {"n": 7})
        async with working(new_one):

            async def held() -> Job | None:
                found = await jobs.get(job.id)
                return found if found and found.failure else None

            waiting = await until(held)
        assert waiting is not None
        assert waiting.failure is not None
        assert (waiting.state, waiting.failure.code, waiting.attempts) == (State.PENDING, "payload_invalid", 0)
        assert 4 <= waiting.run_at - time.time() <= 6
        await jobs.hasten(job.id)
        async with working(jobs):
            done = await finished(jobs, job)
    assert (done.state, done.result, done.version) == (State.SUCCEEDED, b"7", "v7")


async def test_a_payload_nobody_can_read_is_a_dead_letter_in_the_end() -> None:
    """After the time it is held for; at once where that is zero."""
    store = Jobs("memory://").store
    old, new_one = Jobs("memory://", store=store), Jobs(JobsSettings(hold=timedelta(0)), store=store)

    @old.handler("work")
    async def work(payload: str) -> None: ...

    @new_one.handler("work")
    async def work_anew(payload: int) -> None: ...

    job = await old.submit("work", "text")
    async with working(new_one):
        done = await finished(new_one, job)
    assert done.failure is not None
    assert (done.state, done.failure.code, done.attempts) == (State.FAILED, "payload_invalid", 1)


async def test_a_paused_queue_waits_until_it_is_resumed(jobs: Jobs) -> None:
    """Submissions are taken meanwhile."""

    @jobs.handler("work", queue="slow")
    async def work() -> None: ...

    async with jobs:
        await jobs.pause("slow", "maintenance")
        with pytest.raises(UsageError, match="expected a queue's name"):
            await jobs.pause("no such thing\n")
        async with working(jobs):
            job = await jobs.submit("work")
            await asyncio.sleep(0.02)
            assert (await jobs.get(job.id) or job).state is State.PENDING
            assert [(each.queue, each.reason) for each in (await jobs.stats()).paused] == [("slow", "maintenance")]
            await jobs.resume("slow")
            assert (await finished(jobs, job)).state is State.SUCCEEDED
