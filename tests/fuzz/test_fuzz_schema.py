"""The short form of `make schemathesis`: requests made from a service's own OpenAPI document, none may be a 5xx."""

from __future__ import annotations

import os

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from pydantic import BaseModel, Field
from schemathesis.checks import not_a_server_error

from golive import Chassis
from golive.chassis import ChassisSettings

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "10"))


class Order(BaseModel):
    """With every kind of value a schema can ask for."""

    name: str = Field(min_length=1, max_length=80)
    count: int = 1
    price: float = 0.0
    tags: list[str] = []
    note: str | None = None
    parts: dict[str, float] = {}


def service():
    chassis = Chassis(ChassisSettings(access_log=False, rate_limit="1000000/second"))
    chassis.log.record = lambda line: None
    inner = FastAPI()

    @inner.post("/orders", status_code=201)
    @chassis.idempotent(derive=True)
    async def orders(order: Order) -> Order:
        return order

    @inner.put("/orders/{number}")
    async def put(number: int, order: Order, dry: bool = False) -> Order:
        return order

    @inner.get("/search")
    @chassis.limit("1000000/second")
    async def search(term: str, page: int = 1, sort: list[str] | None = None) -> dict[str, str | int]:
        return {"term": term, "page": page}

    return chassis.wrap(inner)


app = service()
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_what_the_document_allows_and_forbids_is_never_a_server_error(case):
    """Positive and negative data, through the whole chassis."""
    case.call_and_validate(checks=[not_a_server_error])
