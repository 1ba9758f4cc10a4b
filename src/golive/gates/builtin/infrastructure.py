"""
``infrastructure``: the resources exist and are set up as the service needs them, asked from AWS itself. Source: seed
003 (its task 2 and ``verify_aws_state.py``): SQS with a dead-letter queue, DynamoDB with its index, S3, Lambda, alarms.

In mode ``absent`` it proves the opposite: after a teardown, nothing of it is left.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from golive.gates.aws import Aws
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.state import BucketState, FunctionState, InfrastructureProbe, QueueState, TableState

_Found = list[str] | None  # what is wrong with a resource; None: there is none


async def check(target: Target) -> Outcome:
    """PASS when every declared resource is there and as declared; in mode ``absent``, when none is."""
    probe = target.required(InfrastructureProbe, "infrastructure")
    aws = Aws(probe.region, probe.endpoint)
    looks: list[tuple[str, Callable[[], Awaitable[_Found]]]] = [
        *((f"queue {each.name}", lambda each=each: _queue(aws, each)) for each in probe.queues),
        *((f"table {each.name}", lambda each=each: _table(aws, each)) for each in probe.tables),
        *((f"bucket {each.name}", lambda each=each: _bucket(aws, each)) for each in probe.buckets),
        *((f"function {each.name}", lambda each=each: _function(aws, each)) for each in probe.functions),
        *((f"alarm {each}", lambda each=each: _alarm(aws, each)) for each in probe.alarms),
        *((f"dashboard {each}", lambda each=each: _dashboard(aws, each)) for each in probe.dashboards),
    ]
    if not looks:
        return unavailable("no resource declared: nothing to look at")
    seen = {name: await look() for name, look in looks}
    if probe.mode == "absent":
        left = [name for name, found in seen.items() if found is not None]
        return failed(f"still there: {', '.join(left)}", left=left) if left else passed(f"none of {len(seen)} is left")
    problems = [f"{name} does not exist" for name, found in seen.items() if found is None]
    problems += [f"{name}: {problem}" for name, found in seen.items() for problem in found or []]
    evidence = {"resources": {name: "missing" if found is None else found or "OK" for name, found in seen.items()}}
    if problems:
        return failed("; ".join(problems[:8]), **evidence)
    return passed(f"{len(seen)} resources are there and as declared", **evidence)


async def _queue(aws: Aws, wanted: QueueState) -> _Found:
    def attributes(name: str) -> Callable[[Any], dict[str, str]]:
        def work(sqs: Any) -> dict[str, str]:
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            return dict(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])

        return work

    queue = await aws.call("sqs", attributes(wanted.name))
    if queue is None:
        return None
    problems = []
    visibility = int(queue.get("VisibilityTimeout", 30))
    if visibility < 6 * wanted.worker_timeout:
        problems.append(
            f"messages stay invisible {visibility} s, a worker of {wanted.worker_timeout:g} s needs six times that"
        )
    if wanted.visibility and visibility != wanted.visibility:
        problems.append(f"messages stay invisible {visibility} s, expected {wanted.visibility:g}")
    if wanted.dead_letters:
        policy = json.loads(queue.get("RedrivePolicy", "{}"))
        dead = await aws.call("sqs", attributes(wanted.dead_letters))
        if dead is None:
            problems.append(f"its dead-letter queue {wanted.dead_letters} does not exist")
        elif policy.get("deadLetterTargetArn") != dead.get("QueueArn"):
            problems.append(f"it does not send its dead letters to {wanted.dead_letters}")
        elif int(dead.get("MessageRetentionPeriod", 0)) < int(queue.get("MessageRetentionPeriod", 0)):
            problems.append("the dead-letter queue forgets sooner than the queue itself")
        if policy and wanted.receives_max and int(policy.get("maxReceiveCount", 0)) != wanted.receives_max:
            problems.append(f"maxReceiveCount is {policy.get('maxReceiveCount')}, expected {wanted.receives_max}")
    return problems


async def _table(aws: Aws, wanted: TableState) -> _Found:
    table = await aws.call("dynamodb", lambda db: db.describe_table(TableName=wanted.name)["Table"])
    if table is None:
        return None
    keys = [key["AttributeName"] for key in table["KeySchema"] if key["KeyType"] == "HASH"]
    problems = [] if keys == [wanted.key] else [f"its key is {', '.join(keys)}, expected {wanted.key}"]
    indexes = {each["IndexName"]: each["IndexStatus"] for each in table.get("GlobalSecondaryIndexes", [])}
    for name in wanted.indexes:
        if indexes.get(name) != "ACTIVE":
            problems.append(f"index {name} is {indexes.get(name, 'missing')}")
    if wanted.ttl:
        ttl = await aws.call(
            "dynamodb", lambda db: db.describe_time_to_live(TableName=wanted.name)["TimeToLiveDescription"]
        )
        if not ttl or ttl.get("TimeToLiveStatus") != "ENABLED" or ttl.get("AttributeName") != wanted.ttl:
            problems.append(f"items do not expire by {wanted.ttl}")
    if wanted.recovery:
        backups = await aws.call(
            "dynamodb",
            lambda db: db.describe_continuous_backups(TableName=wanted.name)["ContinuousBackupsDescription"],
        )
        status = ((backups or {}).get("PointInTimeRecoveryDescription") or {}).get("PointInTimeRecoveryStatus")
        if status != "ENABLED":
            problems.append("point-in-time recovery is off")
    return problems


async def _bucket(aws: Aws, wanted: BucketState) -> _Found:
    def facts(s3: Any) -> bool:
        s3.head_bucket(Bucket=wanted.name)
        return True

    if not await aws.call("s3", facts):
        return None
    problems = []
    block = await aws.call(
        "s3", lambda s3: s3.get_public_access_block(Bucket=wanted.name)["PublicAccessBlockConfiguration"]
    )
    if not block or not all(block.values()):
        problems.append("public access is not blocked")
    if wanted.lifecycle and not await aws.call(
        "s3", lambda s3: s3.get_bucket_lifecycle_configuration(Bucket=wanted.name)["Rules"]
    ):
        problems.append("it has no lifecycle rule: results stay for ever")
    if wanted.probe:
        problems += await _object(aws, wanted.name)
    return problems


async def _object(aws: Aws, bucket: str) -> list[str]:
    key, content = f"golive-probe/{uuid.uuid4()}", uuid.uuid4().bytes

    def work(s3: Any) -> bool:
        s3.put_object(Bucket=bucket, Key=key, Body=content)
        back = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.delete_object(Bucket=bucket, Key=key)
        return bool(back == content)

    return [] if await aws.call("s3", work) else ["an object that was written is not read back"]


async def _function(aws: Aws, wanted: FunctionState) -> _Found:
    function = await aws.call("lambda", lambda client: client.get_function(FunctionName=wanted.name)["Configuration"])
    if function is None:
        return None
    problems = []
    if function.get("State", "Active") != "Active":
        problems.append(f"it is {function['State']}")
    has = function.get("Environment", {}).get("Variables", {})
    problems += [f"{name} is not set" for name in wanted.env if not has.get(name)]
    if wanted.timeout and function.get("Timeout") != int(wanted.timeout):
        problems.append(f"its time-out is {function.get('Timeout')} s, expected {wanted.timeout:g}")
    if wanted.queue:
        sources = await aws.call(
            "lambda", lambda client: client.list_event_source_mappings(FunctionName=wanted.name)["EventSourceMappings"]
        )
        if not any(each["EventSourceArn"].endswith(f":{wanted.queue}") for each in sources or []):
            problems.append(f"it is not fed by {wanted.queue}")
    return problems


async def _alarm(aws: Aws, name: str) -> _Found:
    alarms = await aws.call("cloudwatch", lambda cw: cw.describe_alarms(AlarmNames=[name])["MetricAlarms"])
    if not alarms:
        return None
    alarm = alarms[0]
    if not alarm.get("ActionsEnabled", True) or not alarm.get("AlarmActions"):
        return ["it tells nobody: no action, or actions are off"]
    return []


async def _dashboard(aws: Aws, name: str) -> _Found:
    body = await aws.call("cloudwatch", lambda cw: cw.get_dashboard(DashboardName=name)["DashboardBody"])
    if body is None:
        return None
    try:
        widgets = json.loads(body).get("widgets", [])
    except (ValueError, AttributeError):
        return ["its body is no JSON"]
    return [] if widgets else ["it shows nothing"]


GATE = Gate(
    "infrastructure",
    "The cloud resources exist and are set up as the service needs them.",
    Phase.DEPLOY,
    check,
    timeout=120.0,
    watch=True,
)
