"""The pool (cases P1 to P3) on a real PostgreSQL: bounded, measured, and honest when the database is away."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

import psycopg
import pytest
from fastapi import FastAPI

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.chassis.pool import budget_fault
from golive.chassis.slowqueries import shape
from golive.errors import TryLaterError

pytestmark = pytest.mark.process


class Service:
    """A service with a pool of two connections."""

    def __init__(self, url, **settings) -> None:
        given = {"db_pool_max": 2, "db_connect_timeout": timedelta(seconds=0.3), **settings}
        self.lines = []
        self.chassis = Chassis(ChassisSettings(access_log=False, database_url=url, **given))
        self.chassis.log.record = self.lines.append
        self.pool = self.chassis.pool()
        self.release = asyncio.Event()
        app = FastAPI()

        @app.get("/hold/{item}")
        async def hold(item: str):
            async with self.pool.acquire() as connection:
                await self.release.wait()
                return await connection.fetchval("select 1")

        @app.get("/query")
        async def query(statement: str):
            return str(await self.pool.fetchval(statement))

        self.app = self.chassis.wrap(app)

    def metric(self, name, *labels, **more):
        family = next(family for family in self.chassis.metrics if family.name == name)
        return family.values.get(labels or ("db",), 0.0)

    def logged(self, event):
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
async def service(postgres_url):
    made = []

    def make(**settings):
        made.append(Service(postgres_url, **settings))
        return made[-1]

    yield make
    for each in made:
        each.release.set()
        await each.pool.close()
        each.chassis.stop_background()


async def test_p1_a_pool_that_is_exhausted_shows_and_answers_503(call, service, wait_until):
    """Who waits is counted; who waits too long comes back later, and it is no error of ours."""
    shop = service()
    holding = [asyncio.create_task(call(shop.app, path=f"/hold/{n}")) for n in range(2)]
    await wait_until(lambda: shop.metric("db_pool_in_use"), 2)
    waiting = asyncio.create_task(call(shop.app, path="/query", query=b"statement=select+2"))
    await wait_until(lambda: shop.metric("db_pool_waiting"), 1)
    refused = await waiting
    assert (refused.status, refused.headers["content-type"]) == (503, "application/problem+json")
    assert (refused.headers["retry-after"], refused.json()["detail"]) == ("1", "The database is not available.")
    assert shop.metric("db_pool_timeouts_total") >= 1
    assert not shop.logged("unhandled_exception")
    await shop.pool.check()  # busy is not away
    shop.release.set()
    assert [(await task).status for task in holding] == [200, 200]
    assert (shop.metric("db_pool_in_use"), shop.metric("db_pool_waiting")) == (0, 0)


async def test_p3_a_connection_held_too_long_is_reported_once_with_its_route(call, service, wait_until):
    """Template and request, and the line of code that took it; no address of a person in it."""
    shop = service(db_held_max=timedelta(milliseconds=100))
    task = asyncio.create_task(call(shop.app, path="/hold/jane", headers=[(b"x-request-id", b"r-1")]))
    await wait_until(lambda: bool(shop.logged("db_connection_held")), True)
    await asyncio.sleep(1.2)
    (line,) = shop.logged("db_connection_held")
    assert (line["route"], line["request_id"], line["where"].startswith("test_chassis_pool.py:")) == (
        "/hold/{item}", "r-1", True,
    )  # fmt: skip
    assert shop.metric("db_connections_held_too_long_total", "db", "/hold/{item}") == 1
    shop.release.set()
    await task


async def test_slow_statements_are_logged_by_shape_without_their_values_and_not_without_end(call, service):
    """Ten a minute of one shape; the counter knows them all; every statement is in the histogram."""
    shop = service(db_slow_query=timedelta(milliseconds=1))
    for number in range(14):
        statement = f"select+pg_sleep(0.00{number % 7 + 3}),+'secret{number}'"
        assert (await call(shop.app, path="/query", query=f"statement={statement}".encode())).status == 200
    await asyncio.sleep(0)
    lines = [line for line in shop.logged("slow_query") if "pg_sleep" in line["statement"]]
    assert len(lines) == 10
    assert {line["statement"] for line in lines} == {"select pg_sleep(?), ?"}
    assert lines[0]["route"] == "/query"
    assert not any("secret" in str(line) for line in shop.lines)
    assert shop.metric("db_queries_slow_total") >= 14
    assert sum(shop.metric("db_query_duration_seconds").counts) >= 14


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("select 1", "select ?"),
        ("SELECT *\n FROM t  WHERE a='it''s' AND b = -1.5e3", "SELECT * FROM t WHERE a=? AND b = -?e3"),
        ("select $1, col2 from t3", "select $1, col2 from t3"),
        ("select $$ body 7 $$", "select ?"),
        ("x" * 900, "x" * 500),
    ],
)
def test_the_shape_of_a_statement_has_no_values(statement, expected):
    """Parameters and names stay."""
    if "e3" in expected:
        assert "it" not in shape(statement)
    else:
        assert shape(statement) == expected


async def test_a_database_that_is_away_is_503_and_not_ready_and_comes_back(call, service, postgres_url):
    """Backends killed under us: the statement is 503, the next one has a new connection."""
    shop = service()
    assert (await call(shop.app, path="/query", query=b"statement=select+1")).status == 200
    killing = "select pg_terminate_backend(pg_backend_pid())"
    dying = await call(shop.app, path="/query", query=f"statement={killing.replace(' ', '+')}".encode())
    assert (dying.status, dying.json()["detail"]) == (503, "The database is not available.")
    assert (await call(shop.app, path="/query", query=b"statement=select+1")).status == 200
    bug = await call(shop.app, path="/query", query=b"statement=selct")
    assert bug.status == 500, "a mistake of the application stays one"
    nowhere = Service("postgresql://u:hunter2@127.0.0.1:1/none")
    refused = await call(nowhere.app, path="/query", query=b"statement=select+1")
    assert (refused.status, "hunter2" in str(nowhere.lines)) == (503, False)
    with pytest.raises(TryLaterError, match="expected a connection within"):
        await nowhere.pool.check()


async def test_a_statement_that_takes_too_long_is_503_and_a_timeout_of_the_app_is_its_own(call, service):
    """``db_statement_timeout`` is the database's fault, ``asyncio.timeout`` in a handler is not."""
    shop = service(db_statement_timeout=timedelta(milliseconds=200))
    assert (await call(shop.app, path="/query", query=b"statement=select+pg_sleep(5)")).status == 503
    with pytest.raises(TimeoutError):
        async with shop.pool.acquire() as connection, asyncio.timeout(0.05):
            await asyncio.sleep(1)
            await connection.fetch("select 1")
    assert await shop.pool.fetchval("select 2") == 2


