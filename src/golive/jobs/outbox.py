"""
An outbox: submit a job in a transaction of a database that is not the job store's.

    your transaction: your rows + a row in golive_outbox --> commit
    relay (in a worker): read rows, oldest first --> submit to the store, by their ids --> delete the rows

The job exists if and when your transaction commits, as soon as the relay has come by. A relay that dies after it
submitted and before it deleted submits the same ids again, which the store knows: nothing is made twice. Any database
with a DB-API 2.0 driver will do (MySQL, MariaDB, Oracle, SQL Server, another PostgreSQL); so will a SQLAlchemy
connection, because it lends its driver's.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from golive.errors import ConfigError, GoliveError, UsageError
from golive.jobs import log
from golive.jobs.model import JobId, NewJob
from golive.jobs.ports import JobStore

if TYPE_CHECKING:
    from golive.jobs.app import Jobs

#: Rows of one step: as many as every store takes in one submission.
BATCH_MAX = 100
LOOK_SECONDS = 0.5
RETRY_SECONDS = 5.0

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
#: By DB-API paramstyle, argument number n.
_STYLES = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric": ":{}"}


class _Row(msgspec.Struct, frozen=True):
    """A job on its way, without its id, as the row keeps it."""

    kind: str
    payload: str
    queue: str
    tenant: str
    attempts_max: int
    priority: int
    run_at: float | None
    idempotency_key: str | None
    fingerprint: bytes | None
    webhook: str | None


_decode = msgspec.json.Decoder(_Row).decode


class Outbox:
    """
    See :meth:`golive.jobs.Jobs.outbox`.

    Args:
        jobs: whose handlers the jobs are for.
        connect: makes a DB-API connection to the other database; the relay uses one at a time, in a thread.
        table: its name there; :attr:`schema` creates it.
    """

    def __init__(self, jobs: Jobs, connect: Callable[[], Any], table: str) -> None:
        if not _TABLE.fullmatch(table):
            raise ConfigError(f"jobs.outbox: table: expected letters, digits and _ (at most 48), got {table!r}.")
        self._jobs = jobs
        self._connect = connect
        self._table = table

    @property
    def schema(self) -> str:
        """The table as standard SQL. (MySQL: make the column *job* ``longtext``.)"""
        return f"create table {self._table} (id varchar(36) primary key, job text not null)"

    def submit(
        self, connection: Any, name: str, payload: Any = None, *, tenant: str = "", idempotency_key: str | None = None,
        run_at: datetime | None = None, priority: int = 0, webhook: str | None = None,
    ) -> JobId:  # fmt: skip
        """
        Write a job into the outbox, in the transaction of *connection*, a DB-API connection (or SQLAlchemy's).

        Returns: the id the job will have. The rest as :meth:`golive.jobs.Jobs.submit`, except that a key that was used
        with another payload is noticed by the relay, which drops the row and logs it.
        """
        new = self._jobs.prepare(
            name, payload, tenant=tenant, idempotency_key=idempotency_key, run_at=run_at, priority=priority,
            webhook=webhook,
        )  # fmt: skip
        fields = {field: getattr(new, field) for field in _Row.__struct_fields__} | {"payload": new.payload.decode()}
        raw = _driver(connection)
        sql = f"insert into {self._table} (id, job) values ({_marks(raw, 2)})"  # noqa: S608 - the table was checked
        _execute(raw, sql, (new.id, msgspec.json.encode(_Row(**fields)).decode()))
        return new.id

    async def relay(self) -> int:
        """Move at most :data:`BATCH_MAX` rows into the store; returns how many there were."""
        rows = await asyncio.to_thread(self._read)
        if rows:
            await _submit(self._jobs.store, [_new(id_, text) for id_, text in rows])
            await asyncio.to_thread(self._delete, [id_ for id_, _ in rows])
        return len(rows)

    async def run(self) -> None:
        """Relay until cancelled. A worker does this; the other database may be away for as long as it likes."""
        while True:
            try:
                pause = LOOK_SECONDS if await self.relay() < BATCH_MAX else 0.0
            except asyncio.CancelledError:
                raise
            except Exception as error:  # any driver's
                log.event("outbox.unavailable", level=log.WARNING, table=self._table, reason=str(error)[:300])
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    def _read(self) -> list[tuple[str, str]]:
        with closing(self._connect()) as connection:
            rows = _execute(connection, f"select id, job from {self._table} order by id", (), BATCH_MAX)  # noqa: S608
            connection.rollback()
            return rows

    def _delete(self, ids: Sequence[str]) -> None:
        with closing(self._connect()) as connection:
            for at in ids:
                _execute(connection, f"delete from {self._table} where id = {_marks(connection, 1)}", (at,))  # noqa: S608
            connection.commit()


async def _submit(store: JobStore, news: Sequence[NewJob]) -> None:
    for new, submission in zip(news, await store.submit(news), strict=True):
        if submission.job.fingerprint != new.fingerprint:
            log.event(
                "outbox.key_reused", level=log.ERROR, job_id=new.id, kind=new.kind, stands=submission.job.id,
                reason="its idempotency key was first used with another payload; the row was dropped",
            )  # fmt: skip


def _new(id_: str, text: str) -> NewJob:
    row = _decode(text)
    fields = {name: getattr(row, name) for name in row.__struct_fields__}
    return NewJob(JobId(id_), **fields | {"payload": row.payload.encode()})


def _driver(connection: Any) -> Any:
    """The DB-API connection in *connection*: itself, or what SQLAlchemy's connection or session has on loan."""
    if type(connection).__module__.startswith("sqlalchemy"):
        bound = connection.connection() if hasattr(connection, "flush") else connection
        return bound.connection.dbapi_connection
    if not hasattr(connection, "cursor"):
        raise UsageError(f"outbox: expected a DB-API connection, got {type(connection)}.")
    return connection


def _marks(connection: Any, count: int) -> str:
    module = next(
        (found for each in type(connection).__mro__ if (found := _styled(each.__module__)) is not None), None
    )  # fmt: skip
    style = _STYLES.get(module or "")
    if style is None:
        raise GoliveError(f"outbox: expected a driver with a DB-API paramstyle of {sorted(_STYLES)}, got {module}.")
    return ", ".join(style.format(number) for number in range(1, count + 1))


def _styled(module: str) -> str | None:
    """The paramstyle of the package *module* is in; sqlite3's connection says only ``sqlite3``."""
    for end in (module, module.partition(".")[0]):
        style = getattr(sys.modules.get(end), "paramstyle", None)
        if isinstance(style, str):
            return style
    return None


def _execute(connection: Any, sql: str, arguments: tuple[object, ...], most: int = 0) -> list[Any]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql, arguments)
        return [(row[0], row[1]) for row in cursor.fetchmany(most)] if most else []
