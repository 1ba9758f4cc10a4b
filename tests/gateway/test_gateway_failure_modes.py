"""F19 on a real Envoy: the split is the one asked for, whatever clients are called, and who is in stays in."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest
from tests.gateway.conftest import EnvoyWorld

from golive.rollout.ports import Split

pytestmark = pytest.mark.process

CLIENTS = 400
_DICE = random.Random(19)
FAMILIES = {
    "numbers in a row": [str(10_000 + n) for n in range(CLIENTS)],
    "uuids": [str(uuid.UUID(int=_DICE.getrandbits(128))) for _ in range(CLIENTS)],
    "addresses of mail": [f"user{n}@example.com" for n in range(CLIENTS)],
    "addresses of hosts": [f"10.0.{n // 250}.{n % 250}" for n in range(CLIENTS)],
}
CHI_SQUARED_MAX = 15.1
"""One degree of freedom, p = 1e-4. The clients are the same on every run, and so is the answer."""


async def _inside(world: EnvoyWorld) -> set[str]:
    async def ask(names: list[str]) -> set[str]:
        client = world.client()
        found = {name for name in names if (await client.get(headers={"x-user-id": name}))[1] == "v2"}
        await client.close()
        return found

    return set().union(*await asyncio.gather(*(ask(names) for names in FAMILIES.values())))


async def test_f19_the_split_is_even_in_every_family_of_names_and_only_grows(world: EnvoyWorld) -> None:
    """10, 25, 60 %: chi-squared per family, and nobody who was in is ever out again."""
    await world.router.ensure([await world.arm("v1"), await world.arm("v2")], fence=1)
    before: set[str] = set()
    for weight in (1_000, 2_500, 6_000):
        await world.router.apply(Split("v1", "v2", weight), fence=1)
        now = await _inside(world)
        assert before <= now, "somebody fell back to the old version while the weight grew"
        before = now
        for family, names in FAMILIES.items():
            expected = CLIENTS * weight / 10_000
            seen = len(now.intersection(names))
            chi = (seen - expected) ** 2 / expected + (seen - expected) ** 2 / (CLIENTS - expected)
            assert chi < CHI_SQUARED_MAX, f"{family}: {seen} of {CLIENTS} at {weight / 100} %"
