"""Webhooks: where they may go, how they are signed, and that each end is told, whatever dies in between."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.errors import ConfigError, UsageError
from golive.jobs import Jobs, JobsSettings, State, webhooks
from golive.jobs.destinations import RefusedDestinationError, destination, is_public, pin
from golive.jobs.errors import JobError
from golive.jobs.webhooks import Announcer, Webhooks, deliver, sign
from golive.testing.jobs_running import finished, until, working

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "198.18.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
     "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1",
     "64:ff9b::169.254.169.254", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
     "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "not an address", ""],
)  # fmt: skip
def test_an_address_that_is_not_public_is_known_in_every_disguise(address: str) -> None:
    """Loopback, private, link-local, metadata, shared, multicast, reserved, and what IPv6 carries inside."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::1"])
def test_a_public_address_is_one(address: str) -> None:
    """So that the test above means something."""
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://hooks.example.com/", "expected https, got 'http'"),
        ("ftp://hooks.example.com/", "expected https"),
        ("file:///etc/passwd", "expected https"),
        ("hooks.example.com", "expected https, got 'no scheme'"),
        ("https://hooks.example.com:8443/", "expected port 443, got 8443"),
        ("https://user:pw@hooks.example.com/", "without user, password"),
        ("https://hooks.example.com/#x", "without user, password and fragment"),
        ("https://127.0.0.1/", "expected the name of a host, got an address"),
        ("https://[::1]/", "expected the name of a host, got an address"),
        ("https://2130706433/", "expected the full name"),
        ("https://0x7f.1/", "expected the full name"),
        ("https://localhost/", "expected the full name"),
        ("https://-bad-.example.com/", "expected the full name"),
        ("https://other.example.org/", "expected a host on the list"),
        ("https://example.com/", "expected a host on the list"),
        ("https://evilexample.com/", "expected a host on the list"),
        ("https://hooks.example.com/a b", "expected a URL of at most"),
        ("https://hooks.example.com/\r\nHost: x", "expected a URL of at most"),
        ("https://hooks.example.com\\@evil.example.org/", "expected a URL of at most"),
        ("https://hooks.example.com:99999/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://hooks.example.com/" + "x" * 2048, "expected a URL of at most"),
        ("https://hööks.example.com/", "expected a URL of at most"),
    ],
)
def test_a_url_that_may_not_be_called_is_refused_with_the_reason(url: str, complaint: str) -> None:
    """Before any name is resolved."""
    with pytest.raises(RefusedDestinationError, match=complaint):
        destination(url, ["*.example.com"])


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60))
def test_any_text_is_refused_or_is_a_plain_https_url(text: str) -> None:
    """Nothing else gets through, and nothing else is raised."""
    try:
        where = destination(text, [])
    except RefusedDestinationError:
        return
    assert (where.scheme, where.port) == ("https", 443)


def test_every_address_of_a_name_is_judged_and_one_of_them_is_used() -> None:
    """One private address among public ones refuses all: who mixes them has something in mind."""
    where = destination("https://Hooks.Example.com./x?y=1", ["hooks.example.com"])
    assert (where.host, where.target) == ("hooks.example.com", "/x?y=1")
    assert pin(where, lambda *_: ["8.8.8.8", "1.1.1.1"]) == "8.8.8.8"
    for addresses in (["8.8.8.8", "127.0.0.1"], ["::ffff:10.0.0.1"], ["169.254.169.254"]):
        with pytest.raises(RefusedDestinationError, match=r"expected a public address of hooks\.example\.com"):
            pin(where, lambda *_, found=addresses: found)
    with pytest.raises(OSError, match="has no address"):
        pin(where, lambda *_: [])


def test_a_signature_is_what_standard_webhooks_says() -> None:
    """Computed here by the specification, and with the example secrets of both kinds."""
    expected = hmac.new(b"k" * 32, b"msg_1.1674087231." + b"{}", hashlib.sha256).digest()
    assert sign(SECRET, "msg_1", 1674087231, b"{}") == "v1," + base64.b64encode(expected).decode()
    assert sign("plain text of sufficient length", "a", 1, b"") != sign(SECRET, "a", 1, b"")
    for short in ("", "short", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(b"k" * 23).decode()):
        with pytest.raises(ConfigError, match="secret: expected at least 24 bytes"):
            Webhooks(secret=short)
    assert SECRET not in repr(Webhooks(secret=SECRET))


