"""What operators, schedules and pruning ask of the PostgreSQL store, away from the path every job takes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from golive.jobs.machine import State
from golive.jobs.model import BEAT_KEPT_SECONDS, Job, JobId, Pause, Pruned, Schedule, WorkerBeat, id_at

HOOKS = """
    alter table $table add column webhook text, add column announced_at timestamptz;
    create index $table_unannounced on $table (id)
        where webhook is not null and finished_at is not null and announced_at is distinct from finished_at;
"""

#: Lists of what waits, newest first, whatever the statistics of the table were when they were taken.
WAITING = "create index $table_waiting on $table (id) where state = 'pending';"

COSTS = """
    alter table $table add column cost float8;
    create table $table_costs (version text not null, kind text not null, dollars float8 not null,
                               primary key (version, kind));
"""

#: Seconds since the epoch by this host: good enough to say which ids need not be looked at. A test may own it.
clock = time.time

_AGED = """
    with seen as materialized (
        select id from $table where ($1::uuid is null or id > $1) and id < $2::uuid order by id limit $3
    ), gone as (
        delete from $table as job using seen, unnest($4::text[], $5::float8[]) as keep (state, seconds)
        where job.id = seen.id and job.state = keep.state and job.finished_at < now() - make_interval(secs => seconds)
        returning job.id::text as id
    )
    select id, false from gone union all (select id::text, true from seen order by id desc limit 1)
    union all select count(*)::text, null from seen
"""

_decode_pause = msgspec.json.Decoder(Pause).decode
_decode_beat = msgspec.json.Decoder(WorkerBeat).decode
_decode_schedule = msgspec.json.Decoder(Schedule).decode
_encode = msgspec.json.Encoder().encode

Run = Callable[..., Awaitable[list[Any]]]


class Upkeep:
    """The operations of one table. *sql* puts its name and the columns of a job into a text; *run* is a round trip."""

    def __init__(self, sql: Callable[[str], str]) -> None:
        self._paused = sql("select value::text from $table_control where starts_with(name, 'pause:') order by name")
        self._pause = sql(
            "insert into $table_control select 'pause:' || $1::text, jsonb_build_object('queue', $1::text, 'at', "
            "extract(epoch from now())::float8, 'reason', $2::text) "
            "on conflict (name) do update set value = excluded.value"
        )
        self._unpause = sql("delete from $table_control where name = 'pause:' || $1::text")
        self._beat = sql(
            "with gone as (delete from $table_control where starts_with(name, 'worker:') "
            "and name <> 'worker:' || $1::text "
            "and (value->>'at')::float8 < extract(epoch from now())::float8 - $3::float8) "
            "insert into $table_control select 'worker:' || $1::text, $2::text::jsonb || jsonb_build_object('at', "
            "extract(epoch from now())::float8) on conflict (name) do update set value = excluded.value"
        )
        self._leave = sql("delete from $table_control where name = 'worker:' || $1::text")
        self._workers = sql(
            "select value::text, extract(epoch from now())::float8 - (value->>'at')::float8 from $table_control "
            "where starts_with(name, 'worker:') order by name"
        )
        self._schedules = sql("select value::text from $table_control where starts_with(name, 'cron:') order by name")
        self.advance = sql(
            "insert into $table_control as known values ('cron:' || $1::text, $2::text::jsonb) on conflict (name) "
            "do update set value = excluded.value where (known.value->>'fired_at')::float8 < $3 returning name"
        )
        self._aged = sql(_AGED)
        self.hasten = sql("update $table set run_at = now() where id = $1 and state = 'pending' and run_at > now()")
        self.unannounced = sql(
            "select $job from $table where webhook is not null and finished_at is not null "
            "and announced_at is distinct from finished_at order by $table.id limit $1"
        )
        self.spend = sql(
            "with spent as (update $table as job set cost = coalesce(job.cost, 0) + said.dollars "
            "from unnest($1::uuid[], $2::float8[]) as said (id, dollars) where job.id = said.id "
            "returning coalesce(version, '') as version, kind, dollars) "
            "insert into $table_costs as known select version, kind, sum(dollars) from spent group by 1, 2 "
            "order by 1, 2 on conflict (version, kind) do update set dollars = known.dollars + excluded.dollars"
        )
        self.costs = sql("select version, kind, dollars from $table_costs")
        self._announced = sql(
            "update $table as job set announced_at = finished_at from unnest($1::uuid[], $2::float8[]) "
            "as said (id, at) where job.id = said.id and extract(epoch from finished_at)::float8 = said.at"
        )

    async def paused(self, run: Run) -> list[Pause]:
        """See the port."""
        return [_decode_pause(row[0]) for row in await run(self._paused)]

    async def set_paused(self, run: Run, queue: str, reason: str | None) -> None:
        """See the port."""
        await (run(self._unpause, queue) if reason is None else run(self._pause, queue, reason))

    async def beat(self, run: Run, beat: WorkerBeat) -> None:
        """See the port."""
        await run(self._beat, beat.name, _encode(beat).decode(), BEAT_KEPT_SECONDS)

    async def leave(self, run: Run, worker: str) -> None:
        """See the port."""
        await run(self._leave, worker)

    async def workers(self, run: Run) -> list[WorkerBeat]:
        """See the port."""
        return [replace(_decode_beat(text), age_seconds=age) for text, age in await run(self._workers)]

    async def schedules(self, run: Run) -> list[Schedule]:
        """See the port."""
        return [_decode_schedule(row[0]) for row in await run(self._schedules)]

    def advancing(self, schedule: Schedule) -> tuple[str, str, str, float]:
        """The statement that decides who fires, and its arguments; it returns a row for one caller only."""
        return self.advance, schedule.name, _encode(schedule).decode(), schedule.fired_at

    async def prune(self, run: Run, keep_seconds: Mapping[State, float], after: JobId | None, limit: int) -> Pruned:
        """See the port. Ids are in order of time: what is younger than the shortest keeping need not be looked at."""
        if not keep_seconds:
            return Pruned([], None)
        bound = id_at(clock() - min(keep_seconds.values()))
        rows = await run(self._aged, after, bound, limit, list(map(str, keep_seconds)), list(keep_seconds.values()))
        gone = [JobId(id_) for id_, last in rows if last is False]
        last = next((JobId(id_) for id_, last in rows if last), None)
        seen = next(int(count) for count, last in rows if last is None)
        return Pruned(gone, last if seen == limit else None)

    async def announced(self, run: Run, jobs: Sequence[Job]) -> None:
        """See the port."""
        await run(self._announced, [job.id for job in jobs], [job.finished_at for job in jobs])
