"""
``cloudwatch``: the metrics dashboards and alarms are made of have data. Source: seed 003 (verify metrics in the
dashboard); a wrong metric name makes an alarm that never fires.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from golive.gates.aws import Aws
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.state import CloudWatchProbe, MetricState


async def check(target: Target) -> Outcome:
    """PASS when every declared metric has a data point in the window."""
    probe = target.required(CloudWatchProbe, "cloudwatch")
    aws = Aws(probe.region, probe.endpoint)
    until = datetime.now(UTC)
    since = until - timedelta(seconds=probe.window)
    empty = []
    for metric in probe.metrics:
        if not await _points(aws, metric, since, until):
            at = ", ".join(f"{name}={value}" for name, value in metric.dimensions.items())
            empty.append(f"{metric.namespace} {metric.name}{f' ({at})' if at else ''}")
    if empty:
        return failed(f"no data in the last {probe.window:g} s: {'; '.join(empty)}", empty=empty)
    return passed(f"{len(probe.metrics)} metrics have data of the last {probe.window:g} s")


async def _points(aws: Aws, metric: MetricState, since: datetime, until: datetime) -> int:
    found = await aws.call(
        "cloudwatch",
        lambda cw: cw.get_metric_statistics(
            Namespace=metric.namespace,
            MetricName=metric.name,
            Dimensions=[{"Name": name, "Value": value} for name, value in metric.dimensions.items()],
            StartTime=since,
            EndTime=until + timedelta(minutes=1),
            Period=max(60, int((until - since).total_seconds()) // 60 * 60),
            Statistics=["SampleCount"],
        )["Datapoints"],
    )
    return len(found or [])


GATE = Gate(
    "cloudwatch",
    "The metrics of dashboards and alarms have data.",
    Phase.WATCH,
    check,
    timeout=120.0,
)
