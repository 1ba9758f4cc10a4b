"""
Tills send sales, and send them again when they hear nothing: the same key must be one sale.

The first answer is 201, every duplicate an empty 204, counted in ``ingest_dedup_total``; keys belong to their tenant.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

from golive import Chassis
from tills import events

chassis = Chassis.from_env()
service = FastAPI(title="Tills")


class Sale(BaseModel):
    """One sale at one till."""

    till: str = Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9-]+$")
    cents: int = Field(ge=0, le=10_000_000)
    note: str = Field(default="", max_length=500)


def tenant_of(scope: Any) -> str | None:
    """Whose key it is. In production the tenant comes from the token, see ``golive.chassis.auth.tenant_of``."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-tenant"), "unknown")


@service.post("/api/v1/sales", status_code=201)
@chassis.idempotent(on_duplicate="204", scope=tenant_of, required=True, source="till")
async def ingest(sale: Sale, x_tenant: Annotated[str, Header(max_length=64)] = "unknown") -> dict[str, str]:
    """Take one sale in."""
    identifier = str(uuid.uuid4())
    await asyncio.to_thread(events.add, identifier, x_tenant, sale.till, sale.cents)
    return {"id": identifier}


@service.get("/api/v1/sales/{identifier}")
async def sale(identifier: str, x_tenant: Annotated[str, Header(max_length=64)] = "unknown") -> dict[str, object]:
    """One sale of this tenant."""
    found = await asyncio.to_thread(events.get, identifier, x_tenant)
    if found is None:
        raise HTTPException(404, "no such sale")
    return found


@service.get("/api/v1/count")
async def count(x_tenant: Annotated[str, Header(max_length=64)] = "unknown") -> dict[str, int]:
    """How many sales this tenant has."""
    return {"count": await asyncio.to_thread(events.count, x_tenant)}


@chassis.check("db")
async def database() -> None:
    """Ready means that the database answers."""
    await asyncio.to_thread(events.count, "")


app = chassis.wrap(service)
