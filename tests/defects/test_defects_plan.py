"""plan-lint proves itself: a setting that contradicts another, planted into a healthy plan, is found by its rule."""

from pathlib import Path

import pytest

from golive.config import Settings, load_settings
from golive.gates import Target, Verdict, run_gates
from golive.gates.planlint.metrics import NAMES
from golive.gates.planlint.samples import at_most
from golive.targets import target_of

#: placeholder -> what the healthy plan says
HEALTHY = {
    "load": 'requests = 2000\nthresholds = ["p95 <= 1s", "error_rate <= 1%"]',
    "soak": 'duration = "10m"\nrate = 5.0',
    "rate": "rate = 20.0",
    "connections": "max_connections = 100",
    "slo": 'error_rate = { target = "<= 1%", alert_if = "> 2%" }\nlatency_p95 = { target = "< 1s", alert_if = "> 3s" }',
    "stages": "{ weight = 10, soak = '10m', max_soak = '1h' }, { weight = 100 }",
    "visibility": "12m",
    "worker": "2m",
    "platform": "kubernetes",
    "shutdown": "",
    "grace": "20s",
    "drain": "25s",
    "request": "10s",
    "pool": "pool_max = 2\nprocesses = 2\nreplicas = 5",
    "database": "instances = 5\npool_max = 4",
    "metric": 'namespace = "AWS/SQS", name = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = "jobs" }',
}
PLAN = """
service = "shop"
app = "main:app"
[deploy]
worker_command = ["{{python}}", "-m", "golive", "worker", "main:jobs"]
stop_timeout = "90s"
[slo]
{slo}
[rollout]
stages = [{stages}]
[chassis]
platform = "{platform}"
request_timeout = "{request}"
{shutdown}
[jobs]
drain = "{drain}"
[db]
{pool}
[gates.load]
{load}
[gates.soak]
{soak}
[gates.plan_lint]
{rate}
{connections}
[gates.database]
url = "postgresql://shop@db.example/shop"
{database}
[gates.cloud_run]
manifest = "run.yaml"
instances_max = 5
[gates.shutdown]
slow = {{ get = "/slow" }}
grace = "{grace}"
[gates.infrastructure]
queues = [{{ name = "jobs", worker_timeout = "{worker}", visibility = "{visibility}" }}]
functions = [{{ name = "worker", queue = "jobs", timeout = "2m" }}]
[gates.cloudwatch]
metrics = [{{ {metric} }}]
"""
#: gate: what is wrong -> the rule that finds it, the placeholder, what stands there instead, a figure of the message
PLANTED = {
    "plan-lint: a percentile of too few requests": (
        "load-percentile-sample", "load", 'requests = 2000\nthresholds = ["p999 <= 1s"]', "Send 10000"),
    "plan-lint: an error limit of too few requests": (
        "load-error-sample", "load", 'requests = 100\nthresholds = ["error_rate <= 1%"]', "passes in 19% of runs"),
    "plan-lint: an open loop that sends less than it says": (
        "load-error-sample", "load",
        'requests = 2000\nconcurrency = 0\nrate = 3\nthresholds = ["success_rate >= 99%"]', "with 90 requests"),
    "plan-lint: a soak too short for its limit": ("soak-sample", "soak", 'duration = "20s"\nrate = 5.0', "Soak longer"),
    "plan-lint: an alarm within the noise": (
        "alarm-in-noise", "slo", 'error_rate = { target = "<= 1%", alert_if = "> 1.01%" }', "6000 requests a window"),
    "plan-lint: stages that see too few requests": (
        "rollout-sample", "stages", "{ weight = 0.1, soak = '10m', max_soak = '20m' }, { weight = 100 }",
        "24 requests in all stages"),
    "plan-lint: a message that comes back too early": ("queue-visibility", "visibility", "11m", "Set 720 s"),
    "plan-lint: a worker's time-out below its function's": ("queue-worker", "worker", "90s", "less than the 120 s"),
    "plan-lint: a drain longer than the platform waits": (
        "termination-grace", "shutdown", 'grace = "26s"', "31 s does not fit into 30 s"),
    "plan-lint: a worker the platform kills": ("termination-grace", "drain", "40s", "killed with jobs in hand"),
    "plan-lint: a gate that waits longer than the platform": ("shutdown-gate", "grace", "31s", "killed after 30 s"),
    "plan-lint: a service that outlasts its gateway": ("gateway-timeout", "request", "60s", "gives up after 15 s"),
    "plan-lint: an alarm that can never be true": (
        "alarm-out-of-reach", "slo", 'latency_p95 = { target = "< 1s", alert_if = "> 20s" }', "cut off by the gateway"),
    "plan-lint: more connections than there are": (
        "max-connections", "connections", "max_connections = 40", "= 40 conn"),
    "plan-lint: a database gate that looks for less": (
        "database-gate", "database", "instances = 5\npool_max = 2", "= 20"),
    "plan-lint: more instances than the pool is for": (
        "replicas", "pool", "pool_max = 2\nprocesses = 2\nreplicas = 3", "Write db.replicas = 5"),
    "plan-lint: a load limit looser than the alarm": (
        "gate-looser-than-alarm", "load", 'thresholds = ["error_rate <= 5%"]', "alarms at once in production"),
    "plan-lint: a gate's target looser than the alarm": (
        "gate-looser-than-alarm", "slo",
        'error_rate = { target = "<= 1%", alert_if = "> 2%", gate = { target = "<= 5%", alert_if = "> 6%" } }',
        "alarms at once in production"),
    "plan-lint: a table that judges nothing": (
        "nothing-judged", "slo", 'memory_ratio = { target = "< 80%" }', "none is judged"),
    "plan-lint: a metric nobody sends": (
        "metric-name", "metric", 'namespace = "AWS/Lambda", name = "Throttle", dimensions = { FunctionName = "w" }',
        'did you mean "Throttles"?'),
    "plan-lint: a REST metric of an HTTP API": (
        "metric-name", "metric", 'namespace = "AWS/ApiGateway", name = "5XXError", dimensions = { ApiId = "a" }',
        'sends "5xx"'),
    "plan-lint: a namespace that does not exist": (
        "metric-namespace", "metric", 'namespace = "AWS/APIGateway", name = "Count"', 'did you mean "AWS/ApiGateway"?'),
    "plan-lint: a dimension of another service": (
        "metric-dimension", "metric",
        'namespace = "AWS/SQS", name = "NumberOfMessagesSent", dimensions = { TableName = "jobs" }', "QueueName"),
    "plan-lint: throttling without its operation": (
        "metric-dimension", "metric",
        'namespace = "AWS/DynamoDB", name = "ThrottledRequests", dimensions = { TableName = "jobs" }', "Operation"),
    "plan-lint: a balancer by its name": (
        "metric-dimension", "metric",
        'namespace = "AWS/ApplicationELB", name = "RequestCount", dimensions = { LoadBalancer = "shop" }',
        "app/NAME/ID"),
}  # fmt: skip


