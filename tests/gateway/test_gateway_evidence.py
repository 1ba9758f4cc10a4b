"""The gateway's counters tell the truth about each version, also about what the gateway answered itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.gateway.conftest import EnvoyWorld, eventually, settings

from golive.errors import UnavailableError
from golive.load import LoadPlan, RequestSpec, run
from golive.rollout.evidence.envoy import BOUNDS, FINE_BOUNDS, EnvoyEvidence, bucket_counts
from golive.rollout.ports import WEIGHT_MAX, ArmSample, Split
from golive.rollout.routers.envoy_gateway import EnvoyGateway


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[EnvoyWorld]:
    """A gateway that gives requests half a second."""
    streams = ("/events", "/slow")
    made = EnvoyWorld(tmp_path / "gateway", settings(request_timeout=timedelta(seconds=0.5), streams=streams))
    await made.gateway.up()
    try:
        yield made
    finally:
        await made.close()


def _nowhere() -> EnvoyGateway:
    return EnvoyGateway(Path("nowhere"), settings())


async def _live(world: EnvoyWorld) -> None:
    await world.router.ensure([await world.arm("v1"), await world.arm("v2")], fence=1)
    await world.router.apply(Split("v1", "v2", WEIGHT_MAX), fence=1)


async def _settled(world: EnvoyWorld, version: str) -> ArmSample:
    """A sample whose histogram has caught up with its counters."""

    async def caught_up() -> bool:
        arm = (await world.evidence.sample()).arms[version]
        return sum(arm.latency) >= arm.requests["*"]

    await eventually(caught_up)
    return (await world.evidence.sample()).arms[version]


def _quantile(counts: list[int], q: float) -> float:
    """Interpolated inside the bucket, as the judge reads it."""
    rank, below = q * sum(counts), 0
    edges = (0.0, *FINE_BOUNDS, FINE_BOUNDS[-1])
    for number, count in enumerate(counts):
        if count and below + count >= rank:
            return edges[number] + (edges[number + 1] - edges[number]) * (rank - below) / count
        below += count
    raise AssertionError("no samples")


def test_the_limits_people_write_are_bounds():
    """Their share is then exact, not interpolated."""
    assert {0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.75, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 90.0} <= set(BOUNDS)
    for bounds in (BOUNDS, FINE_BOUNDS):
        assert EnvoyEvidence(_nowhere(), bounds).bounds == bounds


@pytest.mark.parametrize("bounds", [(), (0.2, 0.1), (0.1, 0.1), (0.125,)])
def test_bounds_that_envoy_cannot_answer_exactly_are_refused(bounds: tuple[float, ...]):
    """An edge of three digits would cut through a bin."""
    with pytest.raises(ValueError, match="two significant digits"):
        EnvoyEvidence(_nowhere(), bounds)


def test_every_bin_falls_whole_into_one_bucket():
    """And none is lost: zero goes into the first, more than the last bound behind it."""
    bins = [{"lower_bound": 0, "width": 0, "count": 3}, {"lower_bound": 130_000, "width": 10_000, "count": 2}]
    bins += [
        {"lower_bound": digits * 10.0**power, "width": 10.0**power, "count": 1}
        for power in range(-1, 4)
        for digits in range(10, 100)
    ]
    coarse, fine = bucket_counts(bins, BOUNDS), bucket_counts(bins, FINE_BOUNDS)
    assert sum(coarse) == sum(fine) == 3 + 2 + 450
    assert (coarse[0], coarse[-1]) == (3, 2)
    assert coarse[BOUNDS.index(0.002)] == 10  # 1.0 .. 1.9 ms
    assert coarse[BOUNDS.index(0.12)] == 2  # 100 and 110 ms, each 10 wide
    assert set(fine[1:-1]) == {1}


@pytest.mark.process
async def test_requests_and_errors_are_counted_per_version(world: EnvoyWorld):
    """A 500 of the version is an error; health checks and forced requests are in neither count."""
    await _live(world)
    client = world.client()
    for path in ["/"] * 7 + ["/fail"] * 3:
        await client.get(path)
    await world.send(5, forced="v2")
    arm = await _settled(world, "v2")
    assert (arm.requests, arm.errors) == ({"*": 10}, {"*": 3})
    assert sum(arm.latency) == 10
    quiet = (await world.evidence.sample()).arms["v1"]
    assert (quiet.requests, quiet.errors, sum(quiet.latency)) == ({"*": 0}, {"*": 0}, 0)
    assert (arm.healthy, quiet.healthy) == (True, True)


@pytest.mark.process
async def test_percentiles_agree_with_what_really_happened(world: EnvoyWorld):
    """
    p50, p90, p95 and p99 within 3 % of the durations the version itself measured, on a spread-out load.

    The better of up to three goes counts: on a busy machine requests really do wait between the two.
    """
    await _live(world)
    rng = random.Random(7)
    specs = [RequestSpec(path=f"/sleep?{0.2 + 0.5 * rng.random() ** 2:.4f}") for _ in range(200)]
    plan = LoadPlan(f"http://{world.gateway.address}", rate=300, duration=3.0, requests=specs)
    fine = EnvoyEvidence(world.gateway, FINE_BOUNDS)
    goes: list[float] = []
    while len(goes) < 3 and (not goes or goes[-1] > 0.03):
        before = (await fine.sample()).arms["v2"]
        world.servers["v2"].slept.clear()
        report = await asyncio.to_thread(run, plan)
        await _settled(world, "v2")
        after = (await fine.sample()).arms["v2"]
        counts = [new - old for new, old in zip(after.latency, before.latency, strict=True)]
        truth = sorted(world.servers["v2"].slept)
        assert sum(counts) == len(truth) == report.requests
        exact = {q: truth[int(q * len(truth))] for q in (0.5, 0.9, 0.95, 0.99)}
        goes.append(max(abs(_quantile(counts, q) / value - 1) for q, value in exact.items()))
    assert min(goes) <= 0.03


@pytest.mark.process
async def test_a_request_that_timed_out_is_an_error_and_the_slowest_of_all(hasty: EnvoyWorld):
    """Envoy leaves it out of its histogram; without it the version that hangs would look fastest."""
    await _live(hasty)
    client = hasty.client()
    assert (await client.get("/hang"))[0] == 504
    assert (await hasty.client().get("/"))[0] == 200
    arm = await _settled(hasty, "v2")
    assert (arm.requests, arm.errors) == ({"*": 2}, {"*": 1})
    assert arm.latency[-1] == 1
    assert sum(arm.latency) == 2


@pytest.mark.process
async def test_a_stream_outlives_the_time_out_and_is_not_counted(hasty: EnvoyWorld):
    """It is split like everything else; its length says nothing about the version."""
    await _live(hasty)
    client, server = hasty.client(), hasty.servers["v2"]
    stream = asyncio.create_task(client.get("/slow"))
    await asyncio.wait_for(server.held.wait(), 10)
    await asyncio.sleep(0.7)
    assert await hasty.router.active("v2") == 1
    server.release.set()
    assert await asyncio.wait_for(stream, 10) == (200, "v2")
    assert (await hasty.evidence.sample()).arms["v2"].requests == {"*": 0}


@pytest.mark.process
async def test_a_version_that_is_gone_fails_its_requests_in_the_evidence_too(world: EnvoyWorld):
    """What the gateway answers in its place (503) counts as its errors, before and after the health check notices."""
    await _live(world)
    await world.servers["v2"].stop()
    assert (await world.client().get())[0] == 503
    await world.until_healthy("v2", False)
    assert (await world.client().get())[0] == 503
    arm = (await world.evidence.sample()).arms["v2"]
    assert arm.requests["*"] == arm.errors["*"] == 2
    assert arm.healthy is False


@pytest.mark.process
async def test_requests_in_flight_show_as_active(world: EnvoyWorld):
    """And as nothing else yet."""
    await _live(world)
    client, server = world.client(), world.servers["v2"]
    request = asyncio.create_task(client.get("/slow"))
    await asyncio.wait_for(server.held.wait(), 10)
    arm = (await world.evidence.sample()).arms["v2"]
    assert (arm.active, arm.requests) == (1, {"*": 0})
    server.release.set()
    await request


@pytest.mark.process
async def test_the_epoch_changes_when_counters_begin_again(world: EnvoyWorld):
    """After a restart of the gateway, and after a version was forgotten; otherwise it stays."""
    await _live(world)
    epochs = [(await world.evidence.sample()).epoch]
    await world.router.ensure([await world.arm("v3")], fence=1)
    await world.router.apply(Split("v1", "v3", 100), fence=1)
    epochs.append((await world.evidence.sample()).epoch)
    await world.restart()
    epochs.append((await world.evidence.sample()).epoch)
    await world.router.apply(Split("v1"), fence=1)
    assert (await world.evidence.sample()).epoch == epochs[-1]
    await world.router.retire("v3", fence=1)
    epochs.append((await world.evidence.sample()).epoch)
    assert epochs[0] == epochs[1]
    assert len(set(epochs)) == 3


@pytest.mark.process
async def test_counters_never_fall_within_an_epoch(world: EnvoyWorld):
    """Also when a version moves to another address in between."""
    await _live(world)
    await world.send(20)
    before = await world.evidence.sample()
    await world.router.ensure([await world.arm("v2")], fence=1)
    await world.send(20)
    after = await world.evidence.sample()
    assert before.epoch == after.epoch
    assert (before.arms["v2"].requests["*"], after.arms["v2"].requests["*"]) == (20, 40)


@pytest.mark.process
async def test_no_gateway_is_no_evidence(world: EnvoyWorld):
    """An error to hold on, not a sample of zeros."""
    await _live(world)
    await world.kill()
    with pytest.raises(UnavailableError, match="golive up"):
        await world.evidence.sample()


@pytest.mark.process
async def test_a_version_without_a_healthy_answer_is_not_healthy(world: EnvoyWorld):
    """503 from its readiness takes it out at once, and 200 brings it back."""
    await _live(world)
    for healthy, status in ((False, 503), (True, 200)):
        world.servers["v2"].healthy = healthy
        await world.until_healthy("v2", healthy)

        async def answered(status: int = status) -> bool:
            return (await world.client().get())[0] == status  # worker threads hear of it a moment later

        await eventually(answered)
