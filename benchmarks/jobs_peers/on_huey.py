"""Huey on Redis: no results kept, blocking reads, one thread for each worker process."""

from __future__ import annotations

import os

import sink
from huey import RedisHuey
from measure import beside, measure, run

huey = RedisHuey("bench", url=os.environ["BENCH_URL"], results=False, blocking=True)


@huey.task()
def tick(sent_at: float) -> None:
    sink.ran(sent_at)


class Peer:
    backlog, blocking = 3000, True
    command = [beside("huey_consumer"), "on_huey.huey", "-w", "1", "-k", "thread", "-q"]  # noqa: RUF012

    def enqueue(self, sent_at: float) -> None:
        tick(sent_at)

    def enqueue_many(self, count: int) -> None:
        for _ in range(count):
            tick(0.0)

    def clear(self) -> None:
        huey.storage.conn.flushall()


async def main() -> None:
    import on_huey  # by the name the consumer knows its task under

    await measure(on_huey.Peer())


if __name__ == "__main__":
    run(main())
