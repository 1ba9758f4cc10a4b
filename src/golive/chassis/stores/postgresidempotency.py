"""
Idempotency keys in PostgreSQL, shared by every process that uses the database; acknowledged means committed.

One connection for a process. What waits while a round trip is in flight leaves together in the next one (group commit):
75 requests at once cost a handful of commits, not 150.

Transactional mode: :meth:`within` writes a second row in the *application's* transaction. It exists if and when the
application's own work does, so a process that dies between its commit and its answer cannot cause a second run, and a
transaction that rolls back leaves nothing behind. Two runs of one key (the lease had passed on) meet at that row's
primary key: the second one's transaction fails. A row of its own, because the lease's row would be locked for as long
as the application's transaction runs, and every duplicate would wait for it instead of being answered.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from golive.chassis.idempotency import Record
from golive.chassis.stores.grouping import Grouped
from golive.chassis.stores.transactions import DuplicateRowError, insert_within
from golive.db.postgres import Line, migrate

#: Expired rows are removed this often, this many at a time, so that the tables do not grow and no batch stalls.
SWEEP_SECONDS, SWEEP_ROWS = 1.0, 200
#: How often a key whose holder vanished between two snapshots is asked for again.
LOOKS_MAX = 5

SCHEMA = (
    """
    create table golive_idempotency (
        key text primary key, fingerprint bytea not null, owner text not null,
        done boolean not null default false, saved bytea, until timestamptz not null
    );
    create index golive_idempotency_until on golive_idempotency (until);
    create table golive_idempotency_committed (key text primary key, owner text not null, until timestamptz not null);
    create index golive_idempotency_committed_until on golive_idempotency_committed (until);
    """,
)

# Keys in order, so that two processes that ask for the same ones cannot wait for each other.
_BEGIN = """
with asked as (
    select * from unnest($1::text[], $2::bytea[], $3::text[], $4::float8[]) as a(key, fingerprint, owner, lease)
), committed as (
    select c.key, c.owner, c.until from golive_idempotency_committed c join asked using (key) where c.until > now()
), taken as (
    insert into golive_idempotency as held (key, fingerprint, owner, until)
    select key, fingerprint, owner, now() + make_interval(secs => lease) from asked
    where key not in (select key from committed) order by key
    on conflict (key) do update
    set fingerprint = excluded.fingerprint, owner = excluded.owner, done = false, saved = null, until = excluded.until
    where held.until <= now()
    returning key
)
select asked.key, taken.key is not null as mine, held.fingerprint, coalesce(committed.owner, held.owner) as owner,
    coalesce(held.done, false) or committed.key is not null as done, held.saved,
    extract(epoch from coalesce(greatest(held.until, committed.until), held.until, committed.until) - now())::float8
        as left_seconds
from asked left join taken using (key) left join golive_idempotency held using (key) left join committed using (key)
"""

# Only the owner of a key that is not done may touch it: that is the fence. Locked in order, as above.
_HELD = """
with a as (
    select * from unnest($1::text[], $2::text[], $3::float8[], $4::bytea[]) as a(key, owner, seconds, saved)
), locked as (
    select held.key from golive_idempotency held join a using (key)
    where held.owner = a.owner and not held.done order by held.key for update of held
)
"""
_FENCED = "where held.key = a.key and held.owner = a.owner and not held.done returning held.key, held.owner"
_SET_UNTIL = "update golive_idempotency held set until = now() + make_interval(secs => a.seconds)"
_RENEW = f"{_HELD} {_SET_UNTIL} from a join locked using (key) {_FENCED}"
_FINISH = f"{_HELD} {_SET_UNTIL}, done = true, saved = a.saved from a join locked using (key) {_FENCED}"
_RELEASE = f"{_HELD} delete from golive_idempotency held using a join locked using (key) {_FENCED}"  # noqa: S608  # constants

_SWEEP = """
delete from {table} where key in (
    select key from {table} where until <= now() - interval '1 second' order by until limit {rows}
    for update skip locked)
