"""
A job's progress as server-sent events (WHATWG HTML, 9.2), for ``new EventSource("/api/blocks/jobs/ID/events")``.

Each change of the job is one event, named by its status, whose data is the job document on one line. A stream ends
with the job, or after :data:`SECONDS_MAX`; the browser comes back by itself with the id of the last event it saw, so
that nothing is repeated, and is told to stay away (204) once it has seen the end. Streams that short need no
keep-alive and hold up no drain.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from golive.jobs.model import Job

#: Below the time-outs of the proxies in between, and below a drain.
SECONDS_MAX = 25.0
#: Each open stream looks at its job this often.
LOOK_SECONDS = 0.25
#: Streams of one process; beyond, clients are asked to come back later.
STREAMS_MAX = 1000


def event_id(document: bytes) -> str:
    """Names what a client has seen of a job."""
    return hashlib.blake2b(document, digest_size=9).hexdigest()


async def stream(
    job: Job, look: Callable[[], Awaitable[Job | None]], document: Callable[[Job], bytes], seen: str
) -> AsyncIterator[bytes]:
    """
    The events of *job*, beginning with how it is now unless the client has *seen* that.

    Args:
        look: the job as it is in the store, None when it is gone.
        document: one line of JSON.
    """
    yield b"retry: 500\n\n"
    deadline = time.monotonic() + SECONDS_MAX
    now: Job | None = job
    while now is not None:
        data = document(now)
        if (id_ := event_id(data)) != seen:
            seen = id_
            yield b"id: %s\nevent: %s\ndata: %s\n\n" % (id_.encode(), now.state.encode(), data)
        if now.state.terminal or time.monotonic() >= deadline:
            return
        await asyncio.sleep(LOOK_SECONDS)
        now = await look()
