"""
What operators, schedules and pruning ask of the SQLite store, away from the path every job takes.

Control rows are named so that the few a claim must read (``pause:...`` and ``split``) sit beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from golive.db.sqlite import Connection
from golive.jobs.machine import State
from golive.jobs.model import BEAT_KEPT_SECONDS, Job, JobId, Pause, Pruned, Schedule, WorkerBeat, id_at

HOOKS = """
    alter table $table add column webhook text;
    alter table $table add column announced_at real;
    create index $table_unannounced on $table (id)
        where webhook is not null and finished_at is not null and announced_at is not finished_at;
"""

#: Lists of what waits, newest first, without a walk past all that has finished.
WAITING = "create index $table_waiting on $table (id) where state = 'pending';"

COSTS = """
    alter table $table add column cost real;
    create table $table_costs (version text not null, kind text not null, dollars real not null,
                               primary key (version, kind)) without rowid;
"""

_decode_pause = msgspec.json.Decoder(Pause).decode
_decode_beat = msgspec.json.Decoder(WorkerBeat).decode
_decode_schedule = msgspec.json.Decoder(Schedule).decode
_encode = msgspec.json.Encoder().encode


class Upkeep:
    """The operations of one table. *sql* puts its name and the columns of a job into a text."""

    def __init__(self, sql: Callable[[str], str]) -> None:
        self._paused = sql("select value from $table_control where name >= 'pause:' and name < 'pause;' order by name")
        self._set = sql("insert or replace into $table_control values (?, ?)")
        self._unset = sql("delete from $table_control where name = ?")
        beats, at = "from $table_control where name >= 'worker:' and name < 'worker;'", "json_extract(value, '$.at')"
        self._beats = sql(f"select value, {at} {beats} order by name")
        self._forget = sql(f"delete {beats} and {at} < ?")
        self._beat = sql("insert or replace into $table_control values ('worker:' || ?, json_set(?, '$.at', ?))")
        self._schedules = sql("select value from $table_control where name >= 'cron:' and name < 'cron;' order by name")
        self._one = sql("select value from $table_control where name = ?")
        self._aged = sql("select id, state, finished_at from $table where id > ? and id < ? order by id limit ?")
        self._remove = sql("delete from $table where id = ?")
        self._hasten = sql("update $table set run_at = ? where id = ? and state = 'pending' and run_at > ?")
        self._unannounced = sql(
            "select $job from $table where webhook is not null and finished_at is not null "
            "and announced_at is not finished_at order by id limit ?"
        )
        self._spent = sql("update $table set cost = coalesce(cost, 0) + ? where id = ? returning version, kind")
        self._add_cost = sql(
            "insert into $table_costs values (?1, ?2, ?3) on conflict do update set dollars = dollars + ?3"
        )
        self._costs = sql("select version, kind, dollars from $table_costs")
        self._announced = sql("update $table set announced_at = finished_at where id = ? and finished_at = ?")

    def paused(self, connection: Connection) -> list[Pause]:
        """See the port."""
        return [_decode_pause(value) for (value,) in connection.execute(self._paused)]

    def set_paused(self, connection: Connection, *, queue: str, reason: str | None, now: float) -> None:
        """See the port."""
        if reason is None:
            connection.execute(self._unset, (f"pause:{queue}",))
        else:
            connection.execute(self._set, (f"pause:{queue}", _encode(Pause(queue, now, reason)).decode()))

    def beat(self, connection: Connection, *, beat: WorkerBeat, now: float) -> None:
        """See the port."""
        connection.execute(self._forget, (now - BEAT_KEPT_SECONDS,))
        connection.execute(self._beat, (beat.name, _encode(beat).decode(), now))

    def leave(self, connection: Connection, *, worker: str) -> None:
        """See the port."""
        connection.execute(self._unset, (f"worker:{worker}",))

    def workers(self, connection: Connection, *, now: float) -> list[WorkerBeat]:
        """See the port."""
        return [replace(_decode_beat(value), age_seconds=now - at) for value, at in connection.execute(self._beats)]

    def schedules(self, connection: Connection) -> list[Schedule]:
        """See the port."""
        return [_decode_schedule(value) for (value,) in connection.execute(self._schedules)]

    def advance(self, connection: Connection, schedule: Schedule) -> bool:
        """The half of ``fire`` that decides who fires."""
        name = f"cron:{schedule.name}"
        row = connection.execute(self._one, (name,)).fetchone()
        if row and _decode_schedule(row[0]).fired_at >= schedule.fired_at:
            return False
        connection.execute(self._set, (name, _encode(schedule).decode()))
        return True

    def prune(
        self, connection: Connection, *, keep_seconds: Mapping[State, float], after: JobId | None, limit: int,
        now: float,
    ) -> Pruned:  # fmt: skip
        """See the port. Ids are in order of time: what is younger than the shortest keeping need not be looked at."""
        bound = id_at(now - min(keep_seconds.values(), default=now))
        rows = connection.execute(self._aged, (after or "", bound, limit)).fetchall()
        gone = [
            (id_,) for id_, state, finished_at in rows
            if (keep := keep_seconds.get(State(state))) is not None and finished_at < now - keep
        ]  # fmt: skip
        connection.executemany(self._remove, gone)
        return Pruned([JobId(id_) for (id_,) in gone], JobId(rows[-1][0]) if len(rows) == limit else None)

    def spend(self, connection: Connection, *, costs: Sequence[tuple[JobId, float]]) -> None:
        """Add what accepted runs cost to their jobs and to their versions."""
        for job, dollars in costs:
            version, kind = connection.execute(self._spent, (dollars, job)).fetchone()
            connection.execute(self._add_cost, (version or "", kind, dollars))

    def costs(self, connection: Connection) -> dict[tuple[str, str], float]:
        """See the port."""
        return {(version, kind): dollars for version, kind, dollars in connection.execute(self._costs)}

    def hasten(self, connection: Connection, *, job: JobId, now: float) -> None:
        """See the port."""
        connection.execute(self._hasten, (now, job, now))

    def unannounced(
        self, connection: Connection, *, limit: int, read: Callable[[tuple[object, ...]], Job]
    ) -> list[Job]:  # fmt: skip
        """See the port. *read* makes a job of a row."""
        return [read(row) for row in connection.execute(self._unannounced, (limit,))]

    def announced(self, connection: Connection, *, jobs: Sequence[Job]) -> None:
        """See the port."""
        connection.executemany(self._announced, [(job.id, job.finished_at) for job in jobs])
