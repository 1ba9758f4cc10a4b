"""
Claims under limits, for SQLite: what :func:`golive.jobs.limits.choose` needs to know, inside the claim's transaction.

The write lock the transaction holds is what keeps two workers from spending the same room. Tenants are found by
jumping from one to the next in an index of pending jobs that have one; jobs without a tenant, in a queue that asks for
tenants, are seen while they are among the first :data:`NAMELESS_MAX`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from golive.db.sqlite import Connection
from golive.jobs.limits import NO_LIMITS, Choice, Due, choose, per_tenant, tenants_max
from golive.jobs.model import Demand

NAMELESS_MAX = 1000

LIMITS = """
    create index $table_tenants on $table (queue, kind, tenant, priority, run_at, id)
        where state = 'pending' and tenant <> '';
"""

_COLUMNS = "queue, kind, tenant, priority, run_at, id"
_ORDER = "order by priority, run_at, id limit ?"


class LimitedClaims:
    """The choice for one table. *sql* puts its name into a text."""

    def __init__(self, sql: Callable[[str], str]) -> None:
        self._running = sql("select queue, tenant, count(*) from $table where state = 'running' group by queue, tenant")
        self._full_at = sql(
            "select substr(name, 8), value from $table_control where name between 'bucket:' and 'bucket;'"
        )
        self._set_full_at = sql("insert or replace into $table_control values ('bucket:' || ?, ?)")
        due = f"select {_COLUMNS} from $table where state = 'pending' and queue = ? and kind = ? and run_at <= ?$mine"
        self._first = sql(f"{due} {_ORDER}")
        self._first_of = sql(f"{due} and tenant = ? and tenant <> '' {_ORDER}")
        self._nameless = sql(f"select * from ({due} order by priority, run_at, id limit {NAMELESS_MAX}) "
                             "where tenant = '' limit ?")  # fmt: skip
        self._next_tenant = sql(
            "select tenant from $table where state = 'pending' and queue = ? and kind = ? and tenant > ? "
            "and tenant <> '' order by tenant limit 1"
        )
        self._went_on_from: dict[tuple[str, str], str] = {}

    def choose(
        self, connection: Connection, demands: Sequence[Demand], limit: int, now: float, mine: str,
        rule: tuple[Any, ...],
    ) -> Choice:  # fmt: skip
        """Which jobs to claim. *mine* and *rule* are the condition of a split, or empty."""
        wanted = {(each.queue, each.kind): (each.limit, each.limits or NO_LIMITS) for each in demands}
        running = {(queue, tenant): count for queue, tenant, count in connection.execute(self._running)}
        full_at = {name: float(value) for name, value in connection.execute(self._full_at)}
        due = [job for demand in demands for job in self._due(connection, demand, limit, (now, *rule), mine)]
        choice = choose(limit, due, wanted, running, full_at, now)
        for name, full in choice.full_at.items():
            connection.execute(self._set_full_at, (name, repr(full)))
        return choice

    def _due(
        self, connection: Connection, demand: Demand, limit: int, rule: tuple[Any, ...], mine: str
    ) -> Iterator[Due]:  # fmt: skip
        most = min(limit, demand.limit)
        arguments = (demand.queue, demand.kind, *rule)
        if not (demand.limits and demand.limits.by_tenant):
            yield from _seen(connection, self._first.replace("$mine", mine), (*arguments, most))
            return
        tenants = self._tenants(connection, demand.queue, demand.kind, tenants_max(most))
        each = per_tenant(most, len(tenants) + 1)
        for tenant in tenants:
            yield from _seen(connection, self._first_of.replace("$mine", mine), (*arguments, tenant, each))
        yield from _seen(connection, self._nameless.replace("$mine", mine), (*arguments, each))

    def _tenants(self, connection: Connection, queue: str, kind: str, most: int) -> list[str]:
        """At most *most* of those with pending jobs, going on where the last claim ended if there are more."""
        found, last, start = list[str](), self._went_on_from.pop((queue, kind), ""), ""
        start = last
        while len(found) < most:
            row = connection.execute(self._next_tenant, (queue, kind, last)).fetchone()
            if row is None and start:
                last, start = "", ""  # once around; what was seen on the first leg is seen again at worst
                continue
            if row is None or row[0] in found[:1]:
                return list(dict.fromkeys(found))
            found.append(last := row[0])
        self._went_on_from[queue, kind] = last
        return list(dict.fromkeys(found))


def _seen(connection: Connection, sql: str, arguments: tuple[Any, ...]) -> Iterator[Due]:
    return map(Due._make, connection.execute(sql, arguments))
