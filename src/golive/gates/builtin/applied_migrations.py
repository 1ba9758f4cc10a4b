"""
``applied-migrations``: the database has every migration of the tree, and none the tree does not have. Source: seed 000
(table created), seed 002 (migration status).
"""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath

from golive.gates import sql, tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.state import MigrationsProbe


async def check(target: Target) -> Outcome:
    """PASS when the applied names are those of the files, and every declared table exists."""
    probe = target.required(MigrationsProbe, "applied_migrations")
    names = await asyncio.to_thread(_names, target, probe)
    if not names:
        return unavailable(f"no file fits {probe.files}: nothing to compare with")
    applied_rows, table_rows = await sql.rows(
        probe.url,
        f"select {sql.quoted(probe.column)} from {sql.quoted(probe.table)}",  # noqa: S608 - quoted
        sql.existing_tables(probe.url, probe.tables),
        root=target.root,
    )
    applied = {
        PurePosixPath(str(row[0])).stem if str(row[0]).endswith((".sql", ".py")) else str(row[0])
        for row in applied_rows
    }
    wanted = {names[-1]} if probe.latest_only else set(names)
    problems = [f"{name} is not applied" for name in sorted(wanted - applied)]
    problems += [f"{name} is applied and not in the tree" for name in sorted(applied - set(names))]
    problems += [f"table {name} does not exist" for name in probe.tables if (name,) not in table_rows]
    if problems:
        return failed("; ".join(problems[:5]), problems=problems)
    return passed(f"{len(names)} migrations of the tree, all in the database, latest {names[-1]}", latest=names[-1])


def _names(target: Target, probe: MigrationsProbe) -> list[str]:
    """Sorted: migrations are numbered or dated."""
    return sorted(PurePosixPath(name).stem for name, _ in tree.files(target) if tree.matches(name, (probe.files,)))


GATE = Gate(
    "applied-migrations",
    "The database has the migrations of the tree, all and only.",
    Phase.DEPLOY,
    check,
    watch=True,
)
