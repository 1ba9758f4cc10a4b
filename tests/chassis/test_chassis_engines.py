"""A SQLAlchemy engine under watch, sync and async, on a real PostgreSQL: it tells what the chassis' own pool tells."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.errors import TryLaterError

pytestmark = pytest.mark.process


class Shop:
    """A service around an engine of two connections, sync or async."""

    def __init__(self, url: str, *, sync: bool, **settings: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self.chassis = Chassis(ChassisSettings(access_log=False, **settings))
        self.chassis.log.record = self.lines.append  # type: ignore[method-assign]
        options = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 1.0}
        driver = "postgresql+psycopg" if sync else "postgresql+asyncpg"
        make: Any = create_engine if sync else create_async_engine
        self.engine = self.chassis.watch(make(url.replace("postgresql", driver, 1), **options))
        self.release = threading.Event()
        self.release.set()
        self.watched = self.chassis.engines["db"]
        app = FastAPI()
        if sync:

            @app.get("/hold/{seconds}")
            def hold(seconds: float) -> int:
                with self.engine.connect() as connection:
                    connection.execute(text("select 1"))
                    self.release.wait(20)
                    connection.execute(text("select pg_sleep(:seconds)"), {"seconds": seconds})
                    return int(connection.execute(text("select 1")).scalar_one())

        else:

            @app.get("/hold/{seconds}")
            async def hold_async(seconds: float) -> int:
                async with self.engine.connect() as connection:
                    await connection.execute(text("select 1"))
                    while not self.release.is_set():  # noqa: ASYNC110 - one event for threads and tasks
                        await asyncio.sleep(0.005)
                    await connection.execute(text("select pg_sleep(:seconds)"), {"seconds": seconds})
                    return int((await connection.execute(text("select 1"))).scalar_one())

        self.app = self.chassis.wrap(app)

    def metric(self, name: str, *labels: str) -> float:
        family: Any = next(family for family in self.chassis.metrics if family.name == name)
        return float(family.values.get(labels or ("db",), 0.0))

    async def close(self) -> None:
        self.chassis.stop_background()
        closed = self.engine.dispose()
        if closed is not None:
            await closed


@pytest.fixture(params=["sync", "async"])
async def shop(request: Any, postgres_url: str) -> Any:
    made: list[Shop] = []

    def make(**settings: Any) -> Shop:
        made.append(Shop(postgres_url, sync=request.param == "sync", **settings))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_an_exhausted_engine_shows_and_answers_503(call: Any, shop: Any, wait_until: Any):
    """Two in use, others wait; who waits too long comes back later, and everything returns to nothing."""
    service = shop()
    service.release.clear()
    asked = [asyncio.create_task(call(service.app, path="/hold/0")) for _ in range(2)]
    await wait_until(lambda: service.metric("db_pool_in_use"), 2.0)
    asked += [asyncio.create_task(call(service.app, path="/hold/0")) for _ in range(2)]
    await wait_until(lambda: service.metric("db_pool_waiting") >= 2, True)
    await wait_until(lambda: service.metric("db_pool_timeouts_total") >= 2, True)  # the check may wait as well
    service.release.set()
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status for answer in answers) == [200, 200, 503, 503]
    refused = next(answer for answer in answers if answer.status == 503)
    assert (refused.headers["retry-after"], refused.json()["status"]) == ("1", 503)
    told = [service.metric(name) for name in ("db_pool_in_use", "db_pool_waiting", "db_pool_size", "db_pool_size_max")]
    assert told == [0, 0, 2, 2]
    family: Any = next(family for family in service.chassis.metrics if family.name == "db_query_duration_seconds")
    assert sum(family.series("db").counts) >= 4


async def test_slow_statements_and_long_holds_are_told_without_values(call: Any, shop: Any):
    """With the route; the value that was bound is nowhere."""
    service = shop(db_slow_query=timedelta(milliseconds=100), db_held_max=timedelta(milliseconds=100))
    assert (await call(service.app, path="/hold/0.2")).status == 200
    (slow,) = [line for line in service.lines if line["event"] == "slow_query"]
    assert slow["route"] == "/hold/{seconds}"
    assert "0.2" not in slow["statement"]
    (held,) = [line for line in service.lines if line["event"] == "db_connection_held"]
    assert (held["route"], held["pool"]) == ("/hold/{seconds}", "db")
    assert service.metric("db_queries_slow_total") == 1


async def test_readiness_and_budget_come_with_it_and_a_new_pool_is_watched_too(call: Any, shop: Any, wait_until: Any):
    """``dispose()`` gives an engine another pool."""
    service = shop(db_replicas=1000, version="v7")
    service.chassis.begin_serving()

    async def ready() -> int:
        return int((await call(service.app, path="/health/ready")).status)

    await wait_until(ready, 200)
    told = (await call(service.app, path="/api/db/info")).json()["details"]["db"]
    assert (told["engine"], told["max"]) == ("postgresql", 2)
    assert "2 x 1 x 1000 = 2000" in service.watched.budget
    assert any("2 x 1 x 1000 = 2000" in warning for warning in service.chassis.report()["warnings"])
    closed = service.engine.dispose()
    if closed is not None:
        await closed
    assert (await call(service.app, path="/hold/0")).status == 200
    assert (service.metric("db_pool_in_use"), service.metric("db_pool_size")) == (0, 1)


def test_who_catches_sqlalchemys_time_out_still_does(postgres_url: str):
    """The exception is both; a name is one pool."""
    chassis = Chassis()
    url = postgres_url.replace("postgresql", "postgresql+psycopg", 1)
    engine = chassis.watch(create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.01), name="one")
    with engine.connect(), pytest.raises(sqlalchemy.exc.TimeoutError) as caught:
        engine.connect()
    assert isinstance(caught.value, TryLaterError)
    assert "engine one: expected a connection within its pool_timeout, got none: 1 of 1 are in use" in str(caught.value)
    with pytest.raises(ConfigError, match="watch: expected a name that no pool has"):
        chassis.watch(engine, name="one")
    engine.dispose()


def test_an_engine_without_a_limit_is_timed_and_nothing_else():
    """SQLite in memory."""
    chassis = Chassis()
    engine = chassis.watch(create_engine("sqlite://"), name="near")
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1
        with pytest.raises(sqlalchemy.exc.OperationalError):
            connection.execute(text("select nonsense from nowhere"))
    assert chassis.engines["near"].size_max == 0
    family: Any = next(family for family in chassis.metrics if family.name == "db_query_duration_seconds")
    assert sum(family.series("near").counts) == 2
    engine.dispose()


def test_a_connection_that_is_detached_is_out_of_the_pool_and_its_name_is_taken(tmp_path: Any):
    """The pool opens another in its place; a pool of the same name would mix two in one series."""
    chassis = Chassis()
    engine = chassis.watch(
        create_engine(f"sqlite:///{tmp_path}/near.db", poolclass=sqlalchemy.pool.QueuePool, pool_size=1, max_overflow=0)
    )
    with engine.connect() as connection:
        connection.detach()
        assert _about(chassis) == (1, 0)
        with engine.connect():
            assert _about(chassis) == (2, 1)
    assert _about(chassis) == (1, 0)
    with pytest.raises(ConfigError, match="pool: expected a name that no watched engine has, got 'db'"):
        chassis.pool("postgresql://nobody@127.0.0.1:1/none")
    engine.dispose()


def _about(chassis: Chassis) -> tuple[int, int]:
    """Connections there are, and those in use."""
    about = chassis.engines["db"]._about()
    return about["size"], about["in_use"]
