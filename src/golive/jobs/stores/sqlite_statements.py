"""
The SQL of the SQLite store: one function per operation, each inside a transaction its caller opened.

Every function is safe to repeat from the start. The table refuses states the machine does not know, and moves it does
not allow, by a check and a trigger rendered from :mod:`golive.jobs.machine`: no other program can bend a job either.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from golive.db.sqlite import Connection
from golive.jobs.machine import LEGAL_MOVES, Event, State, after_expiry, move
from golive.jobs.model import (
    Claim,
    Demand,
    Failure,
    Job,
    JobId,
    NewJob,
    Progress,
    Rescue,
    Schedule,
    Settlement,
    Submission,
    Waiting,
    pending,
)
from golive.jobs.split import Split, may_claim, shut_out
from golive.jobs.stores.sqlite_batches import Batches, Counts
from golive.jobs.stores.sqlite_limits import LIMITS, LimitedClaims
from golive.jobs.stores.sqlite_upkeep import COSTS, HOOKS, WAITING, Upkeep
from golive.jobs.tally import KEPT_SECONDS, RunEnd, RunTally, duration_bucket, run_end, tallies

_SCHEMA = """
    create table $table (
        id text primary key,
        kind text not null,
        queue text not null,
        tenant text not null,
        state text not null check (state in ($states)),
        priority integer not null,
        run_at real not null,
        attempts integer not null default 0,
        attempts_max integer not null check (attempts_max >= 1),
        payload text not null,
        created_at real not null,
        idempotency_key text,
        fingerprint blob,
        worker text,
        version text,
        started_at real,
        finished_at real,
        result text,
        failure text,
        fence integer not null default 0,
        lease_until real,
        check ((state = 'running') = (lease_until is not null)),
        check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null))
    ) without rowid;
    create index $table_pending on $table (queue, kind, priority, run_at, id) where state = 'pending';
    create index $table_running on $table (lease_until) where state = 'running';
    create index $table_failed on $table (queue, finished_at) where state = 'failed';
    create unique index $table_key on $table (tenant, kind, idempotency_key) where idempotency_key is not null;
    create trigger $table_moves before update of state on $table
        when old.state || '>' || new.state not in ($moves)
        begin select raise(abort, 'illegal job transition'); end;
"""

_CANCEL_AND_PROGRESS = """
    alter table $table add column progress text;
    alter table $table add column cancel_requested integer not null default 0;
    create index $table_dead on $table (id) where state = 'failed';
"""

_SPLIT_AND_RUNS = """
    create table $table_control (name text primary key, value text not null) without rowid;
    create table $table_runs (
        version text not null, kind text not null, run_end text not null, bucket integer not null,
        runs integer not null, seconds real not null, updated_at real not null,
        primary key (version, kind, run_end, bucket)
    ) without rowid;
