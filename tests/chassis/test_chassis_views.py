"""Materialised views, refreshed in the background, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import asyncpg
import psycopg
import pytest

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.views import View

pytestmark = pytest.mark.process


@pytest.fixture
def database(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")  # a thousand writes, not a thousand fsyncs
        connection.execute("create table sales (day int, amount int)")
        connection.execute("create materialized view daily as select day, sum(amount) as total from sales group by day")
        connection.execute("create unique index on daily (day)")
        connection.execute("create materialized view keyless as select * from sales")
        yield connection


@pytest.fixture
async def process(postgres_url, database):
    made = []

    def make():
        chassis = Chassis(ChassisSettings(access_log=False, database_url=postgres_url))
        chassis.lines = []
        chassis.log.record = chassis.lines.append
        made.append(chassis)
        return chassis

    yield make
    for chassis in made:
        chassis.stop_background()
        await chassis.pool().close()


def refreshes(database, name="daily"):
    if database.execute("select to_regclass('golive_views')").fetchone()[0] is None:
        return 0
    row = database.execute("select refreshes from golive_views where name = %s", (name,)).fetchone()
    return row[0] if row else 0


async def test_a_thousand_writes_at_three_processes_are_one_refresh_and_one_that_follows(process, database, wait_until):
    """The first at once, the others wait for the time to be over; the last write is in the view in the end."""
    fleet = [process() for _ in range(3)]
    views = [chassis.view("daily", every="1500ms") for chassis in fleet]
    for chassis in fleet:
        chassis.begin_serving()
    await wait_until(lambda: refreshes(database), 1)
    began = time.monotonic()
    for number in range(1000):
        database.execute("insert into sales values (1, 1)")
        views[number % 3].changed()
        if number % 50 == 0:
            await asyncio.sleep(0)
    await wait_until(lambda: database.execute("select total from daily where day = 1").fetchone(), (1000,))
    took = time.monotonic() - began
    assert refreshes(database) <= 2 + took / 1.5
    before = refreshes(database)
    await asyncio.sleep(2)
    assert refreshes(database) <= before + 1, "nothing changed any more"
    total = sum(
        chassis.metrics.counter("mv_refreshes_total", "", ("view", "outcome")).values.get(("daily", "refreshed"), 0)
        for chassis in fleet
    )
    assert total == refreshes(database), "each refresh was one process's"


async def test_readers_are_not_locked_out_and_the_age_is_measured(process, database, wait_until):
    """CONCURRENTLY: a reader in a transaction on the view does not hold the refresh, nor the refresh the reader."""
    chassis = process()
    chassis.view("daily", every="1s", always=True)
    chassis.begin_serving()
    reader = await asyncpg.connect(chassis.pool().url)
    async with reader.transaction():
        await wait_until(lambda: refreshes(database) >= 1, True)
        await reader.fetch("select * from daily")
        before = refreshes(database)
        await wait_until(lambda: refreshes(database) > before, True)
        await reader.fetch("select * from daily")
    await reader.close()
    events = [line for line in chassis.lines if line["event"] == "view_refreshed"]
    assert all(line["concurrently"] for line in events)
    age = chassis.metrics.gauge("mv_last_refresh_age_seconds", "", ("view",))
    assert 0 <= age.values["daily",] < 30


async def test_what_cannot_be_refreshed_is_said_with_its_remedy_and_left_alone(process, database, wait_until):
    """No unique index, no such view: one line each, no retry storm, and the other views go on."""
    chassis = process()
    for name in ("keyless", "missing", "daily"):
        chassis.view(name, every="1s")
    chassis.begin_serving()

    def faults():
        return {line["view"]: line["output"] for line in chassis.lines if line["event"] == "view_not_refreshed"}

    await wait_until(lambda: sorted(faults()), ["keyless", "missing"])
    assert "expected a unique index on keyless" in faults()["keyless"]
    assert "expected a materialised view missing" in faults()["missing"]
    await wait_until(lambda: refreshes(database) >= 1, True)
    await asyncio.sleep(0.5)
    assert len([line for line in chassis.lines if line["event"] == "view_not_refreshed"]) == 2


async def test_a_view_without_a_key_is_refreshed_when_told_that_readers_may_wait(process, database, wait_until):
    """``blocking=True`` is the operator's word."""
    chassis = process()
    view = chassis.view("keyless", every="1s", blocking=True)
    await chassis.pool().execute("insert into sales values (7, 7)")
    chassis.begin_serving()
    view.changed()
    await wait_until(lambda: refreshes(database, "keyless") >= 1, True)
    chassis.stop_background()
    await asyncio.sleep(0)
    assert await chassis.pool().fetchval("select count(*) from keyless") == 1


@pytest.mark.parametrize(
    ("age", "behind", "always", "due"),
    [
        (None, None, False, True), (299, True, False, False), (300, True, False, True), (300, False, False, False),
        (300, None, False, False), (300, False, True, True), (10, True, True, False),
    ],
)  # fmt: skip
def test_a_refresh_is_due_when_something_changed_and_the_last_is_long_enough_ago(age, behind, always, due):
    """Never refreshed is due at once."""
    view = View("daily", timedelta(minutes=5), always=always, blocking=False)
    assert view.is_due(age, behind) is due


@pytest.mark.parametrize("name", ['daily"; drop table sales; --', "Daily", "a.b.c", "", "x" * 64])
def test_what_is_no_name_of_a_view_is_refused(name):
    """It becomes part of a statement."""
    chassis = Chassis(ChassisSettings(database_url="postgresql://h/d"))
    with pytest.raises(ConfigError, match="view: expected a name"):
        chassis.view(name)


def test_a_view_without_a_database_or_with_no_time_is_refused():
    """At import."""
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        Chassis().view("daily")
    with pytest.raises(ConfigError, match="every"):
        Chassis(ChassisSettings(database_url="postgresql://h/d")).view("daily", every="often")
