"""Case I20: the record that a request is done commits with the application's own work, or not at all."""

from __future__ import annotations

import asyncio

import asyncpg
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from golive import Chassis, ConfigError
from golive.chassis import ChassisSettings
from golive.errors import UsageError

pytestmark = pytest.mark.process


class Bank:
    """A service that books within a transaction of its own, by one of the usual clients."""

    def __init__(self, url: str, client: str) -> None:
        self.url, self.client = url, client
        self.chassis = Chassis(ChassisSettings(access_log=False, database_url=url, idempotency_store="postgres"))
        self.fails_before = False
        self.pause = 0.0
        self.written = asyncio.Event()
        app = FastAPI()

        @app.post("/bookings", status_code=201)
        @self.chassis.idempotent(lease="300ms")
        async def book():
            await getattr(self, client)()
            return {"booked": True}

        self.app = self.chassis.wrap(app)

    async def asyncpg(self):
        connection = await asyncpg.connect(self.url)
        try:
            async with connection.transaction():
                await self.within(connection)
                await connection.execute("insert into bookings default values")
                await self.end()
        finally:
            await connection.close()

    async def psycopg(self):
        async with await psycopg.AsyncConnection.connect(self.url) as connection, connection.transaction():
            await self.within(connection)
            await connection.execute("insert into bookings default values")
            await self.end()

    async def sqlalchemy(self):
        engine = create_async_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        async with engine.begin() as connection:
            await self.within(connection)
            await connection.execute(text("insert into bookings default values"))
            await self.end()
        await engine.dispose()

    async def within(self, connection):
        await self.chassis.once.within(connection)

    async def end(self):
        self.written.set()
        await asyncio.sleep(self.pause)
        if self.fails_before:
            raise RuntimeError("rolled back")


@pytest.fixture
def booked(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create table bookings (id bigint generated always as identity)")
        yield lambda: connection.execute("select count(*) from bookings").fetchone()[0]


@pytest.fixture
def post(call):
    async def send(bank, key="k"):
        return await call(bank.app, "POST", "/bookings", headers=[(b"idempotency-key", key.encode())])

    return send


async def away(*_):
    raise OSError("away")


@pytest.mark.parametrize("client", ["asyncpg", "psycopg", "sqlalchemy"])
async def test_i20_what_rolls_back_leaves_no_record_and_what_commits_is_never_done_twice(
    post, postgres_url, booked, client
):
    """Also when the process dies between the commit and the answer, and the lease has ended."""
    bank = Bank(postgres_url, client)
    bank.fails_before = True
    assert ((await post(bank)).status, booked()) == (500, 0)
    bank.fails_before = False
    bank.chassis.once.store.finish = bank.chassis.once.store.release = away  # as good as dead after its commit
    assert ((await post(bank)).status, booked()) == (201, 1)
    await asyncio.sleep(0.4)
    bank = Bank(postgres_url, client)
    retry = await post(bank)
    assert (retry.status, retry.json()["detail"], booked()) == (409, "This was done; its answer was not kept.", 1)
    assert [(await post(bank, "other")).status, (await post(bank, "other")).status, booked()] == [201, 201, 2]
    await bank.chassis.once.close()


@pytest.mark.parametrize("client", ["asyncpg", "psycopg", "sqlalchemy"])
async def test_i20_two_runs_of_one_key_commit_once_although_the_lease_passed_on(post, postgres_url, booked, client):
    """The owner of the lease lost its store while it worked; the second run's transaction fails, and it says so."""
    slow, quick = Bank(postgres_url, client), Bank(postgres_url, client)
    slow.pause = 1.0
    slow.chassis.once.store.renew = away
    first = asyncio.create_task(post(slow))
    await slow.written.wait()
    await asyncio.sleep(0.4)
    second = await post(quick)
    assert (second.status, booked()) == (409, 1)
    assert (await first).status == 201
    assert ((await post(quick)).status, booked()) == (409, 1)
    for bank in (slow, quick):
        await bank.chassis.once.close()


async def test_within_says_what_it_cannot_do(post, postgres_url, booked):
    """Without a transaction, with another client, over another store; and does nothing for a request without a key."""
    bank = Bank(postgres_url, "asyncpg")
    connection = await asyncpg.connect(postgres_url)
    await bank.chassis.once.within(connection)
    problems = []

    async def outside(_):
        for wrong in (connection, object()):
            try:
                await bank.chassis.once.within(wrong)
            except UsageError as error:
                problems.append(str(error))
        bank.chassis.once.store, kept = Chassis().once.store, bank.chassis.once.store
        with pytest.raises(ConfigError, match="idempotency_store = postgres"):
            await bank.chassis.once.within(connection)
        bank.chassis.once.store = kept

    bank.within = outside
    assert (await post(bank)).status == 201
    assert ["in a transaction" in problems[0], "got a object" in problems[1]] == [True, True]
    await connection.close()
    await bank.chassis.once.close()
