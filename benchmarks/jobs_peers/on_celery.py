"""Celery on Redis, tuned for short tasks as its guide "Optimizing" says: no results kept, a large prefetch."""

from __future__ import annotations

import os

import sink
from celery import Celery
from measure import beside, measure, run

app = Celery("bench", broker=os.environ["BENCH_URL"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=200, worker_send_task_events=False,
                broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)  # fmt: skip


@app.task(name="tick")
def tick(sent_at: float) -> None:
    sink.ran(sent_at)


class Peer:
    """One pool process for each worker."""

    backlog, blocking = 1500, True
    command = [  # noqa: RUF012
        beside("celery"), "-A", "on_celery", "worker", "--concurrency", "1", "--without-gossip", "--without-mingle",
        "--without-heartbeat", "--loglevel", "WARNING",
    ]  # fmt: skip

    def enqueue(self, sent_at: float) -> None:
        tick.delay(sent_at)

    def enqueue_many(self, count: int) -> None:
        with app.producer_pool.acquire(block=True) as producer:
            for _ in range(count):
                tick.apply_async((0.0,), producer=producer)

    def clear(self) -> None:
        app.control.purge()


async def main() -> None:
    await measure(Peer())


if __name__ == "__main__":
    run(main())