"""

_PAGE = (
    "select $job from $table $by where $state and (?1 is null or kind = ?1) and id < ?2 and (?4 is null or queue = ?4) "
    "and (?5 is null or tenant = ?5) order by id desc limit ?3"
)

#: What one demand finds.
_DUE = (
    "select * from (select id, priority, run_at from $table where state = 'pending' and queue = ? and kind = ? "
    "and run_at <= ?$mine order by priority, run_at, id limit ?)"
)

#: What a choice under limits found.
_BY_ID = "select id, priority, run_at from $table where id in ($places)"

#: The condition of a split: salt, share, and whether the worker is the candidate.
_MINE = " and (golive_bucket(id, ?) < ?) = ?"

#: The columns of :class:`Job`, in its order.
_JOB = (
    "id, kind, queue, tenant, state, priority, run_at, attempts, attempts_max, payload, created_at, idempotency_key, "
    "fingerprint, worker, version, started_at, finished_at, result, failure, progress, cancel_requested, "
    "webhook, cost"
)

_decode_failure = msgspec.json.Decoder(Failure).decode
_decode_split = msgspec.json.Decoder(Split).decode
_decode_progress = msgspec.json.Decoder(Progress).decode
_encode = msgspec.json.Encoder().encode


class Statements:
    """The operations of one table. *table* has been checked by the settings: it is part of the SQL."""

    def __init__(self, table: str) -> None:
        self.table = table
        states = ", ".join(f"'{state}'" for state in State)
        moves = ", ".join(sorted(f"'{before}>{after}'" for before, after in LEGAL_MOVES))
        self.steps = [
            self._sql(_SCHEMA.replace("$states", states).replace("$moves", moves)),
            self._sql(_CANCEL_AND_PROGRESS),
            self._sql(_SPLIT_AND_RUNS),
            self._sql(LIMITS + HOOKS),
            self._sql(COSTS),
            self._sql(WAITING),
        ]
        self._limited = LimitedClaims(self._sql)
        self.upkeep = Upkeep(self._sql)
        self._batches = Batches(self._sql)
        self._by_id = self._sql("select $job from $table where id = ?")
        self._by_key = self._sql("select $job from $table where tenant = ? and kind = ? and idempotency_key = ?")
        self._claim_job = self._sql(
            "update $table set state = 'running', attempts = attempts + 1, fence = fence + 1, worker = ?, "
            "lease_until = ?, version = ?, started_at = ? where id = ? and state = 'pending' and run_at <= ? "
            "and 'pause:' || queue not in (select name from $table_control) "
            "returning id, kind, queue, tenant, attempts, attempts_max, payload, created_at, fence, run_at"
        )
        self._overdue = self._sql(
            "select id, kind, queue, tenant, run_at from $table where state = 'pending' and queue = ? and kind = ? "
            "and run_at < ? order by priority, run_at, id limit ?"
        )
        self._extend = self._sql(
            "update $table set lease_until = ? where id = ? and worker = ? and fence = ? and state = 'running'"
        )
        self._settle = self._sql(
            "update $table set state = iif(?1 = 'pending' and cancel_requested, 'cancelled', ?1), result = ?2, "
            "failure = coalesce(?3, failure), run_at = coalesce(?4, run_at), attempts = attempts - ?6, "
            "finished_at = iif(?1 = 'pending' and not cancel_requested, null, ?5), lease_until = null "
            "where id = ? and worker = ? and fence = ? and state = 'running' returning kind, version"
        )
        self._tally = self._sql(
            "insert into $table_runs values (?1, ?2, ?3, ?4, ?5, ?6, ?7) on conflict do update set "
            "runs = runs + ?5, seconds = seconds + ?6, updated_at = ?7"
        )
        self._runs = self._sql("select version, kind, run_end, bucket, runs, seconds from $table_runs")
        self._forget = self._sql("delete from $table_runs where updated_at < ?")
        self._split = self._sql("select value from $table_control where name = 'split'")
        self._rules = self._sql("select name, value from $table_control where name between 'pause:' and 'split'")
        self._set_split = self._sql("insert or replace into $table_control values ('split', ?)")
        self._end_split = self._sql("delete from $table_control where name = 'split'")
        self._expired = self._sql(
            "select id, kind, worker, attempts, attempts_max, cancel_requested, version, started_at from $table "
            "where state = 'running' and lease_until < ? order by lease_until limit ?"
        )
        self._release = self._sql(
            "update $table set state = ?, failure = ?, run_at = ?, finished_at = ?, lease_until = null where id = ?"
        )
        self._report = self._sql(
            "update $table set progress = ? where id = ? and worker = ? and fence = ? and state = 'running'"
        )
        self._cancel = self._sql(
            "update $table set state = 'cancelled', finished_at = ?, cancel_requested = 1 "
            "where id = ? and state = 'pending'"
        )
        self._request = self._sql("update $table set cancel_requested = 1 where id = ? and state = 'running'")
        self._requested = self._sql(
            "select 1 from $table where id = ? and worker = ? and fence = ? and state = 'running' and cancel_requested"
        )
        self._redrive = self._sql(
            "update $table set state = 'pending', attempts = 0, run_at = ?, finished_at = null, progress = null, "
            "cancel_requested = 0, payload = coalesce(?, payload) where id = ? and state in ('failed', 'cancelled')"
        )
        self._oldest = self._sql(
            "select queue, ?1 - min(run_at) from $table where state = 'pending' and run_at <= ?1 group by queue"
        )
        self._depth = self._sql(
            "select queue, state, count(*) from $table where state = 'pending' group by queue union all "
            "select queue, state, count(*) from $table where state = 'running' group by queue union all "
            "select queue, state, count(*) from $table where state = 'failed' group by queue"
        )

    def submit(
        self, connection: Connection | sqlite3.Cursor, *, jobs: Sequence[NewJob], now: float
    ) -> list[Submission]:
        """See the port."""
        if self._batches.insert(connection, jobs, now):
            return [Submission(pending(job, now), created=True) for job in jobs]
        return [self._submit(connection, new, now) for new in jobs]

    def get(self, connection: Connection, *, job: JobId) -> Job | None:
        """See the port."""
        row = connection.execute(self._by_id, (job,)).fetchone()
        return _job(row) if row else None

    def claim(
        self, connection: Connection, *, demands: Sequence[Demand], limit: int, worker: str, version: str | None,
        now: float, lease_until: float,
    ) -> list[Claim]:  # fmt: skip
        """See the port."""
        split, demands = self._allowed(connection, demands)
        if not demands or shut_out(split, version):
            return []
        mine = () if split is None else (split.salt, split.share_basis_points, version == split.candidate)
        if any(demand.limits for demand in demands):
            choice = self._limited.choose(connection, demands, limit, now, _MINE if split else "", mine)
            due, wanted = self._sql(_BY_ID.replace("$places", ", ".join("?" * len(choice.ids)))), list[Any](choice.ids)
        else:
            due = self._due(len(demands), split is not None)
            wanted = [value for demand in demands for value in (demand.queue, demand.kind, now, *mine, demand.limit)]
            wanted.append(limit)
        return self._batches.claim(
            connection, due, wanted, worker=worker, version=version, now=now, lease_until=lease_until
        )

    def claim_jobs(
        self, connection: Connection, *, jobs: Sequence[JobId], worker: str, version: str | None, now: float,
        lease_until: float,
    ) -> list[Claim]:  # fmt: skip
        """See the port."""
        split, claims = self.split(connection), []
        for job in jobs:
            if not may_claim(split, job, version):
                continue
            row = connection.execute(self._claim_job, (worker, lease_until, version, now, job, now)).fetchone()
            if row:
                id_, kind, queue, tenant, attempts, most, payload, created_at, fence, run_at = row
                held = (payload.encode(), created_at, worker, fence, now - run_at)
                claims.append(Claim(id_, kind, queue, tenant, attempts, most, *held))
        return claims

    def overdue(self, connection: Connection, *, demands: Sequence[Demand], before: float) -> list[Waiting]:
        """See the port."""
        return [
            Waiting(*row)
            for each in demands
            for row in connection.execute(self._overdue, (each.queue, each.kind, before, each.limit))
        ]

    def extend(self, connection: Connection, *, claims: Sequence[Claim], lease_until: float) -> list[Claim]:
        """See the port."""
        return [
            claim
            for claim in claims
            if connection.execute(self._extend, (lease_until, claim.id, claim.worker, claim.fence)).rowcount == 0
        ]

    def settle(self, connection: Connection, *, settlements: Sequence[Settlement], now: float) -> list[bool]:
        """See the port."""
        accepted, counts = [False] * len(settlements), Counts()
        alike = {(each.id, each.worker, each.fence): at for at, each in enumerate(settlements)
                 if each.event is Event.SUCCEED}  # fmt: skip
        places = list(alike.values())
        for version, kind, at in self._batches.succeed(connection, [settlements[place] for place in places], now):
            seconds = settlements[places[at]].run_seconds
            accepted[places[at]] = True
            counts.add((version, kind, RunEnd.SUCCEEDED, duration_bucket(seconds)), seconds)
        for at, each in enumerate(settlements):
            if each.event is not Event.SUCCEED:
                accepted[at] = self._settle_one(connection, each, now, counts)
        self._write_counts(connection, counts, now)
        if costs := [
            (each.id, each.cost) for each, yes in zip(settlements, accepted, strict=True) if yes and each.cost
        ]:
            self.upkeep.spend(connection, costs=costs)
        return accepted

    def rescue(self, connection: Connection, *, limit: int, now: float) -> list[Rescue]:
        """See the port."""
        rescues, counts = [], Counts()
        for id_, kind, worker, attempts, most, cancel, version, started_at in connection.execute(
            self._expired, (now, limit)
        ).fetchall():
            state = move(State.RUNNING, after_expiry(attempts, most, bool(cancel)))
            failure = Failure("worker_lost", "the worker that ran this job was lost", retryable=True)
            finished_at = now if state.terminal else None
            connection.execute(self._release, (state, _encode(failure).decode(), now, finished_at, id_))
            seconds = now - started_at
            counts.add((version or "", kind, RunEnd.LOST, duration_bucket(seconds)), seconds)
            rescues.append(Rescue(id_, kind, state, worker, attempts))
        self._write_counts(connection, counts, now)
        return rescues

    def report(self, connection: Connection, *, reports: Sequence[tuple[Claim, Progress]]) -> None:
        """See the port."""
        for claim, progress in reports:
            connection.execute(self._report, (_encode(progress).decode(), claim.id, claim.worker, claim.fence))

    def cancel(self, connection: Connection, *, job: JobId, now: float) -> Job | None:
        """See the port."""
        connection.execute(self._cancel, (now, job))
        connection.execute(self._request, (job,))
        return self.get(connection, job=job)

    def cancel_requested(self, connection: Connection, *, claims: Sequence[Claim]) -> list[Claim]:
        """See the port."""
        return [
            claim
            for claim in claims
            if connection.execute(self._requested, (claim.id, claim.worker, claim.fence)).fetchone()
        ]

    def redrive(self, connection: Connection, *, job: JobId, payload: bytes | None, now: float) -> Job | None:
        """See the port."""
        connection.execute(self._redrive, (now, None if payload is None else payload.decode(), job))
        return self.get(connection, job=job)

    def hasten(self, connection: Connection, *, job: JobId, now: float) -> Job | None:
        """See the port."""
        self.upkeep.hasten(connection, job=job, now=now)
        return self.get(connection, job=job)

    def fire(self, connection: Connection, *, schedule: Schedule, jobs: Sequence[NewJob], now: float) -> bool:
        """See the port."""
        if not self.upkeep.advance(connection, schedule):
            return False
        self.submit(connection, jobs=jobs, now=now)
        return True

    def unannounced(self, connection: Connection, *, limit: int) -> list[Job]:
        """See the port."""
        return self.upkeep.unannounced(connection, limit=limit, read=_job)

    def page(
        self, connection: Connection, *, limit: int, state: State | None, kind: str | None, before: JobId | None,
        queue: str | None = None, tenant: str | None = None,
    ) -> list[Job]:  # fmt: skip
        """See the port. The state is part of the text, so that the partial indexes serve it."""
        by = "indexed by $table_running" if state is State.RUNNING else ""  # few, among very many
        text = _PAGE.replace("$by", by).replace("$state", "true" if state is None else f"state = '{state}'")
        sql = self._sql(text)
        return [_job(row) for row in connection.execute(sql, (kind, before or "~", limit, queue, tenant))]

    def depth(self, connection: Connection) -> dict[tuple[str, State], int]:
        """See the port."""
        return {(queue, State(state)): count for queue, state, count in connection.execute(self._depth)}

    def oldest(self, connection: Connection, *, now: float) -> dict[str, float]:
        """See the port."""
        return dict(connection.execute(self._oldest, (now,)).fetchall())

    def split(self, connection: Connection) -> Split | None:
        """See the port."""
        row = connection.execute(self._split).fetchone()
        return _decode_split(row[0]) if row else None

    def set_split(self, connection: Connection, *, split: Split | None, now: float) -> None:
        """See the port."""
        connection.execute(self._forget, (now - KEPT_SECONDS,))
        if split is None:
            connection.execute(self._end_split)
        else:
            connection.execute(self._set_split, (_encode(split).decode(),))

    def runs(self, connection: Connection) -> list[RunTally]:
        """See the port."""
        return tallies(connection.execute(self._runs))

    def _settle_one(self, connection: Connection, settlement: Settlement, now: float, counts: Counts) -> bool:
        row = connection.execute(self._settle, _settling(settlement, now)).fetchone()
        if row and (end := run_end(settlement.event, settlement.failure)):
            seconds = settlement.run_seconds
            counts.add((row[1] or "", row[0], end, duration_bucket(seconds)), seconds)
        return row is not None

    def _write_counts(self, connection: Connection, counts: Counts, now: float) -> None:
        rows = [(*key, runs, counts.seconds[key], now) for key, runs in counts.runs.items()]
        connection.executemany(self._tally, rows)

    def _sql(self, text: str) -> str:
        return text.replace("$table", self.table).replace("$job", _JOB)

    def _submit(self, connection: Connection | sqlite3.Cursor, new: NewJob, now: float) -> Submission:
        """One of a batch that met earlier jobs."""
        if self._batches.insert(connection, [new], now):
            return Submission(pending(new, now), created=True)
        earlier = connection.execute(self._by_key, (new.tenant, new.kind, new.idempotency_key)).fetchone()
        return Submission(_job(earlier or connection.execute(self._by_id, (new.id,)).fetchone()), created=False)

    def _allowed(self, connection: Connection, demands: Sequence[Demand]) -> tuple[Split | None, Sequence[Demand]]:
        """The split, and the demands without those of paused queues."""
        rules = dict(connection.execute(self._rules).fetchall())
        if not rules:
            return None, demands
        split = rules.pop("split", None)
        allowed = [each for each in demands if f"pause:{each.queue}" not in rules] if rules else demands
        return None if split is None else _decode_split(split), allowed

    def _due(self, demands: int, split: bool) -> str:
        """Per demand a walk of the pending index that stops at its limit; together ordered and cut once more."""
        due = " union all ".join([_DUE.replace("$mine", _MINE if split else "")] * demands)
        return self._sql(f"select * from ({due}) order by priority, run_at, id limit ?")  # noqa: S608 - constants


def _settling(settlement: Settlement, now: float) -> tuple[Any, ...]:
    state = move(State.RUNNING, settlement.event)
    return (
        state,
        None if settlement.result is None else settlement.result.decode(),
        None if settlement.failure is None else _encode(settlement.failure).decode(),
        None if state.terminal else now + settlement.delay_seconds,
        now,
        1 if settlement.event is Event.HAND_BACK else 0,
        settlement.id,
        settlement.worker,
        settlement.fence,
    )


def _job(row: tuple[Any, ...]) -> Job:
    values = list(row)
    values[4] = State(values[4])
    values[9] = values[9].encode()
    values[17] = None if values[17] is None else values[17].encode()
    values[18] = None if values[18] is None else _decode_failure(values[18])
    values[19] = None if values[19] is None else _decode_progress(values[19])
    values[20] = bool(values[20])
    return Job(*values)
