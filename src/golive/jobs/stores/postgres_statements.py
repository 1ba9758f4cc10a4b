"""
The SQL of the PostgreSQL store. Every statement is one round trip and one transaction, whatever the number of jobs.

Three things look odd and are measured. ``settle`` fences by (worker, fence) and by the lease, not by ``state =
'running'``: with that the planner believes the partial index, whose statistics were taken while it was empty, and
completions fall from 20,000/s to 800/s. Unique keys are a partial index, so that only jobs with a key pay for it. And
the guard against illegal moves is in the trigger's WHEN clause, where it costs no function call.
"""

from __future__ import annotations

from golive.jobs.machine import LEGAL_MOVES, State
from golive.jobs.stores.postgres_limits import LIMITS, LimitedClaims
from golive.jobs.stores.postgres_upkeep import COSTS, HOOKS, WAITING, Upkeep
from golive.jobs.tally import BOUNDS_SECONDS

_STATES = ", ".join(f"'{state}'" for state in State)
_MOVES = ", ".join(sorted(f"'{before}>{after}'" for before, after in LEGAL_MOVES))

SCHEMA = f"""
    create table $table (
        id uuid primary key,
        kind text not null,
        queue text not null,
        tenant text not null,
        state text not null default 'pending' check (state in ({_STATES})),
        priority integer not null,
        run_at timestamptz not null,
        attempts integer not null default 0,
        attempts_max integer not null check (attempts_max >= 1),
        payload bytea not null,
        created_at timestamptz not null default now(),
        idempotency_key text,
        fingerprint bytea,
        worker text,
        version text,
        started_at timestamptz,
        finished_at timestamptz,
        result bytea,
        failure bytea,
        fence integer not null default 0,
        lease_until timestamptz,
        check ((state = 'running') = (lease_until is not null)),
        check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null))
    ) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
    create index $table_pending on $table (queue, kind, priority, run_at, id) where state = 'pending';
    create index $table_running on $table (lease_until) where state = 'running';
    create index $table_failed on $table (queue, finished_at) where state = 'failed';
    create unique index $table_key on $table (tenant, kind, idempotency_key) where idempotency_key is not null;
    create function $table_refuse() returns trigger language plpgsql as
        $$begin raise exception 'illegal job transition from % to %', old.state, new.state; end$$;
    create trigger $table_moves before update of state on $table for each row
        when (old.state || '>' || new.state not in ({_MOVES})) execute function $table_refuse();
"""

_CANCEL_AND_PROGRESS = """
    alter table $table add column progress bytea, add column cancel_requested boolean not null default false;
    create index $table_dead on $table (id) where state = 'failed';
"""

_SPLIT_AND_RUNS = """
    create table $table_control (name text primary key, value jsonb not null);
    create table $table_runs (
        version text not null, kind text not null, run_end text not null, bucket integer not null,
        stripe integer not null, runs bigint not null, seconds float8 not null, updated_at timestamptz not null,
        primary key (version, kind, run_end, bucket, stripe)
    ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
"""

#: Where a job is in the split: :func:`golive.jobs.split.bucket`.
_BUCKET = (
    "('x' || left(encode(sha256(convert_to($salt || ':' || id::text, 'UTF8')), 'hex'), 8))::bit(32)::bigint % 10000"
)

#: Counts what *done* (version, kind, run_end, seconds) holds. Workers count on stripes of their own, because rows they
#: shared would make each wait for the other's fsync; in order, so that two of them cannot deadlock.
_COUNT = """
    counted as (
        insert into $table_runs as tally (version, kind, run_end, bucket, stripe, runs, seconds, updated_at)
        select coalesce(version, ''), kind, run_end, width_bucket(seconds, $bounds), $stripe, count(*), sum(seconds),
               now()
        from done where run_end is not null group by 1, 2, 3, 4 order by 1, 2, 3, 4
        on conflict (version, kind, run_end, bucket, stripe) do update
        set runs = tally.runs + excluded.runs, seconds = tally.seconds + excluded.seconds, updated_at = now()
    )
"""

