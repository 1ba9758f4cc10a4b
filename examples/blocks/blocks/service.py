"""Joins the pure core to the world: the request, the stored snapshot and the data set become one ranking."""

from __future__ import annotations

import asyncio
from datetime import datetime

from blocks.processor import Driver, RankedBlock, rank_blocks
from blocks.scoring import RANKING
from blocks.snapshots import SnapshotStore
from blocks.travel import Position
from blocks.venues import load_city
from blocks.wire import SnapshotRequest, Wire


class RankedBlocks(Wire):
    """The answer to ``POST /api/blocks``, and the result of a job. *ranking* names the rule that ordered *blocks*."""

    ok: bool = True
    user_id: str
    snapshot_id: str
    city: str
    ranking: str
    local_time: datetime
    blocks: tuple[RankedBlock, ...]


async def rank_for(request: SnapshotRequest, snapshots: SnapshotStore) -> RankedBlocks:
    """
    The blocks for the driver of *request*.

    Raises: BlocksProcessorError, as :func:`blocks.processor.rank_blocks` and :meth:`SnapshotStore.get` do.
    """
    driver = await _driver(request, snapshots)
    city = load_city()
    return RankedBlocks(
        user_id=request.user_id,
        snapshot_id=request.snapshot_id,
        city=city.name,
        ranking=RANKING,
        local_time=driver.local_time,
        blocks=rank_blocks(city, driver),
    )


async def _driver(request: SnapshotRequest, snapshots: SnapshotStore) -> Driver:
    """Position and time of the request; the stored snapshot supplies what it lacks, and is not read otherwise."""
    place, moment = request.position, request.local_time
    if place is not None and moment is not None:
        return Driver(Position(place.latitude, place.longitude), moment)
    stored = (await asyncio.to_thread(snapshots.get, request.snapshot_id)).driver
    here = stored.position if place is None else Position(place.latitude, place.longitude)
    return Driver(here, moment or stored.local_time)
