"""
Claims under limits, for PostgreSQL: a transaction of a few round trips, instead of the one statement without limits.

An advisory lock of the table is what keeps two workers from spending the same room; claims without limits do not meet
it. Tenants are found by jumping from one to the next in an index of pending jobs that have one; jobs without a tenant,
in a queue that asks for tenants, are seen while they are among the first thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from golive.jobs.limits import NO_LIMITS, Due, Limits, choose, per_tenant, tenants_max
from golive.jobs.model import Demand
from golive.jobs.split import Split, shut_out

LIMITS = """
    create index $table_tenants on $table (queue, kind, tenant, priority, run_at, id)
        where state = 'pending' and tenant <> '';
"""

_COLUMNS = "queue, kind, tenant, priority, extract(epoch from run_at)::float8, id::text"
_DUE = f"select {_COLUMNS} from $table as job where state = 'pending' and queue = $1 and kind = $2 and run_at <= now()"
_MINE = "and ($3::text is null or ($bucket < $4) = $5)"
_ORDER = "order by priority, job.run_at, id"
_NEXT_TENANT = (
    "select tenant from $table where state = 'pending' and queue = $1 and kind = $2 and tenant <> '' and tenant > "
)

_decode_split = msgspec.json.Decoder(Split).decode
_decode_rules = msgspec.json.Decoder(list[tuple[str, str]]).decode
_decode_busy = msgspec.json.Decoder(list[tuple[str, str, int]]).decode


class LimitedClaims:
    """
    The texts for one table, and the transaction.

    Args:
        sql: puts the table's name into a text.
        bucket: the text of a job's place in a split, with ``$salt`` in it.
        take: the text that claims the jobs of a CTE ``chosen``, with ``$worker``, ``$version`` and ``$lease`` in it.
    """

    def __init__(self, sql: Callable[[str], str], bucket: str, take: str) -> None:
        mine = _MINE.replace("$bucket", bucket.replace("$salt", "$3::text").replace("id::text", "job.id::text"))
        self._lock = sql("select pg_advisory_xact_lock(hashtext('$table_limits'))")
        self._state = sql(
            "select (select json_agg(json_build_array(name, value::text)) from $table_control where name = 'split' "
            "or starts_with(name, 'pause:') or starts_with(name, 'bucket:'))::text, "
            "(select json_agg(json_build_array(queue, tenant, jobs)) from (select queue, tenant, count(*) as jobs "
            "from $table where state = 'running' group by 1, 2) as busy)::text, "
            "extract(epoch from clock_timestamp())::float8"
        )
        self._set_full_at = sql(
            "insert into $table_control select 'bucket:' || name, to_jsonb(full_at) "
            "from unnest($1::text[], $2::float8[]) as bucket (name, full_at) "
            "on conflict (name) do update set value = excluded.value"
        )
        self._first = sql(f"{_DUE} {mine} {_ORDER} limit $6")
        self._first_of_each = sql(
            f"select due.* from unnest($7::text[]) as whose (name) cross join lateral "
            f"({_DUE} {mine} and tenant = whose.name and tenant <> '' {_ORDER} limit $6) as due "
            f"union all (select * from ({_DUE} {mine} {_ORDER} limit 1000) as nameless where tenant = '' limit $6)"
        )
        self._tenants = sql(
            f"with recursive whose (name) as (({_NEXT_TENANT} $3 order by tenant limit 1) union all "
            f"select ({_NEXT_TENANT} whose.name order by tenant limit 1) from whose where whose.name is not null) "
            "select name from whose where name is not null limit $4"
        )
        self._take = sql(
            "with chosen as materialized (select id from $table where id = any($1::uuid[]) and state = 'pending' "
            f"for update) {take.replace('$worker', '$2').replace('$version', '$3').replace('$lease', '$4')}"
        )
        self._went_on_from: dict[tuple[str, str], str] = {}

    async def claim(
        self, connection: Any, demands: Sequence[Demand], limit: int, worker: str, lease_seconds: float,
        version: str | None,
    ) -> list[Any]:  # fmt: skip
        """The rows of a claim, as the statement without limits returns them."""
        async with connection.transaction():
            await connection.execute(self._lock)
            rows = await connection.fetch(self._state)  # after the lock: what a statement sees is as old as its start
            said, busy, now = rows[0]
            rules = dict(_decode_rules(said)) if said else {}
            split = _decode_split(rules["split"]) if "split" in rules else None
            demands = [each for each in demands if f"pause:{each.queue}" not in rules]
            if not demands or shut_out(split, version):
                return []
            rule = (split.salt, split.share_basis_points, version == split.candidate) if split else (None, 0, False)
            due = [job for each in demands for job in await self._due(connection, each, limit, rule)]
            running = {(queue, tenant): count for queue, tenant, count in (_decode_busy(busy) if busy else ())}
            full_at = {name[7:]: float(value) for name, value in rules.items() if name.startswith("bucket:")}
            wanted = {(each.queue, each.kind): (each.limit, each.limits or NO_LIMITS) for each in demands}
            choice = choose(limit, due, wanted, running, full_at, now)
            if choice.full_at:
                await connection.execute(self._set_full_at, list(choice.full_at), list(choice.full_at.values()))
            if not choice.ids:
                return []
            taken: list[Any] = await connection.fetch(self._take, choice.ids, worker, version, lease_seconds)
            return taken

    async def _due(self, connection: Any, demand: Demand, limit: int, rule: tuple[Any, ...]) -> list[Due]:
        limits, most = demand.limits or Limits(), min(limit, demand.limit)
        asked = (demand.queue, demand.kind, *rule)
        if not limits.by_tenant:
            return [Due(*row) for row in await connection.fetch(self._first, *asked, most)]
        tenants = await self._tenants_of(connection, demand, tenants_max(most))
        each = per_tenant(most, len(tenants) + 1)
        return [Due(*row) for row in await connection.fetch(self._first_of_each, *asked, each, tenants)]

    async def _tenants_of(self, connection: Any, demand: Demand, most: int) -> list[str]:
        """At most *most* of those with pending jobs, going on where the last claim ended if there are more."""
        queue_and_kind = (demand.queue, demand.kind)
        start = self._went_on_from.pop(queue_and_kind, "")
        rows = await connection.fetch(self._tenants, *queue_and_kind, start, most)
        found = [row[0] for row in rows]
        if len(found) == most:
            self._went_on_from[queue_and_kind] = found[-1]
        elif start:
            rows = await connection.fetch(self._tenants, *queue_and_kind, "", most - len(found))
            found = list(dict.fromkeys([*found, *(row[0] for row in rows)]))
        return found