async def test_2000_requests_of_which_a_tenth_fail_leave_no_connection_behind(call, service, postgres_url, wait_until):
    """The most is never passed, and everything is given back."""
    shop = service(service="two-thousand", db_connect_timeout=timedelta(seconds=20))
    with psycopg.connect(postgres_url, autocommit=True) as watching:
        count = "select count(*) from pg_stat_activity where application_name = 'two-thousand'"

        async def one(number):
            return await call(
                shop.app, path="/query", query=b"statement=" + (b"selct" if number % 10 == 0 else b"select+1")
            )

        most = 0
        for start in range(0, 2000, 100):
            answers = await asyncio.gather(*(one(start + number) for number in range(100)))
            most = max(most, watching.execute(count).fetchone()[0])
            assert [answer.status for answer in answers].count(200) == 90
        assert (most, shop.metric("db_pool_in_use"), shop.metric("db_pool_waiting")) == (2, 0, 0)
        await shop.pool.close()  # says goodbye; the server's processes end a moment later, on a busy machine a long one
        await wait_until(lambda: watching.execute(count).fetchone()[0], 0)


async def test_a_pool_that_closes_waits_for_who_still_holds_a_connection(call, service, wait_until):
    """A request in flight at the end of the process is answered whole."""
    shop = service()
    holding = asyncio.create_task(call(shop.app, path="/hold/1"))
    await wait_until(lambda: shop.metric("db_pool_in_use"), 1)
    closing = asyncio.create_task(shop.pool.close(timeout=30))
    await asyncio.sleep(0.05)
    shop.release.set()
    await asyncio.wait_for(closing, 10)
    assert (await holding).status == 200


async def test_a_transaction_commits_on_the_way_out_and_rolls_back_when_anything_is_raised(service):
    """As one would expect, and the connection is given back both times."""
    pool = service().pool
    await pool.execute("create table kept (n int)")
    async with pool.transaction() as connection:
        await connection.execute("insert into kept values (1)")
    with pytest.raises(ZeroDivisionError):
        async with pool.transaction() as connection:
            await connection.execute("insert into kept values (2)")
            _ = 1 / 0
    assert [row["n"] for row in await pool.fetch("select n from kept")] == [1]
    assert (await pool.fetchrow("select n from kept"))["n"] == 1


async def test_p2_pools_that_do_not_fit_into_the_server_are_said_at_the_first_connection(service):
    """pool_max x processes x replicas against max_connections without the reserve."""
    shop = service(db_processes=10, db_replicas=10)
    await shop.pool.check()
    (line,) = shop.logged("db_pool_budget")
    assert "2 x 10 x 10 = 200" in line["message"]
    assert shop.pool.budget == line["message"]
    assert shop.metric("db_server_connections_max") == 100
    assert shop.metric("db_server_connections") >= 1
    assert budget_fault(20, 1, 4, 100, 3) == ""
    assert "expected pool_max x processes x replicas <= 97" in budget_fault(25, 2, 2, 100, 3)


