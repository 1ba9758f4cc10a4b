"""Connections that all instances together may open, against those there are."""

from __future__ import annotations

from collections.abc import Iterator

from golive.gates.planlint.facts import Finding, PlanFacts
from golive.gates.target import Target
from golive.promises.state import CloudRunProbe, DatabaseProbe, PlanLintProbe

VERSIONS = 2
"""Two versions are up during a rollout and its watch, each with its own pool."""


def check(target: Target, facts: PlanFacts) -> Iterator[Finding]:
    """Only for services that open the pool of ``[db]``: of other pools nothing is known."""
    if not facts.pooled:
        return
    each = facts.pool_max * facts.processes * facts.replicas
    product = f"{facts.pool_max} x {facts.processes} processes x {facts.replicas} replicas"
    probe, database, run = (target.promise(kind) for kind in (PlanLintProbe, DatabaseProbe, CloudRunProbe))
    if isinstance(probe, PlanLintProbe) and probe.max_connections:
        room = probe.max_connections - probe.reserve
        if VERSIONS * each > room:
            yield Finding(
                "max-connections",
                ("db.pool_max", "gates.plan_lint.max_connections"),
                f"{product} x {VERSIONS} versions during a rollout = {VERSIONS * each} connections, there are {room} "
                f"({probe.max_connections} - {probe.reserve} reserved). Lower pool_max, or put a pooler in between.",
            )
    if isinstance(database, DatabaseProbe) and database.instances * database.pool_max < each:
        yield Finding(
            "database-gate",
            ("gates.database.instances x pool_max", "db.pool_max x processes x replicas"),
            f"the gate looks for room for {database.instances} x {database.pool_max} connections, the service opens "
            f"{product} = {each}. Write the same in both.",
        )
    if isinstance(run, CloudRunProbe) and run.instances_max > facts.replicas:
        yield Finding(
            "replicas",
            ("gates.cloud_run.instances_max", "db.replicas"),
            f"{run.instances_max} instances may run, the pool is reckoned for {facts.replicas}. "
            f"Write db.replicas = {run.instances_max}.",
        )