class _Receiver(http.server.ThreadingHTTPServer):
    """Answers with the statuses it is told, in turns, and keeps what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.place = f"127.0.0.1:{self.server_address[1]}"


class _Taking(http.server.BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((self.path, headers, body))
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.send_response(status)
        if status in (301, 307):
            self.send_header("location", f"http://{self.server.place}/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    server = _Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def service(jobs: Jobs, receiver: _Receiver, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    for name, value in (("BACKOFF_BASE", "10ms"), ("BACKOFF_MAX", "10ms"), ("LOOK_SECONDS", 0.01)):
        monkeypatch.setattr(webhooks, name, value)
    jobs.webhooks(secret=SECRET, trust=[receiver.place])

    @jobs.handler("report", attempts_max=1)
    async def report(number: int) -> float:
        return 1 / number

    return jobs


async def test_the_end_of_a_job_is_told_signed_and_again_until_it_is_taken(
    jobs: Jobs, receiver: _Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A success and a failure; a redirect is not followed; each attempt is signed anew, under one id."""
    service(jobs, receiver, monkeypatch)
    receiver.statuses = [500, 301]
    async with working(jobs):
        job = await jobs.submit("report", 2, tenant="acme", webhook=f"http://{receiver.place}/done?x=1")

        async def told() -> bool:
            return len(receiver.got) >= 3

        await until(told)
        bad = await jobs.submit("report", 0, webhook=f"http://{receiver.place}/failed")

        async def told_again() -> bool:
            return len(receiver.got) >= 4

        await until(told_again)
        await until(lambda: _all_done(jobs))
    assert [path for path, *_ in receiver.got] == ["/done?x=1"] * 3 + ["/failed"]
    _, headers, body = receiver.got[2]
    assert {each[1]["webhook-id"] for each in receiver.got[:3]} == {headers["webhook-id"]}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    event = json.loads(body)
    assert (event["type"], event["data"]["id"], event["data"]["result"]) == ("job.succeeded", job.id, 0.5)
    failure = json.loads(receiver.got[3][2])
    assert (failure["type"], failure["data"]["id"]) == ("job.failed", bad.id)
    assert "ZeroDivisionError" not in receiver.got[3][2].decode()


async def _all_done(jobs: Jobs) -> bool:
    return all(state is State.FAILED for _, state in await jobs.store.depth())


async def test_an_announcer_that_dies_half_way_makes_no_second_delivery(
    jobs: Jobs, receiver: _Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It submitted and did not get to say so: the next one submits the same key."""
    service(jobs, receiver, monkeypatch)
    async with jobs:
        job = await jobs.submit("report", 1, webhook=f"http://{receiver.place}/")
        await jobs.cancel(job.id)

        async def die(_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(jobs.store, "announced", die)
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    await Announcer(jobs.store).once()
        await Announcer(jobs.store).once()
        assert len(await jobs.store.page(9, state=State.PENDING, kind=webhooks.NAME, before=None)) == 1
        assert await jobs.store.unannounced(9) == []


async def test_a_webhook_needs_the_operator_to_want_it() -> None:
    """Without a declaration nothing is taken; with one, what it does not allow is refused before it is stored."""
    jobs = Jobs("memory://")

    @jobs.handler("report")
    async def report() -> None: ...

    with pytest.raises(UsageError, match=r"expected jobs\.webhooks"):
        await jobs.submit("report", webhook="https://hooks.example.com/")
    jobs.webhooks(secret=SECRET, allow=["hooks.example.com"])
    with pytest.raises(ConfigError, match="declared once"):
        jobs.webhooks(secret=SECRET)
    with pytest.raises(RefusedDestinationError):
        await jobs.submit("report", webhook="https://169.254.169.254/latest/meta-data")
    assert await jobs.store.depth() == {}
    assert (await jobs.submit("report", webhook="https://hooks.example.com/x")).webhook == "https://hooks.example.com/x"


def test_what_a_receiver_answers_decides_about_the_next_attempt(receiver: _Receiver) -> None:
    """2xx is taken, 410 ends it, the rest is tried again; a name that turned private is refused for good."""
    hooks = Webhooks(secret=SECRET, trust=[receiver.place], resolve=lambda *_: ["127.0.0.1"])
    receiver.statuses = [202, 410, 404, 307]
    assert deliver(hooks, f"http://{receiver.place}/", "id", b"{}") == 202
    for code, retryable in (("webhook_gone", False), ("webhook_not_taken", True), ("webhook_not_taken", True)):
        with pytest.raises(JobError) as caught:
            deliver(hooks, f"http://{receiver.place}/", "id", b"{}")
        assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert [path for path, *_ in receiver.got] == ["/"] * 4
    for url, code, retryable in (
        ("https://rebound.example.com/", "webhook_refused", False),
        ("http://127.0.0.1:1/", "webhook_unreachable", True),
    ):
        with pytest.raises(JobError) as caught:
            deliver(Webhooks(secret=SECRET, trust=["127.0.0.1:1"], resolve=lambda *_: ["127.0.0.1"]), url, "id", b"{}")
        assert (caught.value.code, caught.value.retryable) == (code, retryable)


async def test_a_webhook_over_http_is_taken_only_where_it_is_opened(receiver: _Receiver) -> None:
    """From the header the routes name; one that may not be called is 400 and stores nothing."""
    jobs = Jobs(JobsSettings(url="memory://"))
    jobs.webhooks(secret=SECRET, trust=[receiver.place])

    @jobs.handler("report")
    async def report(number: int) -> int:
        return number

    opened = jobs.asgi("report", prefix="/open", webhook_header="x-callback")
    closed = jobs.asgi("report", prefix="/closed")

    async def post(app: Any, path: str, url: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post(path, json=1, headers={"x-callback": url})

    taken = await post(opened, "/open/async", f"http://{receiver.place}/cb")
    job = await jobs.get(taken.json()["job_id"])
    assert (taken.status_code, job and job.webhook) == (202, f"http://{receiver.place}/cb")
    ignored = await jobs.get((await post(closed, "/closed/async", "http://localhost/")).json()["job_id"])
    assert ignored is not None
    assert ignored.webhook is None
    before = await jobs.store.depth()
    refused = await post(opened, "/open/async", "http://localhost/")
    assert (refused.status_code, refused.json()["code"]) == (400, "webhook_refused")
    assert await jobs.store.depth() == before
    async with working(jobs):
        assert (await finished(jobs, ignored)).state is State.SUCCEEDED
