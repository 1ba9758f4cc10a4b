"""Who works, and how soon: what workers say of themselves in the store."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from golive.chassis.exposition import render
from golive.chassis.metrics import Metrics
from golive.cli.frame import app_for
from golive.jobs import Jobs, JobsSettings, presence
from golive.jobs.machine import Event
from golive.jobs.measures import Measures
from golive.jobs.model import BEAT_KEPT_SECONDS, BEAT_LATE_SECONDS, WorkerBeat
from golive.jobs.named import run_named
from golive.jobs.stores.memory import MemoryStore
from golive.jobs.stores.sqlite import SqliteStore
from golive.testing.jobs_running import finished, until, working
from golive.testing.jobs_upkeep import beat


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat every few milliseconds."""
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.01)


async def test_a_worker_is_known_while_it_works_and_not_after_it_has_drained(jobs: Jobs) -> None:
    """With host, pid, version, queues, slots, what runs now, and the waits of what it claimed."""
    let_go = asyncio.Event()

    @jobs.handler("hold", queue="slow")
    async def hold() -> None:
        await let_go.wait()

    async with jobs:
        job = await jobs.submit("hold")
        async with working(jobs, concurrency=3) as worker:

            async def busy() -> bool:
                return any(each.running for each in await jobs.store.workers())

            await until(busy)
            (known,) = await jobs.store.workers()
            assert (known.name, known.host, known.pid) == (worker.name, socket.gethostname(), os.getpid())
            assert (known.version, known.queues, known.slots, known.running) == ("v7", ["slow"], 3, 1)
            assert (sum(known.waits), known.draining) == (1, False)
            assert known.started_at <= time.time()
            worker.stop()

            async def draining() -> bool:
                return all(each.draining for each in await jobs.store.workers())

            await until(draining)
            let_go.set()
            await finished(jobs, job)
        async with jobs:
            assert await jobs.store.workers() == []


async def test_what_an_engine_calls_for_its_jobs_says_nothing_of_itself(jobs: Jobs) -> None:
    """An rq worker's fork, a Lambda: it ends with its jobs, and a beat and a farewell would cost more than they do."""
    known: list[list[WorkerBeat]] = []

    @jobs.handler("look")
    async def look() -> None:
        await asyncio.sleep(0.1)  # a worker has said ten times by now that it is there
        known.append(await jobs.store.workers())

    async with jobs:
        job = await jobs.submit("look")
        ends = await run_named(jobs.store, jobs.handlers, jobs.settings, [[job.id]])
        assert ends[job.id].event is Event.SUCCEED
        assert [*known, await jobs.store.workers()] == [[], []]


@pytest.fixture(params=["memory", "sqlite"])
async def store_and_clock(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[object, list[float]]]:
    """A store on a clock of the test's."""
    now = [1_700_000_000.0]
    made = {"memory": lambda: MemoryStore(lambda: now[0]),
            "sqlite": lambda: SqliteStore(tmp_path / "jobs.db", clock=lambda: now[0])}  # fmt: skip
    store = made[request.param]()
    await store.open()
    yield store, now
    await store.close()


async def test_a_killed_worker_grows_old_and_is_forgotten_after_an_hour(
    store_and_clock: tuple[MemoryStore | SqliteStore, list[float]],
) -> None:
    """By whoever beats then."""
    store, now = store_and_clock
    await store.beat(beat("killed"))
    now[0] += BEAT_KEPT_SECONDS - 1
    await store.beat(beat("alive"))
    assert {each.name: each.age_seconds for each in await store.workers()} == {
        "alive": 0.0, "killed": pytest.approx(BEAT_KEPT_SECONDS - 1),
    }  # fmt: skip
    now[0] += 2
    await store.beat(beat("alive"))
    assert [each.name for each in await store.workers()] == ["alive"]


def shown(metrics: Metrics) -> dict[str, float]:
    lines = "".join(render(metrics, openmetrics=False)).splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if line.startswith(("jobs_workers", "jobs_pick_up"))]
    return {name: float(value) for name, value in pairs}


