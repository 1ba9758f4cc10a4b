"""The three functions of the third document, and the reconciler: events as API Gateway and SQS send them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.test_jobs_sqs import Queues

from golive.errors import ConfigError
from golive.jobs import JobContext, JobError, Jobs, JobsSettings, lambdas
from golive.jobs.lambdas import LambdaHandlers

pytestmark = pytest.mark.process


class Context:
    """What Lambda hands a function, as far as it is used."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def http_api(method: str, path: str, body: Any = None, *, tenant: str = "acme", **headers: str) -> dict[str, Any]:
    """An event of an HTTP API (payload format 2.0) with a JWT authorizer, in a stage of its own."""
    return {
        "version": "2.0", "routeKey": "ANY /{proxy+}", "rawPath": f"/prod{path}", "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "x.execute-api.eu-west-1.amazonaws.com", **headers},
        "requestContext": {
            "accountId": "123456789012", "apiId": "x", "stage": "prod", "requestId": "id", "domainName": "x",
            "authorizer": {"jwt": {"claims": {"tenant": tenant, "sub": "u"}, "scopes": None}},
            "http": {"method": method, "path": f"/prod{path}", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
        },
        "body": None if body is None else base64.b64encode(json.dumps(body).encode()).decode(),
        "isBase64Encoded": True,
    }  # fmt: skip


def rest_api(method: str, path: str, body: Any = None, *, tenant: str = "acme", **headers: str) -> dict[str, Any]:
    """An event of a REST API (1.0) with a Cognito authorizer."""
    given = {"Content-Type": "application/json", **headers}
    return {
        "resource": "/{proxy+}", "path": path, "httpMethod": method, "headers": given,
        "multiValueHeaders": {name: [value] for name, value in given.items()},
        "queryStringParameters": None, "pathParameters": {"proxy": path.strip("/")},
        "requestContext": {
            "resourcePath": "/{proxy+}", "httpMethod": method, "path": f"/prod{path}", "stage": "prod",
            "authorizer": {"claims": {"custom:tenant": tenant}}, "identity": {"sourceIp": "192.0.2.1"},
        },
        "body": None if body is None else json.dumps(body), "isBase64Encoded": False,
    }  # fmt: skip


def application(address: str, folder: Path) -> Jobs:
    """One handler, in the queue "enrichment"."""
    jobs = Jobs(JobsSettings(url=f"sqlite:///{folder}/jobs.db", transport=address, lease=timedelta(seconds=2),
                             patience=timedelta(seconds=1), backoff_base=timedelta(milliseconds=1)))  # fmt: skip

    @jobs.handler("vpr", queue="enrichment", attempts_max=2)
    async def vpr(payload: dict[str, Any], ctx: JobContext) -> dict[str, Any]:
        how = payload.get("how", "")
        if how == "dead" or (how == "once" and ctx.attempt == 1):
            raise JobError("broken", "it broke", retryable=how == "once")
        if how == "slow":
            import asyncio

            await asyncio.sleep(30)
        return {"tenant": ctx.tenant, **payload}

    return jobs


class World:
    """The functions, their queue, and what an event source mapping does."""

    def __init__(self, url: str, folder: Path, suffix: str = "") -> None:
        self.queues = Queues(url, suffix)
        self.url = self.queues.make("enrichment")
        self.functions = LambdaHandlers(application(self.queues.address, folder), "vpr", prefix="/api/vpr")

    def event(self, most: int = 10) -> dict[str, Any]:
        """What SQS has for the worker now, as Lambda's poller hands it over."""
        found = self.queues.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=most, WaitTimeSeconds=2, VisibilityTimeout=60,
            MessageSystemAttributeNames=["All"],
        )  # fmt: skip
        return {"Records": [
            {"messageId": each["MessageId"], "receiptHandle": each["ReceiptHandle"], "body": each["Body"],
             "attributes": each["Attributes"], "messageAttributes": {}, "md5OfBody": each["MD5OfBody"],
             "eventSource": "aws:sqs", "eventSourceARN": self.queues.arn(self.url), "awsRegion": "eu-west-1"}
            for each in found.get("Messages", [])
        ]}  # fmt: skip

    def deliver(self, seconds: float = 60.0) -> tuple[int, list[str]]:
        """One invocation; what it does not name is deleted, as Lambda does. How many there were, and the names."""
        event = self.event()
        failed = [
            each["itemIdentifier"] for each in self.functions.worker(event, Context(seconds))["batchItemFailures"]
        ]
        for each in event["Records"]:
            if each["messageId"] not in failed:
                self.queues.client.delete_message(QueueUrl=self.url, ReceiptHandle=each["receiptHandle"])
        return len(event["Records"]), failed

    def submit(self, how: str, **headers: str) -> str:
        answer = self.functions.submit(http_api("POST", "/api/vpr", {"how": how}, **headers), Context())
        assert answer["statusCode"] in (200, 202), answer
        return str(json.loads(answer["body"])["jobId"])

    def job(self, id_: str, **options: str) -> dict[str, Any]:
        answer = self.functions.status(http_api("GET", f"/api/vpr/jobs/{id_}", **options), Context())
        return {"statusCode": answer["statusCode"], **json.loads(answer["body"])}


