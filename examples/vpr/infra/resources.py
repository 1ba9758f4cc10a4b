"""
What the service stands on in AWS, made with boto3: a queue with its dead letters, a table with its index, a bucket.

``python infra/resources.py ENV [ENDPOINT]``. A team would write this as CDK or CloudFormation; what counts is what
``golive check`` finds afterwards.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3  # type: ignore[import-untyped]

WORKER_SECONDS = 90


def create(environment: str, endpoint: str | None = None, region: str = "us-east-1") -> None:
    """All of it, for *environment*."""

    def client(name: str) -> Any:
        return boto3.client(name, region_name=region, endpoint_url=endpoint)

    sqs, table, s3, cloudwatch = (client(name) for name in ("sqs", "dynamodb", "s3", "cloudwatch"))
    kept = {"MessageRetentionPeriod": str(14 * 86400)}
    dead = sqs.create_queue(QueueName=f"vpr-jobs-dlq-{environment}", Attributes=kept)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    attributes = {"VisibilityTimeout": str(6 * WORKER_SECONDS), "RedrivePolicy": redrive}
    sqs.create_queue(QueueName=f"vpr-jobs-queue-{environment}", Attributes=attributes)
    _table(table, f"vpr-jobs-table-{environment}")
    bucket = f"vpr-results-bucket-{environment}"
    s3.create_bucket(Bucket=bucket)
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(names, True))
    rule = {"ID": "old", "Status": "Enabled", "Expiration": {"Days": 30}, "Filter": {"Prefix": ""}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    cloudwatch.put_metric_alarm(
        AlarmName=f"vpr-dlq-alarm-{environment}", Namespace="AWS/SQS", Statistic="Maximum", Period=60,
        MetricName="ApproximateNumberOfMessagesVisible", EvaluationPeriods=1, Threshold=1.0,
        Dimensions=[{"Name": "QueueName", "Value": f"vpr-jobs-dlq-{environment}"}],
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=[f"arn:aws:sns:{region}:123456789012:vpr-on-call-{environment}"],
    )  # fmt: skip


def _table(client: Any, name: str) -> None:
    index = {"IndexName": "by-user", "KeySchema": [{"AttributeName": "userId", "KeyType": "HASH"}],
             "Projection": {"ProjectionType": "ALL"}}  # fmt: skip
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "jobId", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("jobId", "userId")],
        GlobalSecondaryIndexes=[index],
    )
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})


if __name__ == "__main__":
    create(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