#: The columns of :class:`golive.jobs.model.Job`, in its order.
_JOB = (
    "id::text, kind, queue, tenant, state, priority, extract(epoch from run_at)::float8, attempts, attempts_max, "
    "payload, extract(epoch from created_at)::float8, idempotency_key, fingerprint, worker, version, "
    "extract(epoch from started_at)::float8, extract(epoch from finished_at)::float8, result, failure, progress, "
    "cancel_requested, webhook, cost"
)

_SUBMIT = """
    insert into $table (id, kind, queue, tenant, priority, run_at, attempts_max, payload, idempotency_key, fingerprint)
    select id, kind, queue, tenant, priority, coalesce(to_timestamp(run_at), now()), attempts_max, payload, key, print
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::float8[], $7::int[], $8::bytea[],
                $9::text[], $10::bytea[])
         as new (id, kind, queue, tenant, priority, run_at, attempts_max, payload, key, print)
    on conflict do nothing returning id::text, extract(epoch from created_at)::float8
"""

#: The same with one more column, for batches in which any job has a webhook.
_SUBMIT_HOOKED = (
    _SUBMIT.replace("idempotency_key, fingerprint)", "idempotency_key, fingerprint, webhook)")
    .replace("payload, key, print\n", "payload, key, print, webhook\n")
    .replace("$10::bytea[])", "$10::bytea[], $11::text[])")
    .replace("payload, key, print)", "payload, key, print, webhook)")
)

#: Claims the jobs of ``chosen``.
_TAKE = """
    update $table as job
    set state = 'running', attempts = attempts + 1, fence = fence + 1, worker = $worker, version = $version,
        started_at = now(), lease_until = now() + make_interval(secs => $lease)
    from chosen where job.id = chosen.id
    returning priority, run_at, job.id::text, kind, queue, tenant, attempts, attempts_max, payload,
              extract(epoch from created_at)::float8, fence, extract(epoch from now() - run_at)::float8
"""

_CLAIM = """
    with rule as materialized (
        select value->>'salt' as salt, (value->>'share_basis_points')::int as share,
               value->>'candidate' is not distinct from $6 as candidate,
               coalesce(value->>'stable', '') <> ''
                   and coalesce($6, '') not in (value->>'stable', value->>'candidate') as outsider
        from $table_control where name = 'split'
    ), due as (
        select job.* from unnest($1::text[], $2::text[], $3::int[]) as demand (queue, kind, most)
        cross join lateral (
            select id, priority, run_at from $table
            where state = 'pending' and queue = demand.queue and kind = demand.kind and run_at <= now()
                and not exists (select from $table_control where name = 'pause:' || demand.queue)
                and (not exists (select from rule)
                     or ($bucket < (select share from rule)) = (select candidate from rule))
            order by priority, run_at, id
            limit case when exists (select from rule
                                    where outsider or share = case when candidate then 0 else 10000 end) then 0
                       else demand.most end
            for update skip locked
        ) as job
    ), chosen as materialized (
        select id from due order by priority, run_at, id limit $4
    )
    $take
"""

_CLAIM_JOBS = """
    with rule as materialized (
        select value->>'salt' as salt, (value->>'share_basis_points')::int as share,
               value->>'candidate' is not distinct from $3 as candidate
        from $table_control where name = 'split'
    ), chosen as materialized (
        select id from $table where id = any($1::uuid[]) and state = 'pending' and run_at <= now()
            and not exists (select from $table_control where name = 'pause:' || queue)
            and (not exists (select from rule)
                 or ($bucket < (select share from rule)) = (select candidate from rule))
        order by id for update skip locked
    )
    $take
"""