@pytest.fixture
def world(aws_url: str, tmp_path: Path) -> World:
    """A fresh one."""
    return World(aws_url, tmp_path)


@pytest.mark.parametrize("api", [http_api, rest_api])
def test_submit_work_and_status_by_both_kinds_of_api(api: Callable[..., Any], world: World) -> None:
    """202 with the document's own body and a Location the client can use; the result for its tenant alone."""
    answer = world.functions.submit(api("POST", "/api/vpr", {"cv": "ü"}), Context())
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["ok"], body["status"]) == (202, True, "pending")
    assert answer["headers"]["location"] == f"/prod/api/vpr/jobs/{body['jobId']}"
    assert world.deliver() == (1, [])
    path = f"/api/vpr/jobs/{body['jobId']}"
    found = json.loads(world.functions.status(api("GET", path), Context())["body"])
    assert (found["status"], found["result"]) == ("succeeded", {"tenant": "acme", "cv": "ü"})
    alone = world.functions.status(api("GET", f"{path}/result"), Context())
    assert json.loads(alone["body"]) == found["result"]
    assert world.functions.status(api("GET", path, tenant="umbrella"), Context())["statusCode"] == 404
    assert world.deliver() == (0, [])


def test_bad_requests_are_the_routes_own_problems(world: World) -> None:
    """The same validation, idempotency and methods as behind any server."""
    submit, status = world.functions.submit, world.functions.status
    assert submit(http_api("POST", "/api/vpr", [1]), Context())["statusCode"] == 400
    assert submit(http_api("POST", "/api/vpr"), Context())["statusCode"] == 400
    assert submit(http_api("GET", "/api/vpr"), Context())["statusCode"] == 405
    assert submit(http_api("POST", "/api/other", {}), Context())["statusCode"] == 404
    assert status(http_api("PUT", "/api/vpr/jobs/x"), Context())["statusCode"] == 405
    assert status(http_api("GET", "/api/vpr/jobs/x"), Context())["statusCode"] == 404
    assert status(http_api("GET", "/api/vpr/jobs/x/events"), Context())["statusCode"] == 404
    first = world.submit("", **{"idempotency-key": "k"})
    assert world.submit("", **{"idempotency-key": "k"}) == first
    again = submit(http_api("POST", "/api/vpr", {"how": "other"}, **{"idempotency-key": "k"}), Context())
    assert (again["statusCode"], json.loads(again["body"])["code"]) == (422, "idempotency_key_reused")
    by_parameter = {**http_api("GET", "/vpr-status"), "pathParameters": {"jobId": first}}
    assert json.loads(status(by_parameter, Context())["body"])["id"] == first
    assert status(http_api("DELETE", f"/api/vpr/jobs/{first}"), Context())["statusCode"] == 200


