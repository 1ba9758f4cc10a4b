"""The worker: whatever a handler does, the job ends in the right state and the worker lives."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec
import pydantic
import pytest

from golive.errors import ConfigError, StateError
from golive.jobs import InvalidPayloadError, JobContext, JobError, Jobs, KeyReusedError, State, UnknownHandlerError
from golive.jobs import worker as worker_module
from golive.jobs.log import JsonLines
from golive.jobs.model import Demand, Settlement
from golive.testing.jobs import settlement
from golive.testing.jobs_running import finished, until, working


class Snapshot(msgspec.Struct):
    user_id: str
    limit: int = 3


@dataclass
class Plain:
    word: str


class Model(pydantic.BaseModel):
    word: str


async def test_a_job_runs_once_and_keeps_its_result(jobs: Jobs) -> None:
    """Typed payload in, JSON out, the context filled in, the version recorded."""
    seen: list[JobContext] = []

    @jobs.handler("blocks")
    async def blocks(payload: Snapshot, ctx: JobContext) -> dict[str, object]:
        seen.append(ctx)
        return {"user": payload.user_id, "limit": payload.limit}

    async with working(jobs) as worker:
        done = await finished(jobs, await jobs.submit("blocks", {"user_id": "u1"}))
    assert (done.state, done.attempts, done.worker) == (State.SUCCEEDED, 1, worker.name)
    assert json.loads(done.result or b"") == {"user": "u1", "limit": 3}
    assert [(ctx.id, ctx.attempt, ctx.synchronous) for ctx in seen] == [(done.id, 1, False)]


@pytest.mark.parametrize("kind", ["struct", "dataclass", "pydantic", "dict", "nothing", "thread"])
async def test_payload_types(jobs: Jobs, kind: str) -> None:
    """Structs, dataclasses, pydantic models, plain JSON, no payload at all, and plain functions in a thread."""

    async def struct(payload: Snapshot) -> Snapshot:
        return payload

    async def plain(payload: Plain) -> Plain:
        return payload

    async def model(payload: Model, ctx: JobContext) -> Model:
        return payload

    async def untyped(payload: dict) -> object:  # type: ignore[type-arg]
        return payload

    async def nothing() -> str:
        return "ran"

    def thread(payload: Plain) -> str:
        return threading.current_thread().name

    functions = {
        "struct": struct,
        "dataclass": plain,
        "pydantic": model,
        "dict": untyped,
        "nothing": nothing,
        "thread": thread,
    }
    expected = {"struct": {"user_id": "u", "limit": 3}, "dataclass": {"word": "w"}, "pydantic": {"word": "w"},
                "dict": {"any": [1]}, "nothing": "ran", "thread": "golive-job"}  # fmt: skip
    payload = {"struct": {"user_id": "u"}, "dict": {"any": [1]}, "nothing": None}.get(kind, {"word": "w"})
    jobs.handler("it")(functions[kind])
    async with working(jobs):
        done = await finished(jobs, await jobs.submit("it", payload))
    assert json.loads(done.result or b"") == expected[kind]


class Odd:
    pass


async def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("misdeed", "code", "attempts"),
    [
        (lambda: _raise(ValueError("secret detail")), "internal_error", 2),
        (lambda: _raise(SystemExit(3)), "internal_error", 2),
        (lambda: _raise(KeyboardInterrupt()), "internal_error", 2),
        (lambda: _raise(asyncio.CancelledError()), "internal_error", 2),
        (lambda: _raise(TimeoutError()), "internal_error", 2),
        (lambda: _raise(RecursionError()), "internal_error", 2),
        (lambda: _raise(JobError("venue_unknown", status=404)), "venue_unknown", 1),
        (lambda: _raise(JobError("busy", status=503, retryable=True)), "busy", 2),
        (lambda: asyncio.sleep(60), "timeout", 1),
        (lambda: asyncio.sleep(0, Odd()), "internal_error", 2),
        (lambda: asyncio.sleep(0, "x" * 2_000_000), "result_too_large", 1),
    ],
)  # fmt: skip
async def test_misbehaving_handlers(jobs: Jobs, misdeed, code: str, attempts: int) -> None:  # type: ignore[no-untyped-def]
    """Raises, exits, cancels itself, never returns, returns rubbish: it fails with the reason, the next job runs."""

    @jobs.handler("bad", attempts_max=2, timeout="300ms")
    async def bad() -> object:
        return await misdeed()

    @jobs.handler("good")
    async def good() -> str:
        return "fine"

    async with working(jobs, concurrency=1):
        failed = await finished(jobs, await jobs.submit("bad"))
        fine = await finished(jobs, await jobs.submit("good"))
    assert (failed.state, failed.attempts, failed.failure and failed.failure.code) == (State.FAILED, attempts, code)
    assert fine.state is State.SUCCEEDED
    assert failed.failure
    assert "secret" not in failed.failure.message


async def test_a_flaky_handler_succeeds_at_its_last_attempt(jobs: Jobs) -> None:
    """Retries count up, the last failure does not taint the success."""

    @jobs.handler("flaky", attempts_max=3)
    async def flaky(ctx: JobContext) -> int:
        if ctx.attempt < 3:
            raise RuntimeError("not yet")
        return ctx.attempt

    async with working(jobs):
        done = await finished(jobs, await jobs.submit("flaky"))
    assert (done.state, done.attempts, done.result) == (State.SUCCEEDED, 3, b"3")


async def test_at_most_concurrency_runs_overlap(jobs: Jobs) -> None:
    """Fifty jobs, four slots: exactly four overlap; a handler's own limit is lower still."""
    running, most = {"wide": 0, "narrow": 0}, {"wide": 0, "narrow": 0}

    async def overlap(kind: str) -> None:
        running[kind] += 1
        most[kind] = max(most[kind], running[kind])
        await asyncio.sleep(0.005)
        running[kind] -= 1

    @jobs.handler("wide")
    async def wide() -> None:
        await overlap("wide")

    @jobs.handler("narrow", concurrency=2)
    async def narrow() -> None:
        await overlap("narrow")

    async with jobs:
        submitted = [await jobs.submit(kind) for kind in ("wide",) * 50]
        async with working(jobs):
            for job in submitted:
                await finished(jobs, job)
        submitted = [await jobs.submit("narrow") for _ in range(10)]
        async with working(jobs):
            for job in submitted:
                await finished(jobs, job)
    assert most == {"wide": 4, "narrow": 2}