def planned(folder: Path, **planted: str) -> Target:
    (folder / "golive.toml").write_text(PLAN.format(**{**HEALTHY, **planted}))
    return target_of(load_settings(folder / "golive.toml", environ={}), "", {})


async def test_a_plan_without_contradictions_is_green(tmp_path: Path, prove) -> None:  # type: ignore[no-untyped-def]
    """With everything written that a rule compares."""
    prove(await run_gates(["plan-lint"], planned(tmp_path)), "")


@pytest.mark.parametrize("defect", PLANTED)
async def test_a_planted_contradiction_is_found_by_its_rule_alone(tmp_path: Path, prove, defect: str) -> None:  # type: ignore[no-untyped-def]
    """And it says what to change, with figures."""
    rule, placeholder, text, figure = PLANTED[defect]
    report = await run_gates(["plan-lint"], planned(tmp_path, **{placeholder: text}))
    prove(report, defect)
    found = report.results[0].outcome.evidence["findings"]
    assert {each["rule"] for each in found} == {rule}
    assert figure in report.results[0].outcome.sentence
    assert all(len(each["places"]) == 2 and all(each["places"]) for each in found)


async def test_what_golive_does_by_itself_is_no_contradiction() -> None:
    """The defaults pass, or nobody could begin; and without settings nothing is proven."""
    for target, verdict in ((target_of(Settings(), "", {}), Verdict.PASS), (Target(), Verdict.UNAVAILABLE)):
        report = await run_gates(["plan-lint"], target)
        assert report.results[0].outcome.verdict is verdict, report.results[0].outcome.sentence


async def test_without_a_rate_nothing_is_said_about_traffic(tmp_path: Path) -> None:
    """And the sentence says so."""
    few = "{ weight = 0.1, soak = '10m', max_soak = '20m' }, { weight = 100 }"
    (result,) = (await run_gates(["plan-lint"], planned(tmp_path, rate="", stages=few))).results
    assert result.outcome.verdict is Verdict.PASS
    assert "need gates.plan_lint.rate" in result.outcome.sentence


@pytest.mark.parametrize(
    ("most", "count", "share", "expected"),
    [(0, 60, 0.03, 0.97**60), (1, 2, 0.5, 0.75), (2, 2, 0.5, 1.0), (10, 20, 0.5, 0.5880985260009766)],
)
def test_binomial_sums_are_exact(most: int, count: int, share: float, expected: float) -> None:
    """Against closed forms, and a value of 20 coins."""
    assert at_most(most, count, share) == pytest.approx(expected, rel=1e-9)


def test_no_metric_is_listed_twice() -> None:
    """A name that is there twice is a typing error in the other one."""
    assert all(len(set(names)) == len(names) for names in NAMES.values())
