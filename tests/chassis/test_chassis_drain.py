"""Shutdown, against a real process and raw keep-alive clients (cases D1 to D9)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timed]

APP = """
    import asyncio
    async def answer(send, body):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        if scope["path"] == "/slow":
            await asyncio.sleep(float(scope["query_string"] or b"1"))
        if scope["path"] == "/endless":
            kind = (b"content-type", b"text/event-stream")
            await send({"type": "http.response.start", "status": 200, "headers": [kind]})
            while True:
                await send({"type": "http.response.body", "body": b"data: x\\n\\n", "more_body": True})
                await asyncio.sleep(0.05)
        if scope["path"] == "/raise":
            raise ValueError("hunter2")
        await answer(send, b"ok")
"""


class Client:
    """A keep-alive client that asks as fast as it is answered, until told to look away. It never repeats a request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.refused = 0
        self.lost = 0
        self.answered = 0
        self.statuses: set[int] = set()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, looking_away: asyncio.Event) -> None:
        while not looking_away.is_set():
            if self._writer is None and not await self._connect():
                await asyncio.sleep(0.01)
                continue
            await self._ask()
        if self._writer is not None:
            self._writer.close()

    async def _connect(self) -> bool:
        try:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            self.refused += 1
            return False
        return True

    async def _ask(self) -> None:
        assert self._reader is not None
        assert self._writer is not None
        try:
            self._writer.write(b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n")
            head = await self._reader.readuntil(b"\r\n\r\n")
            body = await self._reader.readexactly(2)
        except (OSError, asyncio.IncompleteReadError):
            self.lost += 1
            self._writer = None
            return
        assert body == b"ok", body
        self.answered += 1
        self.statuses.add(int(head[9:12]))
        if b"connection: close" in head:
            self._writer.close()
            self._writer = None


async def poll_readiness(port: int, looking_away: asyncio.Event) -> None:
    """What a balancer does: ask every 30 ms, and take the instance out at the first 503."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health/ready HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        if b" 503 " in head.split(b"\r\n")[0]:
            looking_away.set()
            return
        await asyncio.sleep(0.03)


async def shut_down_under_load(service) -> list[Client]:
    clients = [Client(service.port) for _ in range(16)]
    looking_away = asyncio.Event()
    running = [asyncio.create_task(client.run(looking_away)) for client in clients]
    poller = asyncio.create_task(poll_readiness(service.port, looking_away))
    while sum(client.answered for client in clients) < 200:  # noqa: ASYNC110  the clients must not know they are watched
        await asyncio.sleep(0.01)
    service.process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(asyncio.gather(poller, *running), 20)
    return clients


async def test_d3_ten_shutdowns_under_load_refuse_nobody_and_lose_nothing(start):
    """Behind a client that polls readiness, SIGTERM costs no request: 0 refused, 0 lost, exit 0 each time."""
    refused = lost = answered = 0
    options = ("--lame-duck", "0.4s", "--grace", "5s")
    services = [start(APP, *options, GOLIVE_CHASSIS_ACCESS_LOG="false") for _ in range(2)]
    for service in services:  # the next ones boot while this one stops
        if len(services) < 10:
            services.append(start(APP, *options, GOLIVE_CHASSIS_ACCESS_LOG="false"))
        clients = await shut_down_under_load(service.wait_started())
        refused += sum(client.refused for client in clients)
        lost += sum(client.lost for client in clients)
        answered += sum(client.answered for client in clients)
    for service in services:
        assert service.wait() == 0
        assert service.log("shutdown")[0]["path"] == "closed"
    assert (refused, lost) == (0, 0), f"of {answered} answered"
    assert answered >= 2000


def test_d1_readiness_fails_on_the_next_probe_while_liveness_and_metrics_answer(start):
    """The balancer looks away first; nothing is refused yet."""
    service = start(APP, "--lame-duck", "1s").wait_started()
    assert service.status("/health/ready") == 200
    service.terminate()
    time.sleep(0.15)  # the handler runs when the loop next wakes, at most 100 ms later
    assert service.get("/health/ready").json() == {"status": "fail", "phase": "lame-duck"}
    assert [service.status(path) for path in ("/livez", "/startupz", "/metrics", "/x")] == [200, 200, 200, 200]
    assert service.wait() == 0


def test_d4_every_answer_in_the_lame_duck_closes_its_connection(start):
    """Keep-alive clients are sent away one answer at a time, without a cut."""
    service = start(APP, "--lame-duck", "1s").wait_started()
    before = service.get("/x", "connection: keep-alive\r\n")
    assert "connection" not in before.headers
    service.terminate()
    time.sleep(0.15)
    assert service.get("/x", "connection: keep-alive\r\n").headers["connection"] == "close"


def test_d2_a_request_in_flight_is_answered_whole(start, read_answer):
    """It began before the signal and outlives the lame duck; it ends with its 200 and the process with 0."""
    service = start(APP, "--lame-duck", "0.1s", "--grace", "10s").wait_started()
    with service.connect() as sock:
        sock.sendall(b"GET /slow?1.5 HTTP/1.1\r\nhost: t\r\n\r\n")
        time.sleep(0.2)
        asked = service.terminate()
        assert read_answer(sock).body == b"ok"
    assert service.wait() == 0
    assert 1 < time.monotonic() - asked < 6
    assert service.log("shutdown")[0]["path"] == "closed"


def test_d5_after_the_lame_duck_new_work_is_refused_before_its_body_is_read(start, read_answer, eventually):
    """While one request drains, an upload of 10 MB is told 503 at its head; probes still answer."""
    service = start(APP, "--lame-duck", "0s", "--grace", "10s").wait_started()
    with service.connect() as slow, contextlib.ExitStack() as stack:
        slow.sendall(b"GET /slow?2 HTTP/1.1\r\nhost: t\r\n\r\n")
        time.sleep(0.2)
        service.terminate()
        eventually(lambda: service.get("/health/ready").json()["phase"] == "draining", "draining")
        upload = stack.enter_context(service.connect())
        upload.sendall(b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 10485760\r\n\r\n" + b"x" * 1000)
        refused = read_answer(upload)
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert refused.json()["detail"] == "The service is shutting down."
        assert int(refused.headers["retry-after"]) >= 1
        assert service.status("/livez") == 200
        assert read_answer(slow).body == b"ok"
    assert service.wait() == 0


def test_d6_an_endless_stream_is_cancelled_at_the_deadline(start):
    """A stream cannot hold the process: it ends after lame duck and grace, and the log says what was cut."""
    service = start(APP, "--lame-duck", "0.2s", "--grace", "0.5s").wait_started()
    with service.connect() as sock:
        sock.sendall(b"GET /endless HTTP/1.1\r\nhost: t\r\n\r\n")
        assert b"text/event-stream" in sock.recv(65536)
        asked = service.terminate()
        assert service.wait() == 0
        assert time.monotonic() - asked < 0.7 + 1 + 0.5
    ended = service.log("shutdown")[0]
    assert (ended["path"], ended["in_flight"]) == ("timeout", 1)
    assert "shutdown path=timeout in_flight=1" in ended["message"]


def test_d7_a_clean_stop_logs_its_last_request_and_the_size_of_its_metrics(start):
    """Nothing that happened just before the end is missing from the log."""
    service = start(APP, "--lame-duck", "0.2s").wait_started()
    service.get("/x", "x-request-id: the-last-one\r\n")
    service.terminate()
    assert service.wait() == 0
    assert [line["request_id"] for line in service.log("request")][-1] == "the-last-one"
    ended = service.log("shutdown")[0]
    assert ended["path"] == "closed"
    assert ended["metrics_snapshot_bytes"] > 1000
    numbers = {}
    for line in service.log("metrics_snapshot"):
        numbers.update(line["series"])
    assert numbers['http_requests_total{method="GET",route="__unmatched__",status="200"}'] >= 1
    assert numbers['build_info{service="app",version="unknown"}'] == 1
    assert all(len(line) < 4096 for line in service.stdout_path.read_bytes().splitlines()), "whole in a shared pipe"


def test_d8_a_second_sigterm_ends_the_process_within_a_second(start):
    """Whoever asks twice means it, even while a request hangs in a thread."""
    service = start(
        """
        import time
        from fastapi import FastAPI
        app = FastAPI()
        @app.get("/hang")
        def hang(): time.sleep(60)
        """
    ).wait_started()
    with service.connect() as sock:
        sock.sendall(b"GET /hang HTTP/1.1\r\nhost: t\r\n\r\n")
        time.sleep(0.2)
        service.terminate()
        time.sleep(0.3)
        asked = service.terminate()
        assert service.wait() == 130
        assert time.monotonic() - asked < 1


def test_a_blocked_event_loop_cannot_hold_the_exit(start, eventually):
    """Code that never yields is ended at the deadline by a thread."""
    service = start(
        """
        import time
        from fastapi import FastAPI
        app = FastAPI()
        @app.get("/block")
        async def block():
            open("blocking", "w").close()
            end = time.monotonic() + 60
            while time.monotonic() < end: time.sleep(0.05)
        """,
        "--lame-duck",
        "0.2s",
        "--grace",
        "0.3s",
    ).wait_started()
    with service.connect() as sock:
        sock.sendall(b"GET /block HTTP/1.1\r\nhost: t\r\n\r\n")
        eventually((service.stdout_path.parent / "blocking").exists, "the loop is blocked")
        asked = service.terminate()
        service.wait()
        assert time.monotonic() - asked < 0.5 + 0.9 + 1


def test_control_c_skips_the_lame_duck(start):
    """A person at a terminal has no balancer that must look away."""
    service = start(APP, "--lame-duck", "20s").wait_started()
    asked = time.monotonic()
    service.process.send_signal(signal.SIGINT)
    assert service.wait() == 0
    assert time.monotonic() - asked < 3


def test_d9_the_in_flight_count_returns_to_zero_after_a_thousand_aborted_requests(start, eventually):
    """Hang-ups and exceptions are counted out again; probes were never counted in."""
    service = start(APP, GOLIVE_CHASSIS_ACCESS_LOG="false").wait_started()

    def abort_many() -> None:
        for number in range(250):
            with socket.create_connection(("127.0.0.1", service.port)) as sock:
                path = b"/raise" if number % 2 else b"/slow?0.2"
                sock.sendall(b"GET %b HTTP/1.1\r\nhost: t\r\n\r\n" % path)

    threads = [threading.Thread(target=abort_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: service.metric("http_requests_in_flight ") == 0, "nothing is in flight")
    assert service.metric('http_requests_total{method="GET",route="__unmatched__",status="500"') == 500


def test_no_chassis_serves_the_bare_app_with_the_same_boot_and_shutdown(start):
    """Probes are then the app's own business, and a stop still waits for what is in flight."""
    service = start(APP, "--no-chassis", "--lame-duck", "0.1s")
    while service.status("/x") != 200:
        time.sleep(0.01)
    answer = service.get("/livez")
    assert (answer.body, "x-request-id" in answer.headers) == (b"ok", False)
    service.terminate()
    assert service.wait() == 0
