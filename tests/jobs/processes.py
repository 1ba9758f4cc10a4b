"""The service's processes as the tests start and kill them, and a client that asks until it is answered."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

HERE = Path(__file__).parent
GOLIVE = "from golive.cli import main; main()"


class Service:
    """The service's processes on one store, a SQLite file by default; whatever is left is killed at the end."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.log = (folder / "log").open("wb")
        environment.setdefault("GOLIVE_JOBS_URL", f"sqlite:///{folder / 'jobs.db'}")
        self.url = environment["GOLIVE_JOBS_URL"]
        self.environment = {**os.environ, **environment}
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=HERE, env=self.environment, stdout=self.log, stderr=self.log,
            pass_fds=[self.socket.fileno()],
        )  # fmt: skip
        self.started.append(process)
        return process

    def server(self) -> subprocess.Popen[bytes]:
        fd = str(self.socket.fileno())
        return self.start("-m", "uvicorn", "service_for_processes:app", "--fd", fd, "--log-level", "warning")

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        return self.start("-c", GOLIVE, "worker", "service_for_processes:jobs", *options)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in Path(self.log.name).read_text().splitlines() if line.startswith("{")]


@contextmanager
def service(folder: Path, **environment: str) -> Iterator[Service]:
    """A :class:`Service`, ended with everything it started."""
    running = Service(folder, **environment)
    try:
        yield running
    finally:
        for process in running.started:
            process.kill()
            process.wait()
        running.socket.close()
        running.log.close()


async def submit_all(address: str, numbers: range, acknowledged: dict[int, str]) -> None:
    """Submit each number under its own key, again and again until it is acknowledged."""
    waiting = iter(numbers)

    async def caller() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=20) as client:
            for number in waiting:
                while number not in acknowledged:
                    try:
                        response = await client.post(
                            "/jobs/async", json=number, headers={"idempotency-key": f"number-{number}"}
                        )
                    except httpx.TransportError:
                        continue
                    if response.status_code in (202, 200):  # 200: the answer was lost, and the job has ended since
                        acknowledged[number] = response.json()["job_id"]
                    else:
                        assert response.status_code == 503, response.text

    await asyncio.gather(*(caller() for _ in range(24)))