def test_only_what_has_to_come_again_is_named(world: World) -> None:
    """A retry and a message of somebody else's; not what succeeded, and not what is dead: that is buried."""
    good, once, dead = world.submit("good"), world.submit("once"), world.submit("dead")
    world.queues.client.send_message(QueueUrl=world.url, MessageBody="hello")
    event = world.event()
    bodies = {each["messageId"]: each["body"] for each in event["Records"]}
    assert len(bodies) == 4
    named = {each["itemIdentifier"] for each in world.functions.worker(event, Context())["batchItemFailures"]}
    assert {bodies[name] == "hello" or json.loads(bodies[name])["job"] == once for name in named} == {True}
    assert len(named) == 2
    assert [world.job(id_)["status"] for id_ in (good, once, dead)] == ["succeeded", "pending", "failed"]
    (buried,) = world.queues.move_back("enrichment")
    assert buried["job"] == dead


def test_a_retry_comes_back_and_the_dead_run_again_when_they_are_moved_back(world: World) -> None:
    """Both by the queue's own means."""
    once, dead = world.submit("once"), world.submit("dead")
    seen, failed = world.deliver()
    assert (seen, len(failed)) == (2, 1)
    assert world.queues.move_back("enrichment")
    runs = 0
    while runs < 2:
        seen, _ = world.deliver()
        runs += seen
    assert world.job(once)["status"] == "succeeded"
    assert world.job(dead)["attempts"] == 1
    assert world.queues.move_back("enrichment")[0]["job"] == dead


def test_a_message_that_comes_twice_runs_its_job_once(world: World) -> None:
    """The second delivery, in the same batch or later, is done with at once."""
    id_ = world.submit("good")
    event = world.event()
    twin = {**event["Records"][0], "messageId": "twin"}
    assert world.functions.worker({"Records": [*event["Records"], twin]}, Context()) == {"batchItemFailures": []}
    assert world.functions.worker(event, Context()) == {"batchItemFailures": []}
    assert (world.job(id_)["status"], world.job(id_)["attempts"]) == ("succeeded", 1)


def test_a_function_whose_time_is_up_hands_its_jobs_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Lambda ends it: the message comes again, the attempt is not counted."""
    monkeypatch.setattr(lambdas, "DRAIN", timedelta(milliseconds=100))
    slow = world.submit("slow")
    seen, failed = world.deliver(lambdas.LAST_SECONDS + 0.5)
    assert (seen, len(failed)) == (1, 1)
    job = world.job(slow)
    assert (job["status"], job["attempts"]) == ("pending", 0)


def test_a_fifo_batch_stops_at_the_first_that_must_come_again(aws_url: str, tmp_path: Path) -> None:
    """So that the order of a tenant's jobs holds; another tenant's go on."""
    world = World(aws_url, tmp_path, ".fifo")
    first, second = world.submit("once"), world.submit("good")
    other = world.submit("good", tenant="umbrella")
    event = world.event()
    names = {json.loads(each["body"])["job"]: each["messageId"] for each in event["Records"]}
    assert set(names) == {first, second, other}
    failed = [each["itemIdentifier"] for each in world.functions.worker(event, Context())["batchItemFailures"]]
    assert sorted(failed) == sorted([names[first], names[second]])
    assert [world.job(id_)["status"] for id_ in (first, second)] == ["pending", "pending"]
    assert world.job(other, tenant="umbrella")["status"] == "succeeded"


def test_the_reconciler_sends_again_what_the_queue_lost(world: World) -> None:
    """On a schedule; there is no process that could."""
    id_ = world.submit("good")
    world.queues.client.purge_queue(QueueUrl=world.url)
    rung = 0
    while not rung:
        rung = world.functions.reconcile({}, Context())["rung_again"]
    assert world.deliver() == (1, [])
    assert world.job(id_)["status"] == "succeeded"


def test_without_sqs_and_without_the_handler_it_is_refused(tmp_path: Path) -> None:
    """By the name of the setting, and of the handler."""
    jobs = Jobs(JobsSettings(url=f"sqlite:///{tmp_path}/jobs.db"))
    with pytest.raises(ConfigError, match="expected a registered handler, got 'vpr'"):
        LambdaHandlers(jobs, "vpr", prefix="/api/vpr")
    jobs.handler("vpr")(_named)
    functions = LambdaHandlers(jobs, "vpr", prefix="/api/vpr")
    for call in (functions.worker, functions.reconcile):
        with pytest.raises(ConfigError, match=r"jobs\.transport: expected"):
            call({"Records": []}, Context())


async def _named(payload: int) -> int:
    return payload
