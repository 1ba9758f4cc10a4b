"""RQ on Redis: `rq worker` as it comes (it forks for each job), and its `SimpleWorker`, which does not."""

from __future__ import annotations

import os

import sink
from measure import beside, measure, run
from redis import Redis
from rq import Queue

URL = os.environ["BENCH_URL"]
SIMPLE = bool(os.environ.get("BENCH_SIMPLE"))
connection = Redis.from_url(URL)
queue = Queue(connection=connection)


def tick(sent_at: float) -> None:
    sink.ran(sent_at)


class Peer:
    backlog, blocking = 500 if SIMPLE else 120, True
    command = [  # noqa: RUF012
        beside("rq"), "worker", "--quiet", "--url", URL, "-w",
        "rq.worker.SimpleWorker" if SIMPLE else "rq.worker.Worker", "default",
    ]  # fmt: skip

    def enqueue(self, sent_at: float) -> None:
        queue.enqueue("on_rq.tick", sent_at, result_ttl=0)

    def enqueue_many(self, count: int) -> None:
        data = [Queue.prepare_data("on_rq.tick", (0.0,), result_ttl=0) for _ in range(count)]
        queue.enqueue_many(data)

    def clear(self) -> None:
        connection.flushall()


async def main() -> None:
    await measure(Peer())


if __name__ == "__main__":
    run(main())
