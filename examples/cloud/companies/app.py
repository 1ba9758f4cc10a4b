"""
The backend of the plan: an API, a queue for enrichment, and the three health addresses its platform asks.

``golive serve companies.app:app`` runs it; ``golive worker companies.app:app`` works the queue off elsewhere.
"""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import FastAPI, HTTPException

from companies import store
from golive import Chassis, JobContext, Jobs

chassis = Chassis.from_env()
jobs = Jobs.from_env()


class Enrichment(msgspec.Struct):
    """Which company to look at again."""

    orgnr: str


@jobs.handler("enrichment", attempts_max=3)
async def enrich(order: Enrichment, ctx: JobContext) -> dict[str, object]:
    """Size class by revenue; the real one asks a model and takes longer."""
    found = await asyncio.to_thread(store.company, order.orgnr)
    revenue = float(str(found["revenueMsek"])) if found else 0.0
    return {"orgnr": order.orgnr, "sizeClass": "large" if revenue > 100 else "medium" if revenue > 50 else "small"}


@chassis.check("db")
async def database() -> None:
    """Ready means that the database answers."""
    await asyncio.to_thread(store.version)


service = FastAPI(title="Companies")
service.include_router(jobs.router("enrichment", prefix="/api/enrichment"))


@service.get("/health")
@chassis.public
async def health() -> dict[str, bool]:
    """Alive."""
    return {"ok": True}


@service.get("/api/status")
@chassis.public
async def status() -> dict[str, str]:
    """What runs here."""
    return {"status": "ok", "service": "companies"}


@service.get("/api/db/info")
@chassis.public
async def database_info() -> dict[str, str]:
    """Which database, and that it answers."""
    return {"engine": "sqlite", "version": await asyncio.to_thread(store.version)}


@service.get("/api/companies")
async def companies() -> list[dict[str, object]]:
    """All companies."""
    return await asyncio.to_thread(store.companies)


@service.get("/api/companies/{orgnr}")
async def company(orgnr: str) -> dict[str, object]:
    """One company."""
    found = await asyncio.to_thread(store.company, orgnr)
    if found is None:
        raise HTTPException(404, "no such company")
    return found


app = chassis.wrap(service)
