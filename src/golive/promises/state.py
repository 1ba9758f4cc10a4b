"""Promises about what the service stands on: databases, caches, cloud resources, variables. Durations are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from golive.promises.kinds import Argv, Seconds, UrlPath


@dataclass(frozen=True, slots=True)
class MigrationsProbe:
    """
    Every migration of the tree is in the database, and nothing else.

    Attributes:
        files: glob of the migrations; a migration's name is its file name without the ending.
        url: ``sqlite:///file`` or ``postgresql://...``.
        table, column: where the database keeps the names it has applied.
        latest_only: the table holds only the newest name, as Alembic's does.
        tables: further tables that must exist.
    """

    files: str
    url: str
    table: str = "schema_migrations"
    column: str = "name"
    latest_only: bool = False
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseProbe:
    """
    The database the service will use answers and is large enough.

    Attributes:
        tls: the connection must be encrypted. Source: seed 001.
        instances, pool_max: together so many connections, which must fit beside *reserve* into ``max_connections``.
        version_min: major version of PostgreSQL.
        tables: must exist.
    """

    url: str
    tls: bool = True
    instances: int = 1
    pool_max: int = 5
    reserve: int = 3
    version_min: int = 0
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """
    Attributes:
        eviction: the policy ``maxmemory-policy`` must have; anything but noeviction drops queue entries silently.
        persistent: an append-only file or snapshots must be on.
    """

    url: str
    eviction: str = "noeviction"
    persistent: bool = True


@dataclass(frozen=True, slots=True)
class PlatformProbe:
    """How a platform asks: *path* every *period* seconds, gone after *failures* misses in a row. Source: seed 000."""

    path: UrlPath
    timeout: Seconds
    period: Seconds
    failures: int = 3


@dataclass(frozen=True, slots=True)
class CloudRunProbe:
    """
    What a Cloud Run manifest (YAML or JSON, as written or as ``gcloud run services describe`` prints it) must say.
    Zero or None: not looked at.

    Attributes:
        cpu_always: without it, jobs freeze after the 202. Source: seed 000, its critical setting.
        liveness, startup: probes the manifest must have with these numbers.
    """

    manifest: str
    cpu_always: bool = True
    instances_min: int = 0
    instances_max: int = 0
    concurrency: int = 0
    request_timeout: Seconds = 0.0
    liveness: PlatformProbe | None = None
    startup: PlatformProbe | None = None


@dataclass(frozen=True, slots=True)
class QueueState:
    """
    A queue with a dead-letter queue; a message stays invisible six times as long as its worker may take.

    Attributes:
        visibility: what the queue must be set to, and what plan-lint judges without asking AWS; 0: not declared.
    """

    name: str
    dead_letters: str = ""
    worker_timeout: Seconds = 0.0
    receives_max: int = 0
    visibility: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class TableState:
    """A DynamoDB table: its key, its indexes, which must be active, and the attribute that expires items."""

    name: str
    key: str
    indexes: tuple[str, ...] = ()
    ttl: str = ""
    recovery: bool = False


@dataclass(frozen=True, slots=True)
class BucketState:
    """A bucket nobody outside can read; *probe* writes, reads and deletes one object."""

    name: str
    lifecycle: bool = True
    probe: bool = False


@dataclass(frozen=True, slots=True)
class FunctionState:
    """A Lambda function: active, with these variables, fed by *queue*."""

    name: str
    env: tuple[str, ...] = ()
    queue: str = ""
    timeout: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class InfrastructureProbe:
    """
    AWS resources as they are, asked with boto3. Source: seed 003, ``verify_aws_state.py``.

    Attributes:
        mode: ``absent``: none of them may exist, after a teardown.
        endpoint: of another server than AWS; empty: what boto3 finds.
        alarms: must exist, with actions that are on.
        dashboards: must exist.
    """

    queues: tuple[QueueState, ...] = ()
    tables: tuple[TableState, ...] = ()
    buckets: tuple[BucketState, ...] = ()
    functions: tuple[FunctionState, ...] = ()
    alarms: tuple[str, ...] = ()
    dashboards: tuple[str, ...] = ()
    mode: Literal["deployed", "absent"] = "deployed"
    region: str = "us-east-1"
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class MetricState:
    """One CloudWatch metric."""

    namespace: str
    name: str
    dimensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CloudWatchProbe:
    """Each metric has data points of the last *window* seconds: a dashboard of names nobody sends is empty."""

    metrics: tuple[MetricState, ...]
    window: Seconds = 3600.0
    region: str = "us-east-1"
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class InfraDiffProbe:
    """
    A change of the infrastructure does only what is allowed. Source: seed 003 (new resources only).

    Attributes:
        file: a CloudFormation change set as ``describe-change-set`` prints it, relative to the project.
        run: writes it to standard output instead.
        allow: actions.
        never: logical ids no action may touch, as globs.
    """

    file: str = ""
    run: Argv = ()
    allow: tuple[str, ...] = ("Add",)
    never: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvironmentProbe:
    """
    Attributes:
        required: variables that are set, to something else than the example's value, a placeholder or localhost.
        file: a ``KEY=value`` file to look in; empty: the environment of golive.
        local_allowed: the profile of a developer's machine.
    """

    required: tuple[str, ...]
    file: str = ""
    local_allowed: bool = False


@dataclass(frozen=True, slots=True)
class ReplicasProbe:
    """
    With more than one of *replicas*, nothing that must be shared is kept in one process. Source: seed 002, its caveat.

    Attributes:
        stores: what -> where it is kept; ``memory`` and ``sqlite`` on one machine are no places to share.
    """

    replicas: int = 1
    stores: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanLintProbe:
    """
    What plan-lint cannot read from other settings. Zero: not known, and the rules about it are not judged.

    Attributes:
        rate: requests per second the service gets in a quiet hour.
        max_connections, reserve: of the database; the reserve is for administrators.
        termination_grace: what the platform waits between SIGTERM and SIGKILL, when it is not its default.
    """

    rate: float = 0.0
    max_connections: int = 0
    reserve: int = 3
    termination_grace: Seconds = 0.0


TABLES: dict[str, type] = {
    "applied_migrations": MigrationsProbe,
    "database": DatabaseProbe,
    "redis": RedisProbe,
    "cloud_run": CloudRunProbe,
    "infrastructure": InfrastructureProbe,
    "cloudwatch": CloudWatchProbe,
    "infra_diff": InfraDiffProbe,
    "environment": EnvironmentProbe,
    "replicas": ReplicasProbe,
    "plan_lint": PlanLintProbe,
}
