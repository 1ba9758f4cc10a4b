"""
CloudWatch metrics that AWS never sends under that name, or not with those dimensions: an alarm on one is silent for
ever. Only namespaces listed here are judged. Source of the names: the AWS documentation of each service.
"""

from __future__ import annotations

from collections.abc import Iterator

from golive.errors import did_you_mean
from golive.gates.planlint.facts import Finding, PlanFacts
from golive.gates.target import Target
from golive.promises.state import CloudWatchProbe, MetricState

_NAMES = {
    "AWS/Lambda": """
        Invocations Errors DeadLetterErrors DestinationDeliveryFailures Throttles OversizedRecordCount
        ProvisionedConcurrencyInvocations ProvisionedConcurrencySpilloverInvocations RecursiveInvocationsDropped
        Duration PostRuntimeExtensionsDuration IteratorAge OffsetLag ConcurrentExecutions
        ProvisionedConcurrentExecutions ProvisionedConcurrencyUtilization UnreservedConcurrentExecutions
        ClaimedAccountConcurrency AsyncEventsReceived AsyncEventAge AsyncEventsDropped PolledEventCount
        FilteredOutEventCount InvokedEventCount FailedInvokeEventCount DroppedEventCount
        OnFailureDestinationDeliveredEventCount DeletedEventCount ProvisionedPollers
    """,
    "AWS/SQS": """
        ApproximateAgeOfOldestMessage ApproximateNumberOfMessagesDelayed ApproximateNumberOfMessagesNotVisible
        ApproximateNumberOfMessagesVisible ApproximateNumberOfGroupsWithInflightMessages NumberOfEmptyReceives
        NumberOfDeduplicatedSentMessages NumberOfMessagesDeleted NumberOfMessagesReceived NumberOfMessagesSent
        SentMessageSize ApproximateNumberOfNoisyGroups
    """,
    "AWS/DynamoDB": """
        AccountMaxReads AccountMaxTableLevelReads AccountMaxTableLevelWrites AccountMaxWrites
        AccountProvisionedReadCapacityUtilization AccountProvisionedWriteCapacityUtilization
        AgeOfOldestUnreplicatedRecord ConditionalCheckFailedRequests ConsumedChangeDataCaptureUnits
        ConsumedReadCapacityUnits ConsumedWriteCapacityUnits FailedToReplicateRecordCount
        MaxProvisionedTableReadCapacityUtilization MaxProvisionedTableWriteCapacityUtilization
        OnDemandMaxReadRequestUnits OnDemandMaxWriteRequestUnits OnlineIndexConsumedWriteCapacity
        OnlineIndexPercentageProgress OnlineIndexThrottleEvents PendingReplicationCount
        ProvisionedReadCapacityUnits ProvisionedWriteCapacityUnits ReadThrottleEvents ReplicationLatency
        ReturnedBytes ReturnedItemCount ReturnedRecordsCount SuccessfulRequestLatency SystemErrors
        TimeToLiveDeletedItemCount ThrottledPutRecordCount ThrottledRequests TransactionConflict UserErrors
        WriteThrottleEvents ReadAccountLimitThrottleEvents ReadKeyRangeThroughputThrottleEvents
        ReadMaxOnDemandThroughputThrottleEvents ReadProvisionedThroughputThrottleEvents
        WriteAccountLimitThrottleEvents WriteKeyRangeThroughputThrottleEvents
        WriteMaxOnDemandThroughputThrottleEvents WriteProvisionedThroughputThrottleEvents
    """,
    "AWS/ApplicationELB": """
        ActiveConnectionCount AnomalousHostCount ClientTLSNegotiationErrorCount ConsumedLCUs PeakLCUs
        DesyncMitigationMode_NonCompliant_Request_Count DroppedInvalidHeaderRequestCount ELBAuthError
        ELBAuthFailure ELBAuthLatency ELBAuthRefreshTokenSuccess ELBAuthSuccess ELBAuthUserClaimsSizeExceeded
        ForwardedInvalidHeaderRequestCount GrpcRequestCount HTTP_Fixed_Response_Count HTTP_Redirect_Count
        HTTP_Redirect_Url_Limit_Exceeded_Count HTTPCode_ELB_3XX_Count HTTPCode_ELB_4XX_Count
        HTTPCode_ELB_5XX_Count HTTPCode_ELB_500_Count HTTPCode_ELB_502_Count HTTPCode_ELB_503_Count
        HTTPCode_ELB_504_Count HTTPCode_Target_2XX_Count HTTPCode_Target_3XX_Count HTTPCode_Target_4XX_Count
        HTTPCode_Target_5XX_Count HealthyHostCount HealthyStateDNS HealthyStateRouting IPv6ProcessedBytes
        IPv6RequestCount LambdaInternalError LambdaTargetProcessedBytes LambdaUserError LowReputationPacketsDropped
        LowReputationRequestsDenied MitigatedHostCount NewConnectionCount NonStickyRequestCount ProcessedBytes
        RejectedConnectionCount RequestCount RequestCountPerTarget RuleEvaluations TargetConnectionErrorCount
        TargetResponseTime TargetTLSNegotiationErrorCount UnHealthyHostCount UnhealthyRoutingRequestCount
        UnhealthyStateDNS UnhealthyStateRouting ZonalShiftedHostCount
    """,
    "AWS/ApiGateway": """
        4XXError 5XXError CacheHitCount CacheMissCount Count IntegrationLatency Latency
        4xx 5xx DataProcessed ConnectCount MessageCount IntegrationError ClientError ExecutionError
    """,
}
NAMES = {namespace: tuple(names.split()) for namespace, names in _NAMES.items()}
"""Namespace -> the metrics AWS sends there."""

