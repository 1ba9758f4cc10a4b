"""Dramatiq on Redis: one process with its default of eight threads."""

from __future__ import annotations

import os

import dramatiq
import sink
from dramatiq.brokers.redis import RedisBroker
from measure import beside, measure, run

broker = RedisBroker(url=os.environ["BENCH_URL"])
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="tick")
def tick(sent_at: float) -> None:
    sink.ran(sent_at)


class Peer:
    backlog, blocking = 3000, True
    command = [beside("dramatiq"), "on_dramatiq", "-p", "1", "-t", "8"]  # noqa: RUF012

    def enqueue(self, sent_at: float) -> None:
        tick.send(sent_at)

    def enqueue_many(self, count: int) -> None:
        for _ in range(count):
            tick.send(0.0)

    def clear(self) -> None:
        broker.client.flushall()


async def main() -> None:
    await measure(Peer())


if __name__ == "__main__":
    run(main())
