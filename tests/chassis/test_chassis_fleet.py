"""
Several worker processes behind one port: what a caller, an operator and a scraper see of them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

PIDS = """
import asyncio, os
from golive import Chassis

async def inner(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

app = Chassis.from_env().wrap(inner)
"""


@pytest.fixture(scope="module")
def fleet(start_shared):
    """Three workers that the tests of this file share; what they kill is replaced."""
    service = start_shared(PIDS, "--workers", "3", "--lame-duck", "0s")
    return service.wait_started()


def pids(service, requests: int = 60) -> set[int]:
    return {int(service.get("/").body) for _ in range(requests)}


def all_serve(service) -> bool:
    return service.metric("worker_processes") == 3


def test_the_first_answer_and_every_one_after_ready_come_from_a_worker_that_serves(start):
    """The port answers while the workers import; after the first "ready" nobody is told "starting"."""
    service = start("import time\ntime.sleep(1)\n" + PIDS, "--workers", "3", "--lame-duck", "0s")
    seen = []
    while not seen or seen[-1] != 200:
        seen.append(service.status("/health/ready"))
        assert time.monotonic() < service.spawned_at + 30
    assert 503 in seen, "probes are answered before the app is there"
    assert {service.status("/") for _ in range(100)} == {200}


def test_requests_are_served_by_several_processes_and_metrics_are_those_of_all(fleet, eventually, read_answer):
    """Whoever answers a scrape knows what the others counted."""
    eventually(lambda: all_serve(fleet), "three workers serve")
    before = fleet.metric('http_requests_total{method="GET",route="__unmatched__",status="200"}')
    answers: set[bytes] = set()
    asked = 0
    while len(answers) < 2:  # on a busy machine one worker may take all that wait before another is woken
        sockets = [fleet.connect() for _ in range(30)]  # held open at once, or one quick worker could serve them all
        for sock in sockets:
            sock.sendall(b"GET /slow HTTP/1.1\r\nhost: t\r\n\r\n")
        answers |= {read_answer(sock).body for sock in sockets}
        for sock in sockets:
            sock.close()
        asked += len(sockets)
        assert asked < 600, f"{asked} requests were all served by {answers}"
    counted = fleet.metric('http_requests_total{method="GET",route="__unmatched__",status="200"}') - before
    assert counted == asked
    text = fleet.get("/metrics").body.decode()
    assert text.count("# TYPE http_requests_total counter") == 1
    assert text.count("\nbuild_info{") == 1
    assert fleet.get("/metrics", "accept: application/openmetrics-text\r\n").body.endswith(b"# EOF\n")


def test_m7_a_worker_that_is_killed_is_replaced_and_no_counter_goes_back(fleet, eventually):
    """Six times kill -9: what a scrape has shown once is never taken back, and nothing is left lying about."""
    eventually(lambda: all_serve(fleet), "three workers serve")
    restarts, last = fleet.metric("worker_restarts_total"), 0.0
    for _ in range(6):
        victim = int(fleet.get("/").body)
        shown = fleet.metric("http_requests_total")
        assert shown >= last
        os.kill(victim, signal.SIGKILL)
        last = eventually(lambda: fleet.metric("http_requests_total"), "a scrape is answered")
        assert last >= shown
        eventually(lambda: all_serve(fleet), "the worker is replaced")
    assert fleet.metric("worker_restarts_total") == restarts + 6
    assert len(fleet.log("worker_ended")) >= 6
    assert [line["code"] for line in fleet.log("worker_ended")] == [-9] * len(fleet.log("worker_ended"))


def test_m7_a_scrape_of_five_thousand_series_costs_no_loop_a_tenth_of_a_second_after_restarts():
    """The short form of `make bench-scrape`: CPU time of the threads the loops run in, whoever else is busy."""
    script = Path(__file__).parents[2] / "benchmarks" / "fleet_scrape.py"
    short = ["--workers", "2", "--restarts", "2", "--scrapes", "3", "--lines-only", "--hold"]
    told = subprocess.run([sys.executable, str(script), *short], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "2 workers, 2 killed, 5," in told.stdout


def test_a_stuck_worker_does_not_hold_up_a_scrape(fleet, eventually):
    """Its last numbers are shown."""
    eventually(lambda: all_serve(fleet), "three workers serve")
    stuck = int(fleet.get("/").body)
    os.kill(stuck, signal.SIGSTOP)
    try:
        answered = 0
        for _ in range(12):  # a connection the stopped worker has accepted waits for it: not what is asked here
            try:
                with fleet.connect(3.0) as sock:
                    sock.sendall(b"GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
                    answered += sock.recv(65536).startswith(b"HTTP/1.1 200")
            except TimeoutError:
                continue
            if answered >= 2:
                break
    finally:
        os.kill(stuck, signal.SIGCONT)
    assert answered >= 2


def test_lines_of_all_workers_stay_whole(fleet):
    """Five hundred lines from three processes to one pipe-like file, each of them JSON (the helper decodes all)."""

    def knock() -> None:
        for _ in range(60):
            fleet.get("/" + "x" * 300)

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fleet.log("request")


def test_sigterm_stops_all_workers_once_and_loses_no_request_in_flight(start, eventually):
    """Also when every process is signalled, as systemd and a terminal do: that is no impatient second signal."""
    service = start(PIDS, "--workers", "2", "--lame-duck", "0s").wait_started()
    eventually(lambda: service.metric("worker_processes") == 2, "two workers serve")
    workers = pids(service)
    sock = service.connect()
    sock.sendall(b"GET /slow HTTP/1.1\r\nhost: t\r\n\r\n")
    time.sleep(0.2)
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    service.terminate()
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    assert service.wait() == 0
    assert {line["path"] for line in service.log("shutdown")} == {"closed"}
    assert service.log("fleet_stopped")[0]["killed"] == 0


def test_workers_stop_when_their_supervisor_is_gone(start, eventually):
    """They would hold the port of the next one."""
    service = start(PIDS, "--workers", "2", "--lame-duck", "5s").wait_started()
    service.process.kill()

    def port_is_free() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", service.port)) != 0

    eventually(port_is_free, "nobody listens any more")


def test_a_service_whose_workers_cannot_start_ends_with_their_code(start):
    """Once, with the reason; not again and again."""
    service = start("raise RuntimeError('no such table')\n", "--workers", "3", GOLIVE_CHASSIS_BOOT_LINGER="0s")
    assert service.wait() == 2
    assert "no such table" in service.stderr()
    assert len(service.log("worker_ended")) <= 3


def test_keys_of_one_process_are_refused_for_several(start):
    """Each worker would run the request once."""
    source = """
        from fastapi import FastAPI
        from golive import Chassis

        inner, chassis = FastAPI(), Chassis.from_env()

        @inner.post("/orders")
        @chassis.idempotent()
        async def orders() -> int:
            return 1

        app = chassis.wrap(inner)
    """
    service = start(source, "--workers", "2", GOLIVE_CHASSIS_BOOT_LINGER="0s")
    assert service.wait() == 2
    assert "expected a store that all workers share, got memory, for /orders" in service.stderr()


def test_equal_requests_run_once_on_four_processes_that_are_killed_in_between():
    """The short form of `make prove-once`: the document's load, and forty rounds with two workers killed."""
    script = Path(__file__).parents[2] / "benchmarks" / "ingest_rounds.py"
    options = ["--rounds", "40", "--kill-every", "20"]
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 workers killed" in done.stdout