_OVERDUE = """
    select job.* from unnest($1::text[], $2::text[], $3::int[]) as demand (queue, kind, most)
    cross join lateral (
        select id::text, kind, queue, tenant, extract(epoch from run_at)::float8 from $table
        where state = 'pending' and queue = demand.queue and kind = demand.kind
            and run_at < now() - make_interval(secs => $4)
        order by priority, run_at, $table.id limit demand.most
    ) as job
"""

_EXTEND = """
    update $table as job set lease_until = now() + make_interval(secs => $4)
    from unnest($1::uuid[], $2::text[], $3::int[]) as held (id, worker, fence)
    where job.id = held.id and job.worker = held.worker and job.fence = held.fence and lease_until is not null
    returning job.id::text, job.fence
"""

_SETTLE = """
    with done as (
    update $table as job
    set state = case when cancel_requested and not terminal then 'cancelled' else ended.state end,
        result = ended.result, failure = coalesce(ended.failure, job.failure),
        run_at = case when terminal then run_at else now() + make_interval(secs => delay) end,
        finished_at = case when terminal or cancel_requested then now() end,
        attempts = attempts - uncounted, lease_until = null
    from unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::bytea[], $6::bytea[], $7::bool[], $8::float8[],
                $9::int[],
                $10::text[], $11::float8[])
         as ended (id, worker, fence, state, result, failure, terminal, delay, uncounted, run_end, seconds)
    where job.id = ended.id and job.worker = ended.worker and job.fence = ended.fence and lease_until is not null
    returning job.id::text as id, job.fence, version, kind, run_end, seconds
    ), $count
    select id, fence from done
"""

#: Most settlements. Answers with the places of the accepted ones: one row, whatever their number.
_SUCCEED = """
    with done as (
    update $table as job set state = 'succeeded', result = ended.result, finished_at = now(), lease_until = null
    from unnest($1::uuid[], $2::int[], $3::bytea[], $4::float8[])
         with ordinality as ended (id, fence, result, seconds, place)
    where job.id = ended.id and job.worker = $5 and job.fence = ended.fence and lease_until is not null
    returning ended.place, version, kind, 'succeeded' as run_end, seconds
    ), $count
    select array_agg(place) from done
"""

_RESCUE = """
    with expired as materialized (
        select id from $table where state = 'running' and lease_until < now()
        order by lease_until limit $1 for update skip locked
    ), done as (
    update $table as job
    set state = case when cancel_requested then $5 when attempts < attempts_max then $3 else $4 end, failure = $2,
        run_at = now(), lease_until = null,
        finished_at = case when attempts < attempts_max and not cancel_requested then null else now() end
    from expired where job.id = expired.id
    returning job.id::text as id, kind, state, worker, attempts, version, 'lost' as run_end,
              extract(epoch from now() - started_at)::float8 as seconds
    ), $count
    select id, kind, state, worker, attempts from done
"""

_OLDEST = """
    select queue, extract(epoch from now() - min(run_at))::float8 from $table
    where state = 'pending' and run_at <= now() group by queue
"""

_REPORT = """
    update $table as job set progress = said.progress
    from unnest($1::uuid[], $2::text[], $3::int[], $4::bytea[]) as said (id, worker, fence, progress)
    where job.id = said.id and job.worker = said.worker and job.fence = said.fence and lease_until is not null
"""

_CANCEL = """
    update $table set state = 'cancelled', finished_at = now(), cancel_requested = true
    where id = $1 and state = 'pending'
"""

_REQUEST = "update $table set cancel_requested = true where id = $1 and state in ('pending', 'running')"

_REQUESTED = """
    select job.id::text, job.fence from $table as job
    join unnest($1::uuid[], $2::text[], $3::int[]) as held (id, worker, fence)
    on job.id = held.id and job.worker = held.worker and job.fence = held.fence
    where cancel_requested and lease_until is not null
"""

_REDRIVE = """
    update $table set state = 'pending', attempts = 0, run_at = now(), finished_at = null, progress = null,
        cancel_requested = false, payload = coalesce($2, payload)
    where id = $1 and state in ('failed', 'cancelled')
"""