async def test_waits_and_living_workers_are_on_the_registry() -> None:
    """The histogram adds what each worker says anew; who is silent is not counted, and what it did stays counted."""
    metrics, store, now = Metrics(), MemoryStore(lambda: now[0]), [1000.0]
    count = Measures(metrics, Jobs(store=store).stats, lambda: now[0])
    waits = [2] + [0] * 22
    await count.once()
    await store.beat(beat("a", waits=waits, waited_seconds=0.5))
    await store.beat(beat("b", waits=waits, waited_seconds=0.5))
    for _ in range(2):
        await count.once()
    assert shown(metrics)['jobs_workers{version="v1"}'] == 2
    assert shown(metrics)['jobs_pick_up_seconds_count{version="v1"}'] == 4
    assert shown(metrics)['jobs_pick_up_seconds_bucket{version="v1",le="0.001"}'] == 4
    now[0] += BEAT_LATE_SECONDS + 1
    await store.beat(beat("a", waits=[2, 0, 3] + [0] * 20, waited_seconds=0.51))
    await count.once()
    last = shown(metrics)
    assert last['jobs_workers{version="v1"}'] == 1
    assert last['jobs_pick_up_seconds_count{version="v1"}'] == 7
    assert last['jobs_pick_up_seconds_bucket{version="v1",le="0.002"}'] == 4
    assert last['jobs_pick_up_seconds_bucket{version="v1",le="0.004"}'] == 7
    assert last['jobs_pick_up_seconds_sum{version="v1"}'] == pytest.approx(1.01)


async def test_a_process_that_is_started_anew_does_not_count_old_waits_as_new() -> None:
    """Its first count is where it begins: a rate would show all that living workers ever waited as of this moment."""
    metrics, store = Metrics(), MemoryStore()
    await store.beat(beat("a", waits=[5] + [0] * 22, waited_seconds=0.5))
    count = Measures(metrics, Jobs(store=store).stats)
    await count.once()
    assert shown(metrics)['jobs_pick_up_seconds_count{version="v1"}'] == 0  # there already: a rate needs two points
    assert shown(metrics)['jobs_pick_up_seconds_sum{version="v1"}'] == 0
    await store.beat(beat("a", waits=[7] + [0] * 22, waited_seconds=0.75))
    await store.beat(beat("b", waits=[1] + [0] * 22, waited_seconds=0.25))
    await count.once()
    assert shown(metrics)['jobs_pick_up_seconds_count{version="v1"}'] == 3
    assert shown(metrics)['jobs_pick_up_seconds_sum{version="v1"}'] == pytest.approx(0.5)


def test_golive_jobs_workers_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each, the silent ones named so; as JSON for scripts; and nobody at all is said, too."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    monkeypatch.setenv("GOLIVE_JOBS_URL", url)

    async def make() -> None:
        async with Jobs(url):
            pass

    asyncio.run(make())
    assert app_for({"jobs": ""}, ["jobs", "workers"]) == 0
    assert capsys.readouterr().out == "no workers\n"

    async def fill() -> None:
        past = SqliteStore(tmp_path / "jobs.db", clock=lambda: time.time() - 60)
        await past.open()
        await past.beat(beat("host-2-old"))
        await past.beat(beat("host-3-late", waits=[1] + [0] * 21 + [3]))
        await past.close()
        async with Jobs(url) as jobs:
            await jobs.store.beat(beat("host-1-new", running=3, waits=[1, 5, 1] + [0] * 20))

    asyncio.run(fill())
    assert app_for({"jobs": ""}, ["jobs", "workers"]) == 0
    new, old, late = capsys.readouterr().out.splitlines()
    assert "host-1-new" in new
    assert "working" in new
    assert "3/4 slots" in new
    assert "half picked up within 0.002 s" in new
    assert "silent" in old
    assert "half" not in old
    assert "half waited longer than 2097 s" in late
    assert app_for({"jobs": ""}, ["jobs", "workers", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["working", "silent", "silent"]
    assert (rows[0]["picked_up"], rows[1]["waited_p50_seconds"]) == (7, None)
    assert (rows[2]["picked_up"], rows[2]["waited_p50_seconds"]) == (4, None)


async def test_a_store_that_is_away_ends_no_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is not seen for a while, and jobs run."""
    from golive.errors import StateError

    jobs = Jobs(JobsSettings(url=f"sqlite:///{tmp_path}/jobs.db"))

    @jobs.handler("it")
    async def it() -> int:
        return 1

    async def away(*_: object) -> None:
        raise StateError("away")

    async with jobs:
        monkeypatch.setattr(jobs.store, "beat", away)
        monkeypatch.setattr(jobs.store, "leave", away)
        async with working(jobs):
            assert (await finished(jobs, await jobs.submit("it"))).result == b"1"
