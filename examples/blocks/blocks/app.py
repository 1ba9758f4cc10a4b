"""
The composition root: one handler behind two contracts, the routes beside it, and the chassis around everything.

``golive serve blocks.app:app`` runs it, and so does any other ASGI server. Importing this module reads the data set and
nothing else; the stores open when the service starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from blocks import problems
from blocks.routes import api_router
from blocks.service import RankedBlocks, rank_for
from blocks.snapshots import SMOKE, SnapshotStore, beside
from blocks.venues import load_city
from blocks.wire import SnapshotRequest
from golive import Chassis, JobContext, Jobs

load_city()  # data that cannot be read stops the start, not the first request
jobs = Jobs.from_env()
snapshots = SnapshotStore(beside(jobs.settings.url))
chassis = Chassis.from_env()


@jobs.handler("blocks", attempts_max=3)
async def blocks(request: SnapshotRequest, ctx: JobContext) -> RankedBlocks:
    """The one handler of ``POST /api/blocks`` and ``POST /api/blocks/async``."""
    ctx.bind(snapshot_id=request.snapshot_id)
    return await rank_for(request, snapshots)


@chassis.check("snapshots")
async def snapshots_answer() -> None:
    """Ready means that a snapshot can be read."""
    await asyncio.to_thread(snapshots.get, SMOKE.id)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Let go of the snapshot file at the end; the job store has a lifespan of its own in the jobs router."""
    yield
    snapshots.close()


service = FastAPI(title="Blocks", summary="Where to wait for the next pick-up in Port Larkin.", lifespan=lifespan)
service.include_router(
    jobs.router("blocks", prefix="/api/blocks", body_style="camel", headers={"x-snapshot-id": "snapshotId"})
)
service.include_router(api_router(snapshots))
problems.install(service)


@service.get("/", include_in_schema=False)
@service.get("/healthz", include_in_schema=False)
async def healthz() -> dict[str, object]:
    """Alive and serving, all of it from one process: what the go-live report asks for."""
    return {"ok": True, "mode": "mono"}


app = chassis.wrap(service)