# A bound the index takes where there is none to hold: "or" would be a filter over all pages before, in generic plans.
_PAGE = """
    select $job from $table where $state and id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        and ($1::text is null or kind = $1)
        and ($4::text is null or queue = $4) and ($5::text is null or tenant = $5)
    order by $table.id desc limit $3
"""

_DEPTH = """
    select queue, state, count(*) from $table where state = 'pending' group by 1, 2 union all
    select queue, state, count(*) from $table where state = 'running' group by 1, 2 union all
    select queue, state, count(*) from $table where state = 'failed' group by 1, 2
"""


def _counting(stripe: str) -> str:
    bounds = f"array[{', '.join(map(repr, BOUNDS_SECONDS))}]::float8[]"
    return _COUNT.replace("$bounds", bounds).replace("$stripe", f"{stripe}::int")


def _take(worker: str, version: str, lease: str) -> str:
    return _TAKE.replace("$worker", worker).replace("$version", version).replace("$lease", lease)


class Statements:
    """The texts for one table. *table* has been checked by the settings: it is part of the SQL."""

    def __init__(self, table: str) -> None:
        def sql(text: str) -> str:
            return text.replace("$table", table).replace("$job", _JOB)

        self.steps = [sql(SCHEMA), sql(_CANCEL_AND_PROGRESS), sql(_SPLIT_AND_RUNS), sql(LIMITS + HOOKS), sql(COSTS)]
        self.steps.append(sql(WAITING))
        self.limited = LimitedClaims(sql, _BUCKET, _TAKE)
        self.upkeep = Upkeep(sql)
        self.submit = sql(_SUBMIT)
        self.submit_hooked = sql(_SUBMIT_HOOKED)
        self.by_id = sql("select $job from $table where id = any($1::uuid[])")
        self.by_key = sql(
            "select $job from $table join unnest($1::text[], $2::text[], $3::text[]) as asked (tenant_, kind_, key) "
            "on tenant = tenant_ and kind = kind_ and idempotency_key = key"
        )
        salted = _BUCKET.replace("$salt", "(select salt from rule)")
        self.claim = sql(_CLAIM.replace("$bucket", salted).replace("$take", _take("$5", "$6", "$7")))
        self.claim_jobs = sql(_CLAIM_JOBS.replace("$bucket", salted).replace("$take", _take("$2", "$3", "$4")))
        self.overdue = sql(_OVERDUE)
        self.extend = sql(_EXTEND)
        self.settle = sql(_SETTLE.replace("$count", _counting("$12")))
        self.succeed = sql(_SUCCEED.replace("$count", _counting("$6")))
        self.rescue = sql(_RESCUE.replace("$count", _counting("$6")))
        self.depth = sql(_DEPTH)
        self.oldest = sql(_OLDEST)
        self.report = sql(_REPORT)
        self.cancel = sql(_CANCEL)
        self.request = sql(_REQUEST)
        self.requested = sql(_REQUESTED)
        self.redrive = sql(_REDRIVE)
        self.split = sql("select value::text from $table_control where name = 'split'")
        self.set_split = sql(
            "with forgotten as (delete from $table_runs where updated_at < now() - make_interval(secs => $2)) "
            "insert into $table_control values ('split', $1::text::jsonb) "
            "on conflict (name) do update set value = excluded.value"
        )
        self.end_split = sql("delete from $table_control where name = 'split'")
        self.runs = sql(
            "select version, kind, run_end, bucket, sum(runs)::bigint, sum(seconds) from $table_runs "
            "group by 1, 2, 3, 4"
        )
        self.page: dict[State | None, str] = {None: sql(_PAGE.replace("$state", "true"))}
        for state in State:  # part of the text, so that the partial indexes serve it
            self.page[state] = sql(_PAGE.replace("$state", f"state = '{state}'"))
