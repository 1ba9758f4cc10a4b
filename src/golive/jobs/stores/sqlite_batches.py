"""
The hot path of the SQLite store: many rows, one statement, and one row back.

Python's sqlite3 lets go of the interpreter's lock around every step of a statement, and waits up to five milliseconds
to get it back while the event loop is busy. So what counts here is not the work of SQLite but the number of steps: a
batch is inserted by one multi-row statement, claimed and settled by two, whatever its size. Statements come in a few
sizes, powers of two, so that all of them are compiled once and then cached.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from golive.db.sqlite import Connection
from golive.jobs.model import Claim, JobId, NewJob, Settlement

#: Rows in one statement: below SQLite's limit of 32,766 parameters, and compiled within a millisecond.
ROWS_MAX = 256

_INSERTED = (
    "insert into $table (id, kind, queue, tenant, state, priority, run_at, attempts_max, payload, created_at, "
    "idempotency_key, fingerprint, webhook) values $rows on conflict do nothing"
)
_ROW = "(?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?, ?)"

#: ``json_array`` would round the instants; 17 digits give the same float back.
_CHOSEN = (
    "select json_group_array(json_array(id, kind, queue, tenant, attempts + 1, attempts_max, payload, "
    "printf('%!.17g', created_at), fence + 1, printf('%!.17g', run_at))) from ("
    "select job.* from ($due) as due cross join $table as job on job.id = due.id "
    "order by due.priority, due.run_at, due.id)"
)
_TAKEN = (
    "update $table set state = 'running', attempts = attempts + 1, fence = fence + 1, worker = ?, lease_until = ?, "
    "version = ?, started_at = ? where id in ($places)"
)

_ENDED = "with ended (place, id, worker, fence, result) as (values $rows) "
_HELD = (
    "from ended cross join $table as job on job.id = ended.id "
    "where job.worker = ended.worker and job.fence = ended.fence and job.state = 'running'"
)
_ACCEPTED = f"{_ENDED} select json_group_array(json_array(place, kind, coalesce(version, ''))) {_HELD}"
_SUCCEEDED = (
    "$ended update $table set state = 'succeeded', result = ended.result, finished_at = ?, lease_until = null "
    "from ended where $table.id = ended.id and $table.worker = ended.worker and $table.fence = ended.fence "
    "and +$table.state = 'running'"
).replace("$ended", _ENDED)

_decode_claims = msgspec.json.Decoder(list[tuple[str, str, str, str, int, int, str, str, int, str]]).decode
_decode_accepted = msgspec.json.Decoder(list[tuple[int, str, str]]).decode

#: What is counted for one success: (version, kind, place in the batch).
Success = tuple[str, str, int]


class Batches:
    """The statements of one table. *sql* puts its name into a text."""

    def __init__(self, sql: Callable[[str], str]) -> None:
        self._sql = sql
        self._insert = _sizes(lambda rows: sql(_INSERTED.replace("$rows", ", ".join([_ROW] * rows))))
        self._taken = _sizes(lambda rows: sql(_TAKEN.replace("$places", ", ".join("?" * rows))))
        values = _sizes(lambda rows: ", ".join(["(?, ?, ?, ?, ?)"] * rows))
        self._accepted = {rows: sql(_ACCEPTED.replace("$rows", text)) for rows, text in values.items()}
        self._succeeded = {rows: sql(_SUCCEEDED.replace("$rows", text)) for rows, text in values.items()}

    def insert(self, connection: Connection | sqlite3.Cursor, jobs: Sequence[NewJob], now: float) -> bool:
        """All of *jobs*, or none and False if one of them, or one with its key, is there already."""
        connection.execute("savepoint golive_batch")
        for start, size in _chunks(len(jobs)):
            values = [value for job in jobs[start : start + size] for value in _row(job, now)]
            if connection.execute(self._insert[size], values).rowcount < size:
                connection.execute("rollback to golive_batch")
                connection.execute("release golive_batch")
                return False
        connection.execute("release golive_batch")
        return True

    def claim(
        self, connection: Connection, due: str, wanted: Sequence[Any], *, worker: str, version: str | None, now: float,
        lease_until: float,
    ) -> list[Claim]:  # fmt: skip
        """The jobs *due* finds (a query for id, priority and run_at, with *wanted* as its values), now *worker*'s."""
        found = connection.execute(self._sql(_CHOSEN.replace("$due", due)), wanted).fetchone()[0]
        claims = [
            Claim(JobId(id_), kind, queue, tenant, attempts, most, payload.encode(), float(created_at), worker, fence,
                  now - float(run_at))
            for id_, kind, queue, tenant, attempts, most, payload, created_at, fence, run_at in _decode_claims(found)
        ]  # fmt: skip
        for start, size in _chunks(len(claims)):
            ids = [claim.id for claim in claims[start : start + size]]
            connection.execute(self._taken[size], (worker, lease_until, version, now, *ids))
        return claims

    def succeed(
        self, connection: Connection, settlements: Sequence[Settlement], now: float
    ) -> Iterator[Success]:  # fmt: skip
        """Those of *settlements*, no two of one claim, that were still held; they are now succeeded."""
        for start, size in _chunks(len(settlements)):
            values = [
                value
                for place, each in enumerate(settlements[start : start + size], start)
                for value in (
                    place, each.id, each.worker, each.fence, None if each.result is None else each.result.decode()
                )
            ]  # fmt: skip
            accepted = _decode_accepted(connection.execute(self._accepted[size], values).fetchone()[0])
            connection.execute(self._succeeded[size], (*values, now))
            yield from ((version, kind, place) for place, kind, version in accepted)


class Counts:
    """Runs that ended alike, added up before they are written: a batch has few kinds and durations."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, str, str, int]] = Counter()
        self.seconds: defaultdict[tuple[str, str, str, int], float] = defaultdict(float)

    def add(self, key: tuple[str, str, str, int], seconds: float) -> None:
        """One run of (version, kind, end, bucket)."""
        self.runs[key] += 1
        self.seconds[key] += seconds


def _row(job: NewJob, now: float) -> tuple[Any, ...]:
    return (
        job.id, job.kind, job.queue, job.tenant, job.priority, now if job.run_at is None else job.run_at,
        job.attempts_max, job.payload.decode(), now, job.idempotency_key, job.fingerprint, job.webhook,
    )  # fmt: skip


def _sizes(text: Callable[[int], str]) -> dict[int, str]:
    return {size: text(size) for size in (2**power for power in range(ROWS_MAX.bit_length()))}


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    """(start, size) of the pieces *count* falls into."""
    start = 0
    while start < count:
        size = min(ROWS_MAX, 1 << ((count - start).bit_length() - 1))
        yield start, size
        start += size
