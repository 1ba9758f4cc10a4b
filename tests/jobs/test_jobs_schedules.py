"""Schedules: when they are due, and that one of several workers fires, once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.errors import ConfigError
from golive.jobs import Jobs, State, staffing
from golive.jobs.errors import UnknownHandlerError
from golive.jobs.scheduler import Scheduler
from golive.jobs.schedules import Cron, Every, Missed, Recurring, due
from golive.testing.jobs_running import until, working


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def cron(expression: str, zone: str = "Europe/Berlin") -> Cron:
    return Cron(expression, ZoneInfo(zone), "test")


def local(moments: list[float], zone: str = "Europe/Berlin") -> list[str]:
    return [datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat() for moment in moments]


def test_a_cron_time_is_the_same_on_the_wall_in_summer_and_winter() -> None:
    """03:00 in Berlin is 02:00 or 01:00 UTC."""
    found = cron("0 3 * * *").latest(at("2026-03-27T12:00Z"), at("2026-03-31T12:00Z"), 9)
    assert local(found) == [
        "2026-03-28T03:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00",
        "2026-03-31T03:00:00+02:00",
    ]  # fmt: skip


def test_a_time_the_clocks_skip_runs_after_the_gap_and_one_they_repeat_runs_once() -> None:
    """29 March 2026 has no 02:30 in Berlin, 25 October has two."""
    spring = cron("30 2 * * *").latest(at("2026-03-28T12:00Z"), at("2026-03-30T12:00Z"), 9)
    assert local(spring) == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    autumn = cron("30 2 * * *").latest(at("2026-10-24T12:00Z"), at("2026-10-26T12:00Z"), 9)
    assert local(autumn) == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["*/7 * * * *", "0 3 * * *", "15 */6 * * 1-5", "0 0 1 * *"]),
       st.integers(1_700_000_000, 1_900_000_000), st.integers(0, 10_000_000))  # fmt: skip
def test_backwards_and_forwards_a_cron_expression_means_the_same(expression: str, start: int, length: int) -> None:
    """What `latest` finds walking back is what `next` finds walking on."""
    cadence, until_, walked = cron(expression), start + min(length, 400_000), []
    moment = cadence.next(start)
    while moment is not None and moment <= until_:
        walked.append(moment)
        moment = cadence.next(moment)
    assert cadence.latest(start, until_, 10_000) == walked


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10_000), st.floats(0, 1e6), st.floats(0, 1e5))
def test_an_interval_is_anchored_at_the_epoch(seconds: int, after: float, length: float) -> None:
    """Every worker means the same moments, whenever it started."""
    cadence = Every(timedelta(seconds=seconds))
    found = cadence.latest(after, after + length, 5)
    assert all(moment % seconds == 0 and after < moment <= after + length for moment in found)
    assert found == sorted(found)[-5:]
    following = cadence.next(after)
    assert following > after
    assert following - after <= seconds


def test_what_was_missed_is_made_up_for_as_declared() -> None:
    """Down from 10:00 to 13:10: the latest, all three, or none."""
    after, now = at("2026-01-05T10:00Z"), at("2026-01-05T13:10Z")

    hourly = Every(timedelta(hours=1))

    def found(missed: Missed, now: float = now, cadence: Every = hourly) -> list[float]:
        return due(Recurring(name="n", kind="k", cadence=cadence, payload=None, missed=missed, tenant=""), after, now)

    assert found(Missed.LATEST) == [at("2026-01-05T13:00Z")]
    assert found(Missed.ALL) == [at(f"2026-01-05T{hour}:00Z") for hour in (11, 12, 13)]
    assert found(Missed.SKIP) == []
    assert found(Missed.SKIP, at("2026-01-05T13:00:30Z")) == [at("2026-01-05T13:00Z")]
    assert len(found(Missed.ALL, now + 86_400 * 365, Every(timedelta(minutes=1)))) == 100


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"expression": "every day"}, "expected a cron expression such as"),
        ({"expression": "61 * * * *"}, "expected a cron expression such as"),
        ({"expression": ""}, "expected a cron expression such as"),
        ({"expression": "0 3 * * *", "timezone": "Berlin"}, 'timezone: expected a name such as "Europe/Berlin"'),
        ({"expression": "0 3 * * *", "timezone": "../../etc/passwd"}, "timezone: expected"),
        ({"expression": "0 3 * * *", "missed": "maybe"}, 'missed: expected "latest", "all" or "skip"'),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_at_import_time(arguments: dict[str, Any], complaint: str) -> None:
    """With the place and what was expected."""
    with pytest.raises(ConfigError, match=rf"jobs\.cron\('nightly'\): {complaint}"):
        Jobs("memory://").cron("nightly", **arguments)


def test_an_interval_that_cannot_be_is_refused_too() -> None:
    """Below a second, no unit, twice the same name."""
    jobs = Jobs("memory://")
    jobs.every("tick", "1s")
    for wrong, complaint in (("0s", "at least a second"), ("10ms", "at least a second"), ("5", "Write")):
        with pytest.raises(ConfigError, match=complaint):
            jobs.every("tock", wrong)
    with pytest.raises(ConfigError, match="expected a new name"):
        jobs.every("tick", "2s")


async def test_a_schedule_without_a_handler_stops_the_worker() -> None:
    """A job nobody can run would be noticed at three in the morning."""
    jobs = Jobs("memory://")

    @jobs.handler("work")
    async def work() -> None: ...

    jobs.cron("nightly", "0 3 * * *")
    with pytest.raises(UnknownHandlerError, match="nightly"):
        jobs.worker()


class _Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def test_three_workers_fire_each_occurrence_once(jobs: Jobs) -> None:
    """New schedules begin now; a restart goes on where the store says; the payload may depend on the moment."""

    @jobs.handler("report")
    async def report(payload: str) -> None: ...

    jobs.cron("nightly", "0 3 * * *", handler="report", payload=lambda moment: moment.isoformat(), tenant="acme")
    clock = _Clock(at("2026-01-05T10:00Z"))

    def scheduler() -> Scheduler:
        return Scheduler(jobs.store, list(jobs.schedules.values()), jobs.occurrence, clock)

    async with jobs:
        three = [scheduler() for _ in range(3)]
        for each in three:
            await each.begin()
        assert await three[0].step() == 30.0
        for day in (6, 7):
            clock.now = at(f"2026-01-0{day}T03:00Z")
            for each in three:
                await each.step()
        clock.now = at("2026-01-09T12:00Z")  # nobody was alive on the 8th
        restarted = scheduler()
        await restarted.begin()
        await restarted.step()
        made = await jobs.store.page(9, state=State.PENDING, kind="report", before=None)
        assert sorted(job.payload.decode() for job in made) == [f'"2026-01-0{day}T03:00:00+00:00"' for day in (6, 7, 9)]
        assert {(job.tenant, job.idempotency_key and job.idempotency_key[:17]) for job in made} == {
            ("acme", "schedule:nightly:")
        }
        (known,) = await jobs.store.schedules()
        assert (known.spec, known.fired_at) == ("0 3 * * * UTC", at("2026-01-09T03:00Z"))
        assert known.next_at == at("2026-01-10T03:00Z")


async def test_a_store_that_was_emptied_learns_the_schedules_again() -> None:
    """They begin anew there, without a restart of the worker."""
    jobs, clock = Jobs("memory://"), _Clock(at("2026-01-05T10:00Z"))

    @jobs.handler("report")
    async def report() -> None: ...

    jobs.cron("nightly", "0 3 * * *", handler="report")
    scheduler = Scheduler(jobs.store, list(jobs.schedules.values()), jobs.occurrence, clock)
    await scheduler.begin()
    jobs.store._schedules.clear()  # type: ignore[attr-defined]
    await scheduler.step()
    clock.now = at("2026-01-06T03:00Z")
    await scheduler.step()
    assert len(await jobs.store.page(9, state=None, kind=None, before=None)) == 1


async def test_a_schedule_with_another_time_begins_anew(jobs: Jobs) -> None:
    """The new times before the change were never meant."""

    @jobs.handler("report")
    async def report() -> None: ...

    jobs.cron("nightly", "0 3 * * *", handler="report")
    clock = _Clock(at("2026-01-05T02:00Z"))
    async with jobs:
        await Scheduler(jobs.store, list(jobs.schedules.values()), jobs.occurrence, clock).begin()
        changed = Jobs("memory://", store=jobs.store)
        changed.handler("report")(report)
        changed.cron("nightly", "*/5 * * * *", handler="report")
        clock.now = at("2026-01-05T10:02Z")
        anew = Scheduler(jobs.store, list(changed.schedules.values()), changed.occurrence, clock)
        await anew.begin()
        assert await anew.step() == 30.0
        assert await jobs.store.page(9, state=None, kind=None, before=None) == []
        clock.now = at("2026-01-05T10:05Z")
        await anew.step()
        assert len(await jobs.store.page(9, state=None, kind=None, before=None)) == 1


async def test_a_worker_runs_what_is_scheduled(jobs: Jobs) -> None:
    """Every second, from the worker's own chores."""
    ran: list[int] = []

    @jobs.handler("tick")
    async def tick() -> None:
        ran.append(1)

    jobs.every("tick", "1s")

    async def fired() -> bool:
        return bool(ran)

    async with working(jobs):
        await until(fired)


async def test_a_payload_function_that_raises_does_not_end_the_schedules(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and tried again: the next moment may be a better one."""
    monkeypatch.setattr(staffing, "BROKEN_SECONDS", 0.01)
    asked: list[datetime] = []

    def payload(moment: datetime) -> int:
        asked.append(moment)
        if len(asked) < 3:
            raise RuntimeError("no payload yet")
        return 1

    @jobs.handler("tick")
    async def tick(number: int) -> None: ...

    jobs.every("tick", "1s", payload=payload)

    async def made() -> bool:
        return bool(await jobs.store.page(1, state=None, kind="tick", before=None))

    async with working(jobs):
        await until(made)
    assert sum(record.getMessage() == "worker.chore_failed" for record in caplog.records) == 2