_DIMENSIONS = {
    "AWS/Lambda": ("FunctionName", "Resource", "ExecutedVersion", "EventSourceMappingUUID"),
    "AWS/SQS": ("QueueName",),
    "AWS/DynamoDB": ("TableName", "GlobalSecondaryIndexName", "Operation", "OperationType", "Verb",
                     "ReceivingRegion", "StreamLabel", "DelegatedOperation"),
    "AWS/ApplicationELB": ("LoadBalancer", "TargetGroup", "AvailabilityZone"),
    "AWS/ApiGateway": ("ApiName", "ApiId", "Stage", "Method", "Resource", "Route"),
}  # fmt: skip
#: metrics of one kind of API only -> the dimension of that kind, and what the other kind calls the same
_KINDS = {
    "4XXError": ("ApiName", "4xx"), "5XXError": ("ApiName", "5xx"),
    "4xx": ("ApiId", "4XXError"), "5xx": ("ApiId", "5XXError"),
}  # fmt: skip
#: metrics that come with these dimensions only
_NEEDED = {
    ("AWS/DynamoDB", "ThrottledRequests"): ("TableName", "Operation"),
    ("AWS/DynamoDB", "SystemErrors"): ("TableName", "Operation"),
    ("AWS/DynamoDB", "SuccessfulRequestLatency"): ("TableName", "Operation"),
    ("AWS/ApplicationELB", "UnHealthyHostCount"): ("TargetGroup", "LoadBalancer"),
    ("AWS/ApplicationELB", "HealthyHostCount"): ("TargetGroup", "LoadBalancer"),
}


def check(target: Target, facts: PlanFacts) -> Iterator[Finding]:
    """Every declared metric that cannot have data."""
    del facts
    probe = target.promise(CloudWatchProbe)
    for number, metric in enumerate(probe.metrics if probe is not None else ()):
        place = f"gates.cloudwatch.metrics[{number}]"
        known = NAMES.get(metric.namespace)
        if known is None:
            near = next((name for name in NAMES if name.lower() == metric.namespace.lower()), None)
            hint = f', did you mean "{near}"?' if near else did_you_mean(metric.namespace, list(NAMES))
            if metric.namespace.startswith("AWS/") and hint:
                yield Finding("metric-namespace", (place, "AWS"), f'"{metric.namespace}" has no data{hint}')
        elif metric.name not in known:
            near = next((name for name in known if name.lower() == metric.name.lower()), None)
            hint = f', did you mean "{near}"?' if near else did_you_mean(metric.name, list(known))
            yield Finding("metric-name", (place, metric.namespace), f'"{metric.name}" is not sent there{hint or "."}')
        else:
            yield from _dimensions(place, metric)


def _dimensions(place: str, metric: MetricState) -> Iterator[Finding]:
    known, where = _DIMENSIONS[metric.namespace], (place, f"{metric.namespace} {metric.name}")
    for dimension in metric.dimensions:
        if dimension not in known:
            hint = did_you_mean(dimension, list(known)) or f". Known: {', '.join(known)}."
            yield Finding("metric-dimension", where, f'has no dimension "{dimension}"{hint}')
    for dimension in _NEEDED.get((metric.namespace, metric.name), ()):
        if dimension not in metric.dimensions:
            yield Finding("metric-dimension", where, f"comes only with {dimension}. Add it.")
    own, other = _KINDS.get(metric.name, ("", "")) if metric.namespace == "AWS/ApiGateway" else ("", "")
    wrong = {"ApiName": "ApiId", "ApiId": "ApiName"}.get(own)
    if wrong in metric.dimensions:
        yield Finding(
            "metric-name",
            where,
            f'an API with {wrong} sends "{other}"; "{metric.name}" is for {own} (REST APIs have names, HTTP APIs ids).',
        )
    balancer = metric.dimensions.get("LoadBalancer", "")
    if metric.namespace == "AWS/ApplicationELB" and balancer and not balancer.startswith("app/"):
        yield Finding(
            "metric-dimension", where, f'LoadBalancer is the end of its ARN, "app/NAME/ID", got "{balancer}".'
        )
