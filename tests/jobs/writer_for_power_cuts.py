"""
Submits, claims and settles without end, and says on stdout what was acknowledged: ``a ID`` stored, ``s ID`` succeeded.

With ``unsafe`` it commits without waiting for the disk: the control group, in which a power cut must be seen to hurt.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from golive.jobs.machine import Event
from golive.jobs.model import Demand, NewJob, Settlement, new_job_id
from golive.jobs.ports import JobStore
from golive.jobs.stores import store_for


def commit_unsafely(url: str) -> None:
    """What golive never does."""
    if url.startswith("sqlite"):
        from golive.jobs.stores import lane

        def without_disk(self: lane.Lane, full: bool) -> None:
            self._connection.execute("pragma synchronous = off")

        lane.Lane._sync = without_disk  # type: ignore[method-assign]
        return
    from golive.db.postgres import Line

    real = Line.__init__

    def without_wait(self: Line, url: str, **options: Any) -> None:
        real(self, url, **(options | {"durable": False}))

    Line.__init__ = without_wait  # type: ignore[method-assign]


async def submit(store: JobStore) -> None:
    while True:
        (submission,) = await store.submit([NewJob(new_job_id(), "it", b"1")])
        os.write(1, f"a {submission.job.id}\n".encode())


async def settle(store: JobStore) -> None:
    while True:
        claims = await store.claim([Demand("default", "it", 20)], 20, "writer", 60.0, None)
        ended = [Settlement(each.id, each.worker, each.fence, Event.SUCCEED, b"1") for each in claims]
        for claim, yes in zip(claims, await store.settle(ended), strict=True):
            assert yes
            os.write(1, f"s {claim.id}\n".encode())
        await asyncio.sleep(0.005)


async def main(url: str, how: str) -> None:
    if how == "unsafe":
        commit_unsafely(url)
    store = store_for(url, "block_jobs")
    await store.open()
    await asyncio.gather(settle(store), *(submit(store) for _ in range(8)))


asyncio.run(main(sys.argv[1], sys.argv[2]))
