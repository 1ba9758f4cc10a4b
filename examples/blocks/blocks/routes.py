"""The routes beside the jobs: snapshots, closed-venue reasoning and its legacy address. Thin: decode, call, answer."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from blocks.processor import Driver
from blocks.reasoning import Reasoning, explain_closed
from blocks.snapshots import SnapshotStore
from blocks.travel import Position
from blocks.venues import load_city
from blocks.wire import NewSnapshot, TakenSnapshot, VenueQuestion

REASONING = "/api/closed-venue-reasoning"


def api_router(snapshots: SnapshotStore) -> APIRouter:
    """The routes, over *snapshots*."""
    router = APIRouter()

    @router.post("/api/snapshots", status_code=201)
    def take_snapshot(new: NewSnapshot) -> TakenSnapshot:
        """Store where a driver is; answers the id to send as ``x-snapshot-id``."""
        taken = snapshots.add(new.device_id, Driver(Position(new.latitude, new.longitude), new.local_time))
        return TakenSnapshot(snapshot_id=taken.id)

    @router.post(REASONING)
    async def reason(question: VenueQuestion) -> Reasoning:
        """Why is a venue closed, and when does it open next?"""
        return explain_closed(load_city(), question.venue, question.local_time)

    @router.api_route("/closed-venue-reasoning", methods=["GET", "POST"], include_in_schema=False)
    async def legacy(request: Request) -> RedirectResponse:
        """The old address. 307 keeps method and body; the target is fixed and relative, so nobody can bend it."""
        query = request.url.query
        return RedirectResponse(f"{REASONING}?{query}" if query else REASONING, status_code=307)

    return router