async def test_readiness_follows_the_database_by_itself(call, service, wait_until):
    """``chassis.pool()`` registers the check; the first connection is made by it."""
    shop = service()
    shop.chassis.begin_serving()

    async def ready():
        return (await call(shop.app, path="/health/ready")).status

    await wait_until(ready, 200)
    assert (await call(shop.app, path="/health/ready")).json()["checks"]["db"][0]["status"] == "pass"


async def test_the_database_says_what_it_is_and_how_full_the_pool_and_never_where_it_is(
    call, service, wait_until, postgres_url
):
    """``/api/db/info``: engine, version, connections and the migration's head; no host, no user, no URL."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "create table alembic_version (version_num text); insert into alembic_version values ('ae1')"
        )
    shop = service()
    shop.chassis.begin_serving()

    async def head():
        return (await call(shop.app, path="/api/db/info")).json().get("details", {}).get("db", {}).get("migration_head")

    await wait_until(head, "ae1")
    answer = await call(shop.app, path="/api/db/info")
    told = answer.json()
    assert (answer.status, told["ok"], told["pools"]) == (200, True, {"db": "pass"})
    version = told["details"]["db"].pop("server_version")
    assert int(version.partition(".")[0]) >= 12
    assert told["details"]["db"] == {
        "engine": "postgresql", "migration_head": "ae1", "size": 1, "in_use": 0, "waiting": 0, "max": 2,
    }  # fmt: skip
    assert not any(part in answer.body.decode() for part in ("://", "host", "user", str(postgres_url)))


async def test_an_idle_connection_is_closed_after_its_time_and_the_pool_shrinks_to_its_least(
    service, wait_until, postgres_url
):
    """``PG_MIN=0`` leaves none; with one to keep it stays."""
    gone = service(db_idle_timeout=timedelta(milliseconds=200), db_pool_min=0, service="gone")
    kept = service(db_idle_timeout=timedelta(milliseconds=200), db_pool_min=1, service="kept")
    for shop in (gone, kept):
        async with shop.pool.acquire() as one, shop.pool.acquire() as two:
            assert await one.fetchval("select 1") == await two.fetchval("select 1")

    def connected() -> list[tuple[str, int]]:
        with psycopg.connect(postgres_url) as connection:
            asked = (
                "select application_name, count(*) from pg_stat_activity where application_name = any(%s) group by 1"
            )
            return connection.execute(asked, [["gone", "kept"]]).fetchall()

    await wait_until(connected, [("kept", 1)])


def test_a_pool_without_a_database_names_the_variable_and_one_name_is_one_pool():
    """At import; the URL is shown nowhere."""
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        Chassis().pool()
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        Chassis(ChassisSettings(database_url="mysql://u:p@h/d")).pool()
    url = "postgresql+asyncpg://u:hunter2@h/d"
    chassis = Chassis(ChassisSettings(database_url=url))
    assert chassis.pool() is chassis.pool()
    assert chassis.pool() is not chassis.pool(name="reports")
    assert "hunter2" not in repr(chassis.settings)


def test_the_seeds_names_of_the_pool_are_read_and_must_agree():
    """PG_MAX of one document, DB_POOL_MAX of another."""
    read = ChassisSettings.from_env(
        {"PG_MAX": "2", "PG_MIN": "0", "PG_IDLE_TIMEOUT_MS": "30000", "PG_CONNECTION_TIMEOUT_MS": "3000"}
    )
    assert (read.db_pool_max, read.db_pool_min) == (2, 0)
    assert (read.db_idle_timeout.total_seconds(), read.db_connect_timeout.total_seconds()) == (30, 3)
    read = ChassisSettings.from_env({"DB_POOL_MAX": "20", "DB_POOL_MIN": "2"})
    assert (read.db_pool_max, read.db_pool_min) == (20, 2)
    with pytest.raises(ConfigError, match="DB_POOL_MAX: disagrees with PG_MAX"):
        ChassisSettings.from_env({"PG_MAX": "2", "DB_POOL_MAX": "20"})
    with pytest.raises(ConfigError) as caught:
        ChassisSettings.from_env({"DB_POOL_MIN": "9", "DATABASE_SOURCE": "oracle"})
    assert caught.value.faults == (
        "DB_POOL_MIN: expected 0 to db_pool_max (5), got 9.",
        "DATABASE_SOURCE: expected postgres or sqlite, got 'oracle'.",
    )
    with pytest.raises(ConfigError, match="database_url: expected a PostgreSQL URL, because database_source"):
        ChassisSettings.from_env({"DATABASE_SOURCE": "postgres"})


async def test_a_server_that_is_frozen_costs_a_request_its_time_out_and_no_more(call, service, postgres_server):
    """Blackholed: 503 after ``db_connect_timeout`` for a new connection; the loop runs on."""
    shop = service(db_statement_timeout=timedelta(milliseconds=300))
    pid = int((postgres_server.pgdata / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        assert (await call(shop.app, path="/query", query=b"statement=select+1")).status == 503
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (await call(shop.app, path="/query", query=b"statement=select+1")).status == 200