async def test_a_worker_leaves_other_queues_and_kinds_alone(jobs: Jobs) -> None:
    """``--queue`` narrows; a kind without a handler waits for the version that has one."""

    @jobs.handler("mine", queue="fast")
    async def mine() -> None: ...

    @jobs.handler("theirs", queue="slow")
    async def theirs() -> None: ...

    async with jobs, working(jobs, queues=["fast"]):
        waiting = await jobs.submit("theirs")
        await finished(jobs, await jobs.submit("mine"))
        still = await jobs.get(waiting.id)
    assert still
    assert still.state is State.PENDING
    with pytest.raises(ConfigError, match=r"unknown queue 'fsat', did you mean \"fast\"\?"):
        jobs.worker(queues=["fsat"])


async def test_a_drain_lets_jobs_end_and_hands_the_rest_back(jobs: Jobs) -> None:
    """What ends within the grace succeeds; what does not is pending again, its attempt not counted."""
    quick_may_end = asyncio.Event()

    @jobs.handler("quick")
    async def quick() -> str:
        await quick_may_end.wait()
        return "done"

    @jobs.handler("endless")
    async def endless() -> None:
        await asyncio.Event().wait()

    object.__setattr__(jobs.settings, "drain", timedelta(milliseconds=300))
    async with jobs:
        async with working(jobs, concurrency=2) as worker:
            ended, stuck = await jobs.submit("quick"), await jobs.submit("endless")

            async def both_run() -> bool:
                return worker.running == 2

            await until(both_run)
            waiting = await jobs.submit("endless")
            asyncio.get_running_loop().call_later(0.05, quick_may_end.set)
        states = [(job.state, job.attempts) for each in (ended, stuck, waiting) if (job := await jobs.get(each.id))]
    assert states == [(State.SUCCEEDED, 1), (State.PENDING, 0), (State.PENDING, 0)]


async def test_a_thread_past_its_timeout_keeps_its_slot(jobs: Jobs) -> None:
    """The job fails in time; as the thread cannot be stopped, no other job joins it until it ends."""
    release, overlapped = threading.Event(), []

    @jobs.handler("stuck", timeout="100ms")
    def stuck() -> None:
        release.wait(30)

    @jobs.handler("next")
    def after() -> None:
        overlapped.append(not release.is_set())

    async with working(jobs, concurrency=1):
        timed_out = await finished(jobs, await jobs.submit("stuck"))
        second = await jobs.submit("next")
        await asyncio.sleep(0.1)  # a wrong worker would start it now
        release.set()
        await finished(jobs, second)
    assert timed_out.failure
    assert timed_out.failure.code == "timeout"
    assert overlapped == [False]


