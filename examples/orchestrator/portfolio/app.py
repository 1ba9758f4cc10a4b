"""
Trades, quotes and a summary. What the report fixed one by one stands around it as the chassis.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel, Field

from golive import Chassis
from portfolio import book, cache

chassis = Chassis.from_env()
service = FastAPI(title="Portfolio")


class Trade(BaseModel):
    """So many units of one paper."""

    paper: Annotated[str, Field(pattern="^[A-Z]{1,8}$")]
    units: Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


@chassis.check("cache", every=0.5, fail=2)
async def cache_answers() -> None:
    """Ready means that the cache answers."""
    await cache.answers()


@service.post("/api/trades", status_code=201)
async def trade(order: Trade) -> dict[str, int]:
    """Write one trade; the summary follows later."""
    return {"id": await asyncio.to_thread(book.trade, order.paper, order.units)}


@service.post("/api/summary/refresh", status_code=202)
async def refresh(later: BackgroundTasks) -> dict[str, bool]:
    """Have the summary computed anew, behind the answer."""
    later.add_task(asyncio.to_thread, book.refresh)
    return {"ok": True}


@service.get("/api/summary")
async def summary() -> dict[str, int]:
    """Units by paper."""
    return await asyncio.to_thread(book.summary)


@service.get("/api/quotes")
@chassis.limit("20/minute", name="quotes")
async def quotes() -> dict[str, float]:
    """Bought from a provider that counts, so callers are limited."""
    return {"ACME": 12.5}


@service.get("/api/report")
async def report() -> dict[str, int]:
    """Takes a second; nobody may be cut off in it."""
    await asyncio.sleep(1.0)
    return {"pages": 3}


@service.get("/api/drill")
async def drill(marker: Annotated[str, Field(max_length=64)] = "") -> None:
    """Fails on purpose, for the drill that errors reach their sink."""
    raise RuntimeError(f"drill {marker}")


app = chassis.wrap(service)
