"""What clients see while golive moves them: nothing."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from tests.gateway.conftest import EnvoyWorld, eventually

from golive.load import LoadPlan, LoadReport, RequestSpec, run
from golive.rollout.ports import WEIGHT_MAX, Split

pytestmark = pytest.mark.process


async def _live(world: EnvoyWorld) -> None:
    await world.router.ensure([await world.arm("v1"), await world.arm("v2")], fence=1)
    await world.router.apply(Split("v1"), fence=1)


def _load(world: EnvoyWorld, stop: threading.Event | None = None, **plan: object) -> asyncio.Task[LoadReport]:
    whole = {"url": f"http://{world.gateway.address}/", "tally_header": "x-golive-served-by", "timeout": 20.0, **plan}
    return asyncio.create_task(asyncio.to_thread(run, LoadPlan(**whole), None, stop))


def _at_its_own_pace(requests: int) -> dict[str, object]:
    """For counting who answers: a fixed rate on a machine with other work would only measure that machine."""
    return {"concurrency": 16, "duration": None, "requests_max": requests}


async def test_200_changes_of_weight_under_load_drop_nothing(world: EnvoyWorld):
    """And a change is confirmed soon: 4 ms is usual, the limit here is for a machine that does ten other things."""
    await _live(world)
    stop = threading.Event()
    load = _load(world, stop, rate=600, duration=60.0)
    spent = []
    try:
        for number in range(200):
            began = time.perf_counter()
            await world.router.apply(Split("v1", "v2", WEIGHT_MAX if number % 2 else 0), fence=1)
            spent.append(time.perf_counter() - began)
            await asyncio.sleep(0.01)
    finally:
        stop.set()
    report = await load
    assert report.requests > 500
    assert report.failed == 0
    assert min(report.tally["v1"], report.tally["v2"]) > 100
    assert sorted(spent)[100] < 0.25


async def test_after_the_confirmation_no_request_goes_to_the_old_side(world: EnvoyWorld):
    """Not one, over 40 rollbacks with connections open to both."""
    await _live(world)
    clients = [world.client() for _ in range(8)]
    for _ in range(40):
        await world.router.apply(Split("v1", "v2", WEIGHT_MAX), fence=1)
        assert {body for _, body in await asyncio.gather(*(one.get() for one in clients))} == {"v2"}
        await world.router.apply(Split("v1", "v2", 0), fence=1)
        assert {body for _, body in await asyncio.gather(*(one.get() for one in clients))} == {"v1"}


@pytest.mark.parametrize("weight", [100, 2_500, 5_000])
async def test_the_share_is_the_one_asked_for(world: EnvoyWorld, weight: int):
    """Within four standard deviations, seen by the client and by the evidence alike."""
    await _live(world)
    await world.router.apply(Split("v1", "v2", weight), fence=1)
    report = await _load(world, **_at_its_own_pace(3_000))
    share = weight / WEIGHT_MAX
    deviation = (report.requests * share * (1 - share)) ** 0.5
    assert report.failed == 0
    assert abs(report.tally["v2"] - report.requests * share) < 4 * deviation
    assert await world.counted("v2") == report.tally["v2"]
    assert await world.counted("v1") == report.tally["v1"]


async def test_a_hundredth_of_a_percent_is_hardly_anybody(world: EnvoyWorld):
    """The smallest weight lets in about one client in ten thousand; the largest but one keeps about as many out."""
    await _live(world)
    specs = [RequestSpec(headers={"x-user-id": "{n}"})]
    for weight, rare in ((1, "v2"), (WEIGHT_MAX - 1, "v1")):
        await world.router.apply(Split("v1", "v2", weight), fence=1)
        report = await _load(world, **_at_its_own_pace(4_000), requests=specs)
        assert report.failed == 0
        assert report.tally[rare] <= 5  # 0.4 expected; the same on every run, because the clients are


async def test_a_client_without_a_name_stays_where_its_first_answer_came_from(world: EnvoyWorld):
    """The cookie of the first answer keeps it there, and the candidate's share of new clients is right."""
    await _live(world)
    await world.router.apply(Split("v1", "v2", 3_000), fence=1)
    first: dict[str, str] = {}
    client = world.client()
    for _ in range(150):
        _, version = await client.get()
        cookie = client.headers["set-cookie"].partition(";")[0]
        first[cookie] = version
    assert len(first) == 150
    assert 15 <= sum(version == "v2" for version in first.values()) <= 80
    for weight in (3_000, 6_000):
        await world.router.apply(Split("v1", "v2", weight), fence=1)
        for cookie, version in first.items():
            _, again = await client.get(headers={"cookie": f"theme=dark; {cookie}; a=b"})
            assert "set-cookie" not in client.headers
            assert again == version or (weight == 6_000 and again == "v2")


