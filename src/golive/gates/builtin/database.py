"""
``database``: what the service stands on is there: it answers, encrypted, in the version, with room for every pool.
Source: seed 001 (managed Postgres with TLS, connection saturation), seed 000 (pool of 2, five instances).
"""

from __future__ import annotations

from golive.gates import sql
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.state import DatabaseProbe


async def check(target: Target) -> Outcome:
    """PASS when connection, encryption, version, room and tables are as declared."""
    probe = target.required(DatabaseProbe, "database")
    if probe.url.startswith("sqlite:"):
        (found,) = await sql.rows(probe.url, sql.existing_tables(probe.url, probe.tables), root=target.root)
        missing = [name for name in probe.tables if (name,) not in found]
        if missing:
            return failed(f"table {missing[0]} does not exist", missing=missing)
        return passed(f"the file opens, {len(probe.tables)} tables exist")
    encrypted, version, room, used, tables = await sql.rows(
        probe.url,
        "select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)",
        "select current_setting('server_version_num')::int / 10000",
        "select current_setting('max_connections')::int",
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        sql.existing_tables(probe.url, probe.tables),
    )
    wanted = probe.instances * probe.pool_max
    problems = []
    if probe.tls and not encrypted[0][0]:
        problems.append("the connection is not encrypted: add sslmode=require to the URL")
    if version[0][0] < probe.version_min:
        problems.append(f"it is PostgreSQL {version[0][0]}, expected {probe.version_min} or newer")
    if wanted + probe.reserve > room[0][0]:
        problems.append(
            f"{probe.instances} instances with pools of {probe.pool_max} need {wanted} connections and {probe.reserve} "
            f"in reserve, it has {room[0][0]}"
        )
    problems += [f"table {name} does not exist" for name in probe.tables if (name,) not in tables]
    evidence = {"version": version[0][0], "connections_max": room[0][0], "connections_used": used[0][0]}
    if problems:
        return failed("; ".join(problems), **evidence)
    return passed(f"PostgreSQL {version[0][0]}, {wanted} of {room[0][0]} connections planned", **evidence)


GATE = Gate(
    "database",
    "The database answers, encrypted, with room for every pool.",
    Phase.DEPLOY,
    check,
    watch=True,
)