async def test_a_handler_that_blocks_the_loop_keeps_its_lease(jobs: Jobs) -> None:
    """Three leases long: another worker must not take it for dead. Its heart beats in a thread of its own."""
    object.__setattr__(jobs.settings, "lease", timedelta(seconds=1))
    runs: list[int] = []

    @jobs.handler("blocking")
    async def blocking(ctx: JobContext) -> int:
        runs.append(ctx.attempt)
        time.sleep(3)
        return ctx.attempt

    async with working(jobs):
        job = await jobs.submit("blocking")
        rescued = []

        def rescue_beside() -> None:
            async def sweep() -> None:
                deadline = time.monotonic() + 2.5
                while time.monotonic() < deadline:
                    rescued.extend(await jobs.store.rescue(10))
                    await asyncio.sleep(0.1)

            asyncio.run(sweep())

        other = threading.Thread(target=rescue_beside)
        other.start()
        done = await finished(jobs, job)
        other.join()
    assert rescued == []
    assert (done.state, done.attempts, runs) == (State.SUCCEEDED, 1, [1])


async def test_a_handler_that_swallows_its_cancellation_does_not_hang_the_job(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heart settles it as a time-out; what it returns much later is refused."""
    monkeypatch.setattr("golive.jobs.worker.PATIENCE_SECONDS", 0.2)
    release = asyncio.Event()

    @jobs.handler("stubborn", timeout="100ms")
    async def stubborn() -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    async with working(jobs) as worker:
        done = await finished(jobs, await jobs.submit("stubborn"))
        release.set()

        async def idle() -> bool:
            return worker.running == 0

        await until(idle)
        later = await jobs.get(done.id)
    assert done.failure
    assert (done.state, done.failure.code) == (State.FAILED, "timeout")
    assert later == done


async def test_a_lost_lease_ends_the_run(jobs: Jobs) -> None:
    """A run whose job was taken over is cancelled, and its result is nobody's."""
    object.__setattr__(jobs.settings, "lease", timedelta(seconds=1))
    cancelled = asyncio.Event()

    @jobs.handler("long")
    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with working(jobs) as worker:
        job = await jobs.submit("long")

        async def runs() -> bool:
            return worker.running == 1

        await until(runs)
        held = worker._running[job.id].claim
        await jobs.store.settle([settlement(held, result=b'"by another"')])
        await asyncio.wait_for(cancelled.wait(), 20)
        done = await finished(jobs, job)
    assert done.result == b'"by another"'


async def test_an_unavailable_store_is_survived(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims and results are tried again until the store answers; nothing is lost, nothing runs twice."""
    failures = iter([StateError("disk full")] * 4)
    runs = []

    @jobs.handler("it")
    async def it() -> None:
        runs.append(1)

    for name in ("claim", "settle", "rescue"):
        real = getattr(jobs.store, name)

        async def flaky(*args: object, real=real) -> object:  # type: ignore[no-untyped-def]
            if error := next(failures, None):
                raise error
            return await real(*args)

        monkeypatch.setattr(jobs.store, name, flaky)
    async with working(jobs):
        done = await finished(jobs, await jobs.submit("it"))
    assert (done.state, runs) == (State.SUCCEEDED, [1])


async def test_a_worker_that_stopped_claiming_goes_on_as_soon_as_the_store_has_caught_up(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too much unsettled stops the claims; the settlement that changes this begins them again, not the next poll."""
    monkeypatch.setattr(worker_module, "UNSETTLED_MAX", 3)
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 600.0)
    real = jobs.store.settle

    async def slowly(settlements: Sequence[Settlement]) -> list[bool]:
        await asyncio.sleep(0.002)
        return await real(settlements)

    monkeypatch.setattr(jobs.store, "settle", slowly)

    @jobs.handler("it")
    async def it() -> None: ...

    async with jobs:
        submitted = [await jobs.submit("it") for _ in range(200)]
        async with working(jobs, concurrency=8):
            for job in submitted:
                assert (await finished(jobs, job)).state is State.SUCCEEDED


async def test_submissions_are_checked(jobs: Jobs) -> None:
    """Unknown handler, wrong payload, too large a payload, a key reused: refused, and nothing is stored of them."""

    @jobs.handler("blocks")
    async def blocks(payload: Snapshot) -> None: ...

    async with jobs:
        with pytest.raises(UnknownHandlerError, match=r"unknown handler 'blokcs', did you mean \"blocks\"\?"):
            await jobs.submit("blokcs", {})
        for wrong in ({}, {"user_id": 7}, [], b"{", b"\xff", b"[" * 200_000, {"user_id": "x" * 300_000}):
            with pytest.raises(InvalidPayloadError):
                await jobs.submit("blocks", wrong)
        await jobs.submit("blocks", b'{"user_id":"u","limit":3}', idempotency_key="k")
        await jobs.submit("blocks", b'{"limit":3, "user_id": "u"}', idempotency_key="k")
        with pytest.raises(KeyReusedError):
            await jobs.submit("blocks", {"user_id": "other"}, idempotency_key="k")
        assert await jobs.store.depth() == {("default", State.PENDING): 1}


def test_handlers_are_checked_at_registration() -> None:
    """Names, limits and signatures that cannot work are configuration errors, found before the first job."""
    jobs = Jobs("memory://")

    async def two(one: int, two: int) -> None: ...

    async def star(*many: int) -> None: ...

    async def fine(payload: int) -> None: ...

    for name, options, function, said in (
        ("two", {}, two, "expected one payload"),
        ("star", {}, star, "expected one payload"),
        ("a/b", {}, fine, "expected a name"),
        ("", {}, fine, "expected a name"),
        ("fine", {"queue": "a b"}, fine, "expected a name"),
        ("fine", {"attempts_max": 0}, fine, "attempts_max: expected a whole number"),
        ("fine", {"concurrency": True}, fine, "concurrency: expected a whole number"),
        ("fine", {"timeout": "30"}, fine, 'Write "30s"'),
    ):
        with pytest.raises(ConfigError, match=said):
            jobs.handler(name, **options)(function)  # type: ignore[arg-type]
    jobs.handler("fine")(fine)
    with pytest.raises(ConfigError, match="registered already"):
        jobs.handler("fine")(fine)


async def test_log_lines_are_json_with_job_and_attempt(jobs: Jobs) -> None:
    """One line per event; fields a handler binds are in it, and in lines the handler logs itself."""

    @jobs.handler("list", attempts_max=1)
    async def enrich(ctx: JobContext) -> None:
        ctx.bind(list_id="L9")
        logging.getLogger("mine").info("working")
        raise RuntimeError("secret of the operator")

    lines: list[dict[str, object]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(self.format(record)))

    collect = Collect()
    collect.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(collect)
    level, _ = root.level, root.setLevel(logging.INFO)
    try:
        async with working(jobs):
            done = await finished(jobs, await jobs.submit("list"))
    finally:
        root.removeHandler(collect)
        root.setLevel(level)
    own = next(line for line in lines if line["event"] == "working")
    failed = next(line for line in lines if line["event"] == "job.failed")
    assert (own["job_id"], own["attempt"], own["list_id"]) == (done.id, 1, "L9")
    assert (failed["job_id"], failed["attempt"], failed["kind"], failed["list_id"], failed["level"]) == (
        done.id, 1, "list", "L9", "warning",
    )  # fmt: skip
    assert "secret of the operator" in str(failed["trace"])
    assert done.version == "v7"


async def test_a_worker_does_not_claim_ahead_of_slow_jobs(jobs: Jobs) -> None:
    """With slots full of slow jobs nothing is held back from other workers."""

    @jobs.handler("slow")
    async def slow() -> None:
        await asyncio.sleep(0.2)

    async with jobs:
        for _ in range(20):
            await jobs.submit("slow")
        async with working(jobs, concurrency=2) as worker:

            async def busy() -> bool:
                return worker.running == 2

            await until(busy)
            assert len(await jobs.store.claim([Demand("default", "slow", 50)], 50, "other", 60.0, None)) == 18


def test_importing_jobs_is_light() -> None:
    """A service that only submits loads no web framework, command line or validation library because of us."""
    heavy = ("fastapi", "starlette", "pydantic", "click", "rich", "uvicorn", "golive.rollout")
    code = f"import sys, golive.jobs; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_stats_are_plain_numbers(jobs: Jobs) -> None:
    """Queues from the store, empty ones included; what this process's worker did, with the time it took."""

    @jobs.handler("good", queue="fast")
    async def good() -> None:
        await asyncio.sleep(0.01)

    @jobs.handler("bad")
    async def bad() -> None:
        raise JobError("bad")

    async with working(jobs) as worker:
        for kind in ("good", "good", "bad"):
            await finished(jobs, await jobs.submit(kind))

        async def counted() -> bool:
            return worker.stats().failed == 1

        await until(counted)
        stats = await jobs.stats()
    (mine,) = stats.workers
    assert (mine.slots, mine.running, mine.succeeded, mine.failed, mine.refused, mine.runs) == (4, 0, 2, 1, 0, 3)
    assert mine.run_seconds >= 0.02
    assert {queue: (each.pending, each.running, each.dead) for queue, each in stats.queues.items()} == {
        "default": (0, 0, 1), "fast": (0, 0, 0),
    }  # fmt: skip