async def test_an_empty_cookie_counts_as_none(world: EnvoyWorld):
    """Clients that send one are spread like new ones, and get a real one."""
    await _live(world)
    await world.router.apply(Split("v1", "v2", 5_000), fence=1)
    client = world.client()
    answers = {(await client.get(headers={"cookie": "golive_sid="}))[1] for _ in range(60)}
    assert answers == {"v1", "v2"}
    assert client.headers["set-cookie"].startswith("golive_sid=")


@pytest.mark.parametrize("split", [Split("v1"), Split("v1", "v2", 0), Split("v1", "v2", WEIGHT_MAX)])
async def test_no_cookie_is_set_while_the_traffic_is_not_split(world: EnvoyWorld, split: Split):
    """A response that sets a cookie cannot be cached in front of us."""
    await _live(world)
    await world.router.apply(split, fence=1)
    client = world.client()
    await client.get()
    assert "set-cookie" not in client.headers
    assert client.headers["x-golive-served-by"] == (split.stable if split.weight == 0 else "v2")


async def test_a_client_cannot_choose_its_identity_by_the_gateways_own_header(world: EnvoyWorld):
    """x-golive-client is the gateway's: whatever a client sends there is overwritten."""
    await _live(world)
    await world.router.apply(Split("v1", "v2", 5_000), fence=1)
    answers = {(await world.client().get(headers={"x-golive-client": "me"}))[1] for _ in range(60)}
    assert answers == {"v1", "v2"}


async def test_a_request_in_flight_survives_every_change(world: EnvoyWorld):
    """Its version loses its traffic, moves to another address and is forgotten, and still the answer arrives."""
    await _live(world)
    old, client = world.servers["v2"], world.client()
    await world.router.apply(Split("v1", "v2", WEIGHT_MAX), fence=1)
    slow = asyncio.create_task(client.get("/slow"))
    await asyncio.wait_for(old.held.wait(), 10)
    await world.router.apply(Split("v1"), fence=1)
    await world.router.ensure([await world.arm("v2")], fence=1)
    await world.router.ensure([await world.arm("v3")], fence=1)
    old.release.set()
    assert await asyncio.wait_for(slow, 10) == (200, "v2")


async def test_a_candidate_killed_under_load_is_seen_within_two_seconds(world: EnvoyWorld):
    """The evidence says unhealthy before any statistics could."""
    await _live(world)
    await world.router.apply(Split("v1", "v2", 1_000), fence=1)
    assert (await world.evidence.sample()).arms["v2"].healthy is True
    await world.servers["v2"].stop()
    began = time.monotonic()
    await world.until_healthy("v2", False)
    assert time.monotonic() - began < 4.0  # 1.0 s on an idle machine
    assert (await world.evidence.sample()).arms["v1"].healthy is True


@pytest.mark.timed
async def test_a_hand_made_change_is_seen(world: EnvoyWorld):
    """Somebody edits the file: what is observed is what Envoy does, not what golive wanted."""
    await _live(world)
    await world.router.apply(Split("v1", "v2", 100), fence=1)
    path = world.gateway.files.routes_path
    edited = path.read_text().replace('"weight": 100', '"weight": 700').replace('"weight": 9900', '"weight": 9300')
    other = path.with_name("edited.json")
    other.write_text(edited)
    other.rename(path)

    async def seen() -> bool:
        return await world.router.observe() == Split("v1", "v2", 700)

    await eventually(seen)
    await world.router.apply(Split("v1", "v2", 100), fence=1)
    assert await world.router.observe() == Split("v1", "v2", 100)
