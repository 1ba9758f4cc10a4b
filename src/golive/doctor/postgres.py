"""What one PostgreSQL says about itself, asked over one connection that changes nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from golive.db.postgres import Line, place
from golive.doctor.finding import Finding, fail, ok, warn
from golive.doctor.tables import schema
from golive.jobs.stores.postgres_statements import Statements

if TYPE_CHECKING:
    from golive.config import Settings

ANSWER_SECONDS = 10.0

_ABOUT = """
    select clock_timestamp(), pg_is_in_recovery(), current_setting('server_version'),
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
        (select count(*) from pg_stat_activity where backend_type = 'client backend'),
        to_regclass('golive_schema') is not null
"""


async def look(url: str, uses: list[str], settings: Settings) -> list[Finding]:
    """
    What there is to say about the database at *url*, which is used for *uses*.

    Raises: UnavailableError when it does not answer; ConfigError without the driver.
    """
    line, where = Line(url), place(url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            now, follows, version, allowed, used, known = await line.run(lambda db: db.fetchrow(_ABOUT))
            apart = abs((datetime.now(UTC) - now).total_seconds())
            steps: dict[str, int] = dict(await line.run(_versions)) if known else {}
    except TimeoutError:
        return [fail("database", f"{where}: no answer within {ANSWER_SECONDS:g} s", "See what it waits for.")]
    finally:
        await line.close()
    found = [ok("database", f"{where}: PostgreSQL {version.split()[0]}, {used} of {allowed} connections in use")]
    if follows:
        found.append(fail("database", f"{where} is a replica, and golive has to write", "Name the primary."))
    if apart > 2:
        found.append(warn("clock", f"the clock of {where} is {apart:.1f} s from ours",
                          "Run a time service (chrony, systemd-timesyncd) on both."))  # fmt: skip
    if "app" in uses:
        found += _pools(settings, where, allowed)
    if "jobs" in uses:
        table = settings.jobs.table
        found.append(schema(where, f"jobs:{table}", steps.get(f"jobs:{table}"), len(Statements(table).steps)))
    return found


async def _versions(db: Any) -> list[tuple[str, int]]:
    return [(row[0], row[1]) for row in await db.fetch("select component, version from golive_schema")]


def _pools(settings: Settings, where: str, allowed: int) -> list[Finding]:
    db = settings.db
    most = db.pool_max * db.processes * db.replicas * 2  # a rollout has the old version and the new one
    if most <= allowed:
        return [ok("database", f"{where}: two versions take at most {most} of its {allowed} connections")]
    return [warn("database", f"{where}: two versions may take {most} connections, it allows {allowed}",
                 "Lower db.pool_max, or raise max_connections: in a rollout both versions hold pools.")]  # fmt: skip
