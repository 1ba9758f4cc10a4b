"""Procrastinate, as its documentation shows it: psycopg's pool, a concurrent worker."""

from __future__ import annotations

import os

import procrastinate
import sink
from measure import beside, measure, run

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_URL"], min_size=8, max_size=8),
    import_paths=["on_procrastinate"],
)


@app.task(name="tick")
async def tick(sent_at: float) -> None:
    sink.ran(sent_at)


class Peer:
    """Two hundred slots, as golive's worker has."""

    backlog, blocking = 800, False
    command = [beside("procrastinate"), "--app=on_procrastinate.app", "worker", "--concurrency", "200"]  # noqa: RUF012

    async def enqueue(self, sent_at: float) -> None:
        await tick.defer_async(sent_at=sent_at)

    async def enqueue_many(self, count: int) -> None:
        await tick.batch_defer_async(*({"sent_at": 0.0} for _ in range(count)))

    async def clear(self) -> None:
        await app.connector.execute_query_async("truncate procrastinate_jobs cascade")


async def main() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await measure(Peer())


if __name__ == "__main__":
    run(main())