"""
_COMMIT = (
    "insert into golive_idempotency_committed (key, owner, until) "
    "values ({0}, {1}, now() + make_interval(secs => cast({2} as double precision)))"
)

_Begin = tuple[str, bytes, str, float]
_Change = tuple[str, str, float, bytes | None]


class PostgresIdempotencyStore:
    """
    See :class:`golive.chassis.idempotency.IdempotencyStore`.

    Args:
        url: the database; its tables are made when first used.
    Raises: ConfigError when asyncpg is not installed.
    """

    bounded = False

    def __init__(self, url: str) -> None:
        self._line = Line(url)
        self._ready = False
        self._swept_at = 0.0
        self._begins: Grouped[_Begin, Record] = Grouped(self._begin_all, lambda piece: piece[0])
        self._renews = self._changes(_RENEW)
        self._finishes = self._changes(_FINISH)
        self._releases = self._changes(_RELEASE)

    async def begin(self, key: str, fingerprint: bytes, owner: str, lease_seconds: float) -> Record:
        """See the protocol."""
        return await self._begins.add((key, fingerprint, owner, lease_seconds))

    async def renew(self, key: str, owner: str, lease_seconds: float) -> bool:
        """See the protocol."""
        return await self._renews.add((key, owner, lease_seconds, None))

    async def finish(self, key: str, owner: str, saved: bytes | None, ttl_seconds: float) -> bool:
        """See the protocol."""
        return await self._finishes.add((key, owner, ttl_seconds, saved))

    async def release(self, key: str, owner: str) -> None:
        """See the protocol."""
        await self._releases.add((key, owner, 0.0, None))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._line.close()

    async def within(self, connection: Any, key: str, owner: str, ttl_seconds: float) -> bool:
        """
        Write in the caller's transaction that *key* is done; False when it was already, and the caller must roll back.

        Args:
            connection: asyncpg, psycopg or SQLAlchemy (async), to the database of this store, in a transaction.
        Raises: UsageError when it is none of these, or not in a transaction.
        """
        try:
            await insert_within(connection, _COMMIT, (key, owner, ttl_seconds))
        except DuplicateRowError:
            return False
        return True

    def _changes(self, statement: str) -> Grouped[_Change, bool]:
        async def change_all(pieces: Sequence[_Change]) -> Sequence[bool]:
            columns = [list(column) for column in zip(*pieces, strict=True)]
            rows = await self._fetch(statement, columns)
            changed = {(row["key"], row["owner"]) for row in rows}
            return [(key, owner) in changed for key, owner, _, _ in pieces]

        return Grouped(change_all, lambda piece: piece[:2])

    async def _begin_all(self, pieces: Sequence[_Begin]) -> Sequence[Record]:
        found: dict[str, Record] = {}
        left = {piece[0]: piece for piece in pieces}
        for _ in range(LOOKS_MAX):
            columns = [list(column) for column in zip(*left.values(), strict=True)]
            for row in await self._fetch(_BEGIN, columns):
                key = row["key"]
                record = _record(row, left[key])
                if record is not None:  # else committed by another process after our snapshot: look again
                    found[key] = record
                    del left[key]
            if not left:
                break
        if left:
            raise TimeoutError(f"{len(left)} keys changed hands {LOOKS_MAX} times while they were asked for")
        return [found[piece[0]] for piece in pieces]

    async def _fetch(self, statement: str, columns: list[list[Any]]) -> Any:
        async def work(connection: Any) -> Any:
            await self._sweep(connection)
            return await connection.fetch(statement, *columns)

        await self._prepare()
        return await self._line.run(work)

    async def _prepare(self) -> None:
        if not self._ready:
            await migrate(self._line, SCHEMA, "idempotency")
            self._ready = True

    async def _sweep(self, connection: Any) -> None:
        if time.monotonic() - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = time.monotonic()
        for table in ("golive_idempotency", "golive_idempotency_committed"):
            await connection.execute(_SWEEP.format(table=table, rows=SWEEP_ROWS))


def _record(row: Any, asked: _Begin) -> Record | None:
    """What a row says about the key; a key that was committed and whose lease is gone has the asker's fingerprint."""
    _, fingerprint, owner, lease_seconds = asked
    if row["mine"]:
        return Record(fingerprint, owner, True, False, None, lease_seconds)
    if row["owner"] is None:
        return None
    return Record(
        row["fingerprint"] or fingerprint, row["owner"], False, row["done"], row["saved"], row["left_seconds"]
    )
